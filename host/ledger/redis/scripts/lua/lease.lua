-- Moves the end of an open hold's lease, in the hold and in the slots it has.
local function move_lease(key, leases, begun, id, hold, ending)
  note_lease(key, leases, begun, id, ending, hold.lease)
  for _, part in ipairs(hold.parts) do
    local kept = kept_under(part.key)
    if kept.cell and kept.cell.kind == 'slots' then
      Slots.renew(kept.cell, id, ending)
    end
  end
end
