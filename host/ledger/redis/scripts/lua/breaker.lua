-- The rule of a breaker, as in breaker.rs. Its key holds its line, `closed <generation> <failures>`, `open
-- <generation> <until>` or `probing <generation> <until>`, and below it the breaker's readable name. It lives for a
-- week after its last change.
-- KEYS: breaker. ARGV: now, name, failures, open, probe, and what the operation adds.
local now, name = clock(ARGV[1]), ARGV[2]
local rule = { failures = tonumber(ARGV[3]), open = tonumber(ARGV[4]), probe = tonumber(ARGV[5]) }
local kept = redis.call('GET', KEYS[1])
local state, generation, last = string.match(kept or 'closed 0 0\n', '^(%l+) (%d+) (%d+)\n')
if not state then
  error('the key ' .. KEYS[1] .. ' holds no breaker')
end
generation, last = tonumber(generation), tonumber(last)

local function keep_breaker(next, at, value)
  state, generation, last = next, at, value
  local line = state .. ' ' .. digits(generation) .. ' ' .. digits(last)
  if line == 'closed 0 0' then
    -- As it began: there is nothing to keep.
    redis.call('DEL', KEYS[1])
    return
  end
  redis.call('SET', KEYS[1], line .. '\n' .. name, 'PX', 7 * DAY_MS)
end
