-- Writes the row of an exchange that was granted by a gateway's local share. settle once: a row is written once,
-- and a hold that was made here all the same, by a reservation whose answer was lost, is closed with it.
-- KEYS: hold, leases, begun, stream, the hold's cells in the order of its claims.
-- ARGV: now, id, row, most rows.
-- Reply: 0 written, 1 closed before; or -1, cells: these are the cells to pass.
local now, id = clock(ARGV[1]), ARGV[2]
local hold = hold_under(KEYS[1])
if hold and hold.closed then
  return { 1 }
end
local others = hold and other_cells(hold, 5)
if others then
  return others
end
for _, part in ipairs(hold and hold.parts or {}) do
  correct(part, part.amount, id)
end
keep_cells(now)
close(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[4], id, ARGV[3])
return { 0 }
