-- Moves an open hold's lease to at least `now` and its length; a lease is never made shorter.
-- KEYS: hold, leases, begun, the hold's cells in the order of its claims.
-- ARGV: now, id, lease.
-- Reply: 1 moved, 0 not open; or -1, cells: these are the cells to pass.
local now, id, lease = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local hold = hold_under(KEYS[1])
if not hold or hold.closed or hold.ending <= now then
  return { 0 }
end
local others = other_cells(hold, 4)
if others then
  return others
end
hold.lease = math.max(hold.lease, lease)
local ending = math.max(hold.ending, sum(now, lease))
move_lease(KEYS[1], KEYS[2], KEYS[3], id, hold, ending)
keep_cells(now)
return { 1 }
