-- Holds every claim, or none. never over-admit: all cells are read, asked and written in this one step.
-- KEYS: hold, leases, begun, horizon, a cell for each claim.
-- ARGV: now, id, row if lost, lease; for each claim: kind, limit, amount, period or end, name.
-- Reply: 1, standings of each claim; or 0, claim from 0, wait or -1, standings of each claim.
local now, id, row, lease = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local claims = claims_of(5, 5)

-- settle once: a reservation that comes again, or after its end, takes nothing more.
if hold_under(KEYS[1]) then
  return answer({ 1 }, claims, now, KEYS[4])
end

-- A cell claimed twice must have room for both.
local longest, which, totals = NOW, 0, {}
for at, claim in ipairs(claims) do
  totals[claim.key] = (totals[claim.key] or 0) + claim.amount
  local fit = rules[claim.kind].fit(asked(claim, now, KEYS[4]), claim, totals[claim.key], now)
  if fit > longest then
    longest, which = fit, at - 1
  end
end
if longest > NOW then
  return answer({ 0, which, told(longest) }, claims, now, KEYS[4])
end

local ending = sum(now, lease)
local parts = {}
for at, claim in ipairs(claims) do
  parts[at] = { key = claim.key, amount = 0, takes = {} }
  take(parts[at], claim, id, ending, now)
end
redis.call('HSET', KEYS[1], 'entry', row, 'parts', write_parts(parts))
note_lease(KEYS[1], KEYS[2], KEYS[3], id, ending, lease)
return answer({ 1 }, claims, now, KEYS[4])
