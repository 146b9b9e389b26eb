-- The rule of a window, as in window.rs: never more than `limit` units in any trailing period. A bucket is
-- forgotten when the last moment it could stand for is a whole period ago. Line: window <period> <latest> <moves>
-- <bucket>:<units> ..
local Window = {}

local function width(window)
  return math.max(math.ceil(window.period / 30), 1)
end

local function bucket_of(window, at)
  return math.floor(at / width(window))
end

local function last_moment(window, index)
  return math.min((index + 1) * width(window), MOST) - 1
end

local function expiry(window, index)
  return sum(last_moment(window, index), window.period)
end

-- Buckets stay in ascending order, and none is empty.
local function count(window, index, units)
  if units == 0 then
    return
  end
  local buckets = window.buckets
  local at = #buckets
  while at > 0 and buckets[at].index > index do
    at = at - 1
  end
  if at > 0 and buckets[at].index == index then
    buckets[at].units = sum(buckets[at].units, units)
  else
    table.insert(buckets, at + 1, { index = index, units = units })
  end
end

function Window.new()
  return { kind = 'window', period = 0, latest = 0, moves = 0, buckets = {} }
end

function Window.read(line)
  local period, latest, moves, units = string.match(line, '^window (%d+) (%d+) (%d+)(.*)$')
  local window = Window.new()
  window.period, window.latest, window.moves = tonumber(period), tonumber(latest), tonumber(moves)
  for index, amount in string.gmatch(units, ' (%d+):(%d+)') do
    table.insert(window.buckets, { index = tonumber(index), units = tonumber(amount) })
  end
  return window
end

function Window.write(window)
  local words = { 'window', digits(window.period), digits(window.latest), digits(window.moves) }
  for _, bucket in ipairs(window.buckets) do
    table.insert(words, digits(bucket.index) .. ':' .. digits(bucket.units))
  end
  return table.concat(words, ' ')
end

-- A window that is over is as good as a new one.
function Window.life(window, now)
  return rest(expiry(window, bucket_of(window, window.latest)), now)
end

-- Moved buckets get marks of another age: a hold no longer knows which bucket its units are in.
local function refill(window, moved)
  window.moves = (window.moves + 1) % 4294967296
  window.buckets = {}
  for _, bucket in ipairs(moved) do
    count(window, bucket.index, bucket.units)
  end
end

-- Each bucket goes where its last moment is: never early.
local function change_period(window, period)
  local moments, moved = {}, {}
  for _, bucket in ipairs(window.buckets) do
    table.insert(moments, math.min(last_moment(window, bucket.index), window.latest))
  end
  window.period = period
  for at, bucket in ipairs(window.buckets) do
    table.insert(moved, { index = bucket_of(window, moments[at]), units = bucket.units })
  end
  refill(window, moved)
end

-- A clock that went back by more than a period is believed; every bucket keeps its distance to the latest moment.
local function go_back(window, now)
  local distance = math.floor(rest(window.latest, now) / width(window))
  local newest, moved = bucket_of(window, now), {}
  for _, bucket in ipairs(window.buckets) do
    table.insert(moved, { index = math.min(rest(bucket.index, distance), newest), units = bucket.units })
  end
  window.latest = now
  refill(window, moved)
end

-- Comes before every question, or a full window would never age after the clock went back.
function Window.follow(window, now)
  if now + window.period < window.latest then
    go_back(window, now)
  end
end

local function observe_window(window, period, now)
  if period ~= window.period then
    change_period(window, period)
  end
  Window.follow(window, now)
  window.latest = math.max(window.latest, now)
  while window.buckets[1] and expiry(window, window.buckets[1].index) <= window.latest do
    table.remove(window.buckets, 1)
  end
end

-- The window as a claim finds it: itself, unless the claim's period moves its buckets.
local function seen_window(window, claim, now)
  local period = math.max(claim.edge, 1)
  if period == window.period then
    return window
  end
  local copy = Window.read(Window.write(window))
  observe_window(copy, period, now)
  return copy
end

function Window.fit(window, claim, amount, now)
  local room = claim.limit - amount
  if room < 0 then
    return NEVER
  end
  window = seen_window(window, claim, now)
  -- What may stay counted for the amount to fit: the newest buckets, as long as they have room.
  local stays = 0
  for at = #window.buckets, 1, -1 do
    local ends = expiry(window, window.buckets[at].index)
    if ends <= now then
      break
    end
    stays = stays + window.buckets[at].units
    if stays > room then
      return rest(ends, now)
    end
  end
  return NOW
end

function Window.take(window, claim, _, _, now)
  observe_window(window, math.max(claim.edge, 1), now)
  count(window, bucket_of(window, window.latest), claim.amount)
  return window.latest, window.moves
end

function Window.standing(window, claim, now)
  window = seen_window(window, claim, now)
  local used, reset = 0, 0
  for at = #window.buckets, 1, -1 do
    local ends = expiry(window, window.buckets[at].index)
    if ends <= now then
      break
    end
    used = sum(used, window.buckets[at].units)
    reset = math.max(reset, rest(ends, now))
  end
  return rest(claim.limit, used), reset
end

-- Whether units counted at these marks are in one bucket, or both no more counted: they are forgotten together.
function Window.together(window, one, other)
  local a, b = bucket_of(window, one.at), bucket_of(window, other.at)
  local are_past = expiry(window, a) <= window.latest and expiry(window, b) <= window.latest
  return one.moves == other.moves and (a == b or are_past)
end

function Window.correct(window, part, real)
  local index = bucket_of(window, part.at)
  if expiry(window, index) <= window.latest then
    return
  end
  local moved = part.moves ~= window.moves
  if real >= part.amount then
    -- Units that were moved may be in any bucket: the newest one forgets last.
    count(window, moved and bucket_of(window, window.latest) or index, real - part.amount)
  elseif not moved then
    -- never over-admit: units are given back only to the very bucket they were counted in.
    for at, bucket in ipairs(window.buckets) do
      if bucket.index == index then
        bucket.units = rest(bucket.units, part.amount - real)
        if bucket.units == 0 then
          table.remove(window.buckets, at)
        end
        break
      end
    end
  end
end
