-- Looks through some of a group's failures in one partition for those that are parked. They stay on the server, where
-- each may have some kB.
--
-- KEYS  errors, detached
-- ARGV  cursor, "0" at first | how many to look at, about
-- returns the next cursor ("0" at the end), when the oldest of them was parked: microseconds since 1970, by the clock
--         of the member; nothing if none is parked
-- errors none. What changes meanwhile is found or not.
local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local oldest
for i = 2, #found[2], 2 do
  -- these fields follow each other (consumers/failure.py); within a text the quotes would be escaped
  local failed_us = string.match(found[2][i], '"failed_us":(%d+),"parked":true[,}]')
  -- one that is retried by order has its last failure until it has another outcome: its row tells
  if failed_us then
    local row = redis.call('HGET', KEYS[2], found[2][i - 1])
    if not row or not string.find(row, '^%d+ p ') then failed_us = nil end
  end
  -- numbers of as many digits: they are compared as they are, for as numbers they would be printed rounded
  if failed_us and (not oldest or #failed_us < #oldest or (#failed_us == #oldest and failed_us < oldest)) then
    oldest = failed_us
  end
end
return { found[1], oldest or false }
