-- One hash for each exchange. Open: its row, lease and parts. Closed: a marker that stays for a day, so that an
-- exchange is charged once and has one row, whatever is repeated. Two sorted sets name the open holds: by the end of
-- the lease, and by when it began.
local function hold_under(key)
  local fields = redis.call('HMGET', key, 'closed', 'until', 'lease', 'entry', 'parts')
  if fields[1] then
    return { closed = true }
  end
  if not fields[2] then
    return nil
  end
  local hold = { ending = tonumber(fields[2]), lease = tonumber(fields[3]), entry = fields[4] }
  hold.parts = read_parts(fields[5])
  return hold
end

local function note_lease(key, leases, begun, id, ending, lease)
  redis.call('HSET', key, 'until', digits(ending), 'lease', digits(lease))
  redis.call('ZADD', leases, digits(ending), id)
  redis.call('ZADD', begun, digits(ending - lease), id)
end

local function mark_closed(key)
  redis.call('DEL', key)
  redis.call('HSET', key, 'closed', '1')
  redis.call('PEXPIRE', key, DAY_MS)
end

local function write_row(stream, most, row)
  redis.call('XADD', stream, 'MAXLEN', '~', most, '*', 'entry', row)
end

-- settle once: the marker and the row are written in one step.
local function close(key, leases, begun, stream, most, id, row)
  mark_closed(key)
  redis.call('ZREM', leases, id)
  redis.call('ZREM', begun, id)
  write_row(stream, most, row)
end

-- The keys of a hold's cells if they are not those that the caller passed from `first_key` on: it asks again.
local function other_cells(hold, first_key)
  local same = #hold.parts == #KEYS - first_key + 1
  local reply = { -1 }
  for at, part in ipairs(hold.parts) do
    same = same and KEYS[first_key + at - 1] == part.key
    table.insert(reply, part.key)
  end
  return not same and reply
end
