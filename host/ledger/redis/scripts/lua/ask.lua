-- Asks to pass. One exchange is the probe of a breaker that was open long enough.
-- Reply: 1, generation, whether it is the probe; or 0, wait.
if state == 'closed' then
  return { 1, generation, 0 }
end
-- After a clock that went back nobody waits longer than the rule says.
local wait = rest(last, now)
if wait > 0 and wait <= math.max(rule.open, rule.probe) then
  return { 0, wait }
end
keep_breaker('probing', generation + 1, sum(now, rule.probe))
return { 1, generation, 1 }
