-- Numbers are doubles: whole ones are exact up to 2^53 - 1, and every sum stops there. A wait is in milliseconds,
-- NOW comes before and NEVER after all of them.
local MOST = 9007199254740991
local NOW, NEVER = -1, math.huge
local GRACE_MS, DAY_MS = 60000, 86400000

local function digits(number)
  return string.format('%.0f', number)
end

local function sum(a, b)
  return math.min(a + b, MOST)
end

local function rest(a, b)
  return math.max(a - b, 0)
end

-- Milliseconds since the epoch. The server's clock decides, so that all gateways agree; tests give their own.
local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A reply with a wait in it has no infinity.
local function told(wait)
  return wait == NEVER and -1 or wait
end
