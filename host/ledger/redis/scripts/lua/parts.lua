-- What an open hold holds in one cell, as in part.rs: what its reservation took, and what raises took since. A window
-- counts each from its time. Line: <cell> <units> <at> <moves> <units> <at> <moves> ..
local function read_parts(lines)
  local parts = {}
  for key, takes in string.gmatch(lines, '(%S+)([^\n]*)\n') do
    local part = { key = key, amount = 0, takes = {} }
    for amount, at, moves in string.gmatch(takes, ' (%d+) (%d+) (%d+)') do
      local take = { amount = tonumber(amount), at = tonumber(at), moves = tonumber(moves) }
      table.insert(part.takes, take)
      part.amount = part.amount + take.amount
    end
    table.insert(parts, part)
  end
  return parts
end

local function write_parts(parts)
  local lines = {}
  for _, part in ipairs(parts) do
    local words = { part.key }
    for _, take in ipairs(part.takes) do
      table.insert(words, digits(take.amount) .. ' ' .. digits(take.at) .. ' ' .. digits(take.moves))
    end
    table.insert(lines, table.concat(words, ' ') .. '\n')
  end
  return table.concat(lines)
end

-- Takes a claim's amount for a hold, and notes it with its part. Takes that the cell forgets together become one.
local function take(part, claim, id, ending, now)
  local kept, rule = kept_under(claim.key), rules[claim.kind]
  kept.name = kept.name or claim.name
  if not kept.cell or kept.cell.kind ~= claim.kind then
    kept.cell = rule.new()
  end
  local at, moves = rule.take(kept.cell, claim, id, ending, now)
  table.insert(part.takes, { amount = claim.amount, at = at, moves = moves })
  part.amount = part.amount + claim.amount
  local takes = {}
  for _, one in ipairs(part.takes) do
    local last = takes[#takes]
    if last and (claim.kind ~= 'window' or Window.together(kept.cell, last, one)) then
      last.amount, last.at, last.moves = last.amount + one.amount, one.at, one.moves
    else
      table.insert(takes, one)
    end
  end
  part.takes = takes
end

-- Replaces what a hold holds in a cell by the real amount. It was used in the order in which it was taken, so what is
-- given back was taken last; what exceeds the hold counts there too.
local function correct(part, real, id)
  local cell = kept_under(part.key).cell
  -- A cell that is gone has forgotten these units too.
  if not cell then
    return
  end
  for at, one in ipairs(part.takes) do
    local used = at == #part.takes and real or math.min(real, one.amount)
    rules[cell.kind].correct(cell, one, used, id)
    real = real - used
  end
end
