-- Names holds whose lease has passed, and holds whose lease is longer than it ever was because the clock went back;
-- and notes the time, for budgets that ended must not begin anew.
-- KEYS: leases, begun, horizon. ARGV: now, most ids of either sort.
-- Reply: how many ids are of the first sort, and the ids of both.
local now, most = clock(ARGV[1]), ARGV[2]
-- Written even if it stays: a server that takes no writes shows it here.
local seen = tonumber(redis.call('GET', KEYS[3]) or 0)
redis.call('SET', KEYS[3], digits(math.max(seen, rest(now, GRACE_MS))))
local ahead = '(' .. digits(sum(now, GRACE_MS))
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', digits(now), 'LIMIT', '0', most)
local reply = { #lapsed }
for _, ids in ipairs({ lapsed, redis.call('ZRANGEBYSCORE', KEYS[2], ahead, '+inf', 'LIMIT', '0', most) }) do
  for _, id in ipairs(ids) do
    table.insert(reply, id)
  end
end
return reply
