-- Keeps a scope if the version it was read at is the one kept now.
-- KEYS: scopes. ARGV: name, version read, record. Reply: 1 kept, 0 conflict.
local before = redis.call('HGET', KEYS[1], ARGV[1])
local kept = before and cjson.decode(before).version or 0
if kept ~= tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
