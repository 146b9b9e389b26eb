-- The rule of a budget, as in budget.rs: at most `limit` units between two instants of the calendar. Units settled
-- and held weigh the same. Line: budget <end> <used>
local Budget = {}

function Budget.new()
  return { kind = 'budget', edge = 0, used = 0 }
end

-- never over-admit: what stands for a budget whose cell may be gone, and what was spent with it.
function Budget.closed()
  return { kind = 'budget', edge = 0, used = MOST }
end

function Budget.read(line)
  local edge, used = string.match(line, '^budget (%d+) (%d+)$')
  return { kind = 'budget', edge = tonumber(edge), used = tonumber(used) }
end

function Budget.write(budget)
  return 'budget ' .. digits(budget.edge) .. ' ' .. digits(budget.used)
end

-- A day longer than the period, for claims and settlements that come late.
function Budget.life(budget, now)
  return rest(budget.edge, now) + DAY_MS
end

function Budget.fit(budget, claim, amount, now)
  if amount > claim.limit then
    return NEVER
  end
  if budget.used <= claim.limit - amount then
    return NOW
  end
  return rest(claim.edge, now)
end

function Budget.take(budget, claim)
  budget.edge = claim.edge
  budget.used = sum(budget.used, claim.amount)
  return 0, 0
end

function Budget.correct(budget, part, real)
  budget.used = sum(rest(budget.used, part.amount), real)
end

function Budget.standing(budget, claim, now)
  return rest(claim.limit, budget.used), budget.used == 0 and 0 or rest(claim.edge, now)
end
