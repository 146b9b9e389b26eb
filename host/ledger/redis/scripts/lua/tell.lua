-- Hears of an exchange that passed. A result of an older generation is ignored.
-- ARGV, further: generation, health (`good`, `bad`, `unknown`). Reply: 1.
local passed, health = tonumber(ARGV[6]), ARGV[7]
if passed ~= generation then
  return 1
end
if state == 'closed' and health == 'good' then
  if last > 0 then
    keep_breaker('closed', generation, 0)
  end
elseif state == 'closed' and health == 'bad' then
  if last + 1 >= math.max(rule.failures, 1) then
    keep_breaker('open', generation + 1, sum(now, rule.open))
  else
    keep_breaker('closed', generation, last + 1)
  end
elseif state == 'probing' and health == 'good' then
  keep_breaker('closed', generation + 1, 0)
elseif state == 'probing' and health == 'bad' then
  keep_breaker('open', generation + 1, sum(now, rule.open))
elseif state == 'probing' then
  -- The place is free at once: the next one to ask is the probe.
  keep_breaker('open', generation + 1, now)
end
return 1
