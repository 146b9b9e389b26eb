-- Brings back the end of a lease that is longer than it ever was, because the clock went back. no phantom refusal: it
-- ends as late as if it had begun now.
-- KEYS: hold, leases, begun, the hold's cells in the order of its claims. ARGV: now, id.
-- Reply: 1 moved, 0 not open or not too long; or -1, cells: these are the cells to pass.
local now, id = clock(ARGV[1]), ARGV[2]
local hold = hold_under(KEYS[1])
if not hold or hold.closed then
  redis.call('ZREM', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
  return { 0 }
end
local ending = sum(now, hold.lease)
if hold.ending <= ending + GRACE_MS then
  return { 0 }
end
local others = other_cells(hold, 4)
if others then
  return others
end
move_lease(KEYS[1], KEYS[2], KEYS[3], id, hold, ending)
keep_cells(now)
return { 1 }
