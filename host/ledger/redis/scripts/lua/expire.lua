-- Closes those of the named holds whose lease has passed. What they hold stays charged; slots end by their leases.
-- settle once: each is looked at again, so that several gateways may name the same.
-- KEYS: leases, begun, stream, a hold for each id. ARGV: now, most rows, ids. Reply: how many were closed.
local now, most, lost = clock(ARGV[1]), ARGV[2], 0
for at = 4, #KEYS do
  local key, id = KEYS[at], ARGV[at - 1]
  local hold = hold_under(key)
  if not hold or hold.closed then
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
  elseif hold.ending <= now then
    close(key, KEYS[1], KEYS[2], KEYS[3], most, id, hold.entry)
    lost = lost + 1
  end
end
return lost
