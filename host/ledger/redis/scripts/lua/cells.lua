-- Cells under whichever rule they have, as in cell.rs and books.rs. A cell's key holds its line and, below it, the
-- cell's readable name. Each is read once, and written at the end of the script if its line has changed.
local rules = { window = Window, budget = Budget, slots = Slots }
local cells = {}

-- What is kept under a key: `cell` is nil if nothing is.
local function kept_under(key)
  if not cells[key] then
    local kept = redis.call('GET', key)
    cells[key] = {}
    if kept then
      local line, name = string.match(kept, '^([^\n]*)\n(.*)$')
      local rule = line and rules[string.match(line, '^%a*')]
      if not rule then
        error('the key ' .. key .. ' holds no cell')
      end
      cells[key] = { cell = rule.read(line), line = line, name = name }
    end
  end
  return cells[key]
end

-- Budgets that ended by then may be gone: the latest time that `expire` has seen, or the life of their keys.
local function horizon(key, now)
  return math.max(tonumber(redis.call('GET', key) or 0), rest(now, DAY_MS))
end

-- The claim's cell, or the cell it would begin with. A question changes nothing, except that a window believes a
-- clock that went back.
local function asked(claim, now, horizon_key)
  local rule, cell = rules[claim.kind], kept_under(claim.key).cell
  if cell and cell.kind == 'window' then
    Window.follow(cell, now)
  end
  if cell then
    -- To a claim of another kind of rule the cell is a new one.
    return cell.kind == claim.kind and cell or rule.new()
  end
  local is_closed = claim.kind == 'budget' and claim.edge <= horizon(horizon_key, now)
  return is_closed and Budget.closed() or rule.new()
end

-- The claims of a call: their keys from `first_key` on, and from `first` on five arguments each.
local function claims_of(first_key, first)
  local claims = {}
  for at = first_key, #KEYS do
    local place = first + (at - first_key) * 5
    table.insert(claims, {
      key = KEYS[at],
      kind = ARGV[place],
      limit = tonumber(ARGV[place + 1]),
      amount = tonumber(ARGV[place + 2]),
      edge = tonumber(ARGV[place + 3]),
      name = ARGV[place + 4],
    })
  end
  return claims
end

-- Writes the cells that have changed. They live as long as they count, and a minute more; under a test's clock,
-- which is not the server's, a day more.
local function keep_cells(now)
  local more = ARGV[1] == '' and GRACE_MS or DAY_MS
  for key, kept in pairs(cells) do
    if kept.cell then
      local rule = rules[kept.cell.kind]
      local line = rule.write(kept.cell)
      if line ~= kept.line then
        local life = math.min(rule.life(kept.cell, now) + more, MOST / 2)
        redis.call('SET', key, line .. '\n' .. kept.name, 'PX', digits(life))
      end
    end
  end
end

-- Ends a script that was asked about claims: keeps the cells, and appends what is left for each claim to the reply.
local function answer(reply, claims, now, horizon_key)
  for _, claim in ipairs(claims) do
    local remaining, reset = rules[claim.kind].standing(asked(claim, now, horizon_key), claim, now)
    table.insert(reply, remaining)
    table.insert(reply, reset)
  end
  keep_cells(now)
  return reply
end
