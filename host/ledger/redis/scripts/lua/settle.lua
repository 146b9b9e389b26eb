-- Closes a hold with what it really cost, and writes its row. settle once: only an open hold is charged.
-- KEYS: hold, leases, begun, stream, the hold's cells in the order of its claims.
-- ARGV: now, id, row, most rows, when, charge, amounts.
--   when: `now`; or `late`, for a settlement that waited in a journal: the lease, which had not passed when it was
--   made, is not looked at, and a hold that is not known is marked, so that its reservation cannot come after it.
--   charge: `amounts`, of which a claim without one is charged as held; `held`; `nothing`.
-- Reply: 0 charged, 1 closed before, 2 unknown; or -1, cells: these are the cells to pass.
local now, id, row, most, when, charge = clock(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local hold = hold_under(KEYS[1])
if not hold then
  if when == 'late' then
    mark_closed(KEYS[1])
  end
  return { 2 }
end
if hold.closed then
  return { 1 }
end
if when == 'now' and hold.ending <= now then
  -- Its lease has passed: it stays charged as held.
  close(KEYS[1], KEYS[2], KEYS[3], KEYS[4], most, id, hold.entry)
  return { 1 }
end
local others = other_cells(hold, 5)
if others then
  return others
end
for at, part in ipairs(hold.parts) do
  correct(part, charge == 'nothing' and 0 or charge == 'amounts' and tonumber(ARGV[6 + at]) or part.amount, id)
end
keep_cells(now)
close(KEYS[1], KEYS[2], KEYS[3], KEYS[4], most, id, row)
return { 0 }
