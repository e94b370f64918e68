-- Looks on in what is kept of timers for what nothing waits for.
--
-- KEYS  timers, what
-- ARGV  cursor of HSCAN, 0 to begin | how many to look at, about
-- returns the next cursor, 0 at the end; {id, ...} that are in `what` and not in `timers`
-- errors none

local scanned = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[2])
local strays = {}
for i = 1, #scanned[2], 2 do
  local id = scanned[2][i]
  if id ~= '' and not redis.call('ZSCORE', KEYS[1], id) then strays[#strays + 1] = id end
end
return { scanned[1], strays }
