-- Keeps a key if the version it was read at is the one kept now; and no digest ever names two keys.
-- KEYS: keys, digests. ARGV: name, version read, record, digests. Reply: 1 kept, 0 conflict.
local name, version, record = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local before = redis.call('HGET', KEYS[1], name)
local kept = before and cjson.decode(before) or { version = 0, secrets = {} }
if kept.version ~= version then
  return 0
end
for at = 4, #ARGV do
  local owner = redis.call('HGET', KEYS[2], ARGV[at])
  if owner and owner ~= name then
    return 0
  end
end
for _, secret in ipairs(kept.secrets) do
  redis.call('HDEL', KEYS[2], secret.digest)
end
for at = 4, #ARGV do
  redis.call('HSET', KEYS[2], ARGV[at], name)
end
redis.call('HSET', KEYS[1], name, record)
return 1
