-- Holds every claim, or none. never over-admit: all cells are read, asked and written in this one step.
-- KEYS: hold, leases, begun, horizon, a cell for each claim.
-- ARGV: now, id, row if lost, lease; for each claim: kind, limit, amount, period or end, name.
-- Reply: 1, standings of each claim; or 0, claim from 0, wait or -1, standings of each claim.
local now, id, row, lease = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local claims = claims_of(5, 5)

-- settle once: a reservation that comes again, or after its end, takes nothing more.
if hold_under(KEYS[1]) then
  local reply = tell_standings({ 1 }, claims, now, KEYS[4])
  keep_cells(now)
  return reply
end

-- A cell claimed twice must have room for both.
local longest, which, totals = NOW, 0, {}
for at, claim in ipairs(claims) do
  totals[claim.key] = (totals[claim.key] or 0) + claim.amount
  local fit = rules[claim.kind].fit(seen(claim, now, KEYS[4]), claim.limit, totals[claim.key], now)
  if fit > longest then
    longest, which = fit, at - 1
  end
end
if longest > NOW then
  local reply = tell_standings({ 0, which, told(longest) }, claims, now, KEYS[4])
  keep_cells(now)
  return reply
end

local ending = sum(now, lease)
local parts = {}
for _, claim in ipairs(claims) do
  local kept = kept_under(claim.key)
  kept.name = kept.name or claim.name
  kept.cell = kept.cell or rules[claim.kind].new()
  local cell = observe(kept, claim, now)
  local at, moves = rules[claim.kind].take(cell, claim.amount, id, ending)
  table.insert(parts, table.concat({ claim.key, digits(claim.amount), digits(at), digits(moves) }, ' ') .. '\n')
end
keep_cells(now)
redis.call('HSET', KEYS[1], 'entry', row, 'parts', table.concat(parts))
note_lease(KEYS[1], KEYS[2], KEYS[3], id, ending, lease)

-- A cell claimed twice has less left than it had after the first.
local reply = { 1 }
for _, claim in ipairs(claims) do
  local cell = kept_under(claim.key).cell
  local remaining, reset = rules[cell.kind].standing(cell, claim.limit, now)
  table.insert(reply, remaining)
  table.insert(reply, reset)
end
return reply
