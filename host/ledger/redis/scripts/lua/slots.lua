-- The rule of slots, as in slots.rs: at most `limit` units held at once. A unit is free when its hold is settled or
-- its lease has passed. Line: slots <until>:<units>:<hold> ..
local Slots = {}

function Slots.new()
  return { kind = 'slots', leases = {} }
end

function Slots.read(line)
  local slots = Slots.new()
  for ending, units, hold in string.gmatch(line, ' (%d+):(%d+):(%S+)') do
    table.insert(slots.leases, { ending = tonumber(ending), units = tonumber(units), hold = hold })
  end
  return slots
end

function Slots.write(slots)
  local words = { 'slots' }
  for _, lease in ipairs(slots.leases) do
    table.insert(words, digits(lease.ending) .. ':' .. digits(lease.units) .. ':' .. lease.hold)
  end
  return table.concat(words, ' ')
end

local function retain(slots, stays)
  local kept = {}
  for _, lease in ipairs(slots.leases) do
    if stays(lease) then
      table.insert(kept, lease)
    end
  end
  slots.leases = kept
end

-- no phantom refusal: a hold blocks no longer than its lease. Units that count at `now`, and when the last ends.
local function counted(slots, now)
  local used, last = 0, now
  for _, lease in ipairs(slots.leases) do
    if lease.ending > now then
      used = used + lease.units
      last = math.max(last, lease.ending)
    end
  end
  return used, last
end

function Slots.life(slots, now)
  local _, last = counted(slots, now)
  return last - now
end

function Slots.fit(slots, claim, amount, now)
  local room = claim.limit - amount
  if room < 0 then
    return NEVER
  end
  local used = counted(slots, now)
  if used <= room then
    return NOW
  end
  local ends = {}
  for _, lease in ipairs(slots.leases) do
    if lease.ending > now then
      table.insert(ends, lease)
    end
  end
  table.sort(ends, function(a, b) return a.ending < b.ending end)
  for _, lease in ipairs(ends) do
    used = used - lease.units
    if used <= room then
      return lease.ending - now
    end
  end
  return NEVER
end

function Slots.take(slots, claim, hold, ending, now)
  retain(slots, function(lease) return lease.ending > now end)
  if claim.amount > 0 then
    table.insert(slots.leases, { ending = ending, units = claim.amount, hold = hold })
  end
  return 0, 0
end

function Slots.renew(slots, hold, ending)
  for _, lease in ipairs(slots.leases) do
    if lease.hold == hold then
      lease.ending = ending
    end
  end
end

function Slots.correct(slots, _, _, hold)
  retain(slots, function(lease) return lease.hold ~= hold end)
end

function Slots.standing(slots, claim, now)
  local used, last = counted(slots, now)
  return rest(claim.limit, used), last - now
end
