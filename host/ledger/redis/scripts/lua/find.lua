-- Finds a key by a digest of one of its secrets, and the scopes around it, outermost first.
-- KEYS: keys, digests, scopes. ARGV: digest. Reply: none; or the key's record, and those of its scopes.
local name = redis.call('HGET', KEYS[2], ARGV[1])
local record = name and redis.call('HGET', KEYS[1], name)
if not record then
  return {}
end
local reply, stop = { record }, string.find(name, '/', 1, true)
while stop do
  local scope = redis.call('HGET', KEYS[3], string.sub(name, 1, stop - 1))
  if scope then
    table.insert(reply, scope)
  end
  stop = string.find(name, '/', stop + 1, true)
end
return reply
