-- Raises what an open hold holds: of each claim at least its amount in total, all of them or none. never over-admit:
-- all cells are read, asked and written in this one step.
-- KEYS: hold, leases, begun, horizon, a cell for each claim.
-- ARGV: now, id, row if lost, lease; for each claim: kind, limit, amount, period or end, name.
-- Reply: 1, standings of each claim; or 0, claim from 0, wait or -1, standings of each claim; or 2: it is not open, or
-- holds other cells.
local now, id, row, lease = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local hold = hold_under(KEYS[1])
if not hold or hold.closed or hold.ending <= now or other_cells(hold, 5) then
  return { 2 }
end
local claims = claims_of(5, 5)

-- What is missing, and whether all of it fits. Slots stay as they are.
local longest, which, wanted, sums, takes, less = NOW, 0, {}, {}, false, false
for at, claim in ipairs(claims) do
  local key, held, is_slots = claim.key, hold.parts[at].amount, claim.kind == 'slots'
  local more = is_slots and 0 or rest(claim.amount, held)
  wanted[key] = (wanted[key] or 0) + math.max(claim.amount, held)
  sums[key] = (sums[key] or 0) + more
  less = less or not is_slots and claim.amount < held
  claim.amount = more
  if more > 0 then
    takes = true
    -- What a stream held a period ago is free again in a window: there is no end to what it can hold in all.
    local most = claim.kind == 'budget' and claim.limit or MOST
    local fit = NEVER
    if wanted[key] <= most then
      fit = rules[claim.kind].fit(asked(claim, now, KEYS[4]), claim, sums[key], now)
    end
    if fit > longest then
      longest, which = fit, at - 1
    end
  end
end
if longest > NOW then
  return answer({ 0, which, told(longest) }, claims, now, KEYS[4])
end

hold.lease = math.max(hold.lease, lease)
local ending = math.max(hold.ending, sum(now, lease))
for at, claim in ipairs(claims) do
  if claim.amount > 0 then
    take(hold.parts[at], claim, id, ending, now)
  end
end
move_lease(KEYS[1], KEYS[2], KEYS[3], id, hold, ending)
redis.call('HSET', KEYS[1], 'parts', write_parts(hold.parts))
-- conservation: a call that comes late, after one that took more, says less than the hold holds.
if takes or not less then
  redis.call('HSET', KEYS[1], 'entry', row)
end
return answer({ 1 }, claims, now, KEYS[4])
