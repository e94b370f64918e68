-- A member says that it lives, and hears who else does. Who has not said so for its own time to live is dropped. When
-- members have come or gone, the bell rings.
--
-- KEYS  control hash, members, bell, all of the group's home
-- ARGV  member, what it says of itself, its time to live in ms
-- returns TIME in ms, then member, what it says of itself, for each that lives; nil if there is no such group
-- errors none
--
-- A value is "<seen, ms> <time to live, ms> <what it says of itself>". As of a lease, seen further ahead than the time
-- to live means that the clock was set back.
local control_key, members_key, bell_key = KEYS[1], KEYS[2], KEYS[3]
local id, said, ttl = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', control_key) == 0 then return false end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', members_key)
local live, gone, is_new = { now }, {}, true
for i = 1, #all, 2 do
  local other, seen, its_ttl, its_text = all[i], string.match(all[i + 1], '^(%d+) (%d+) (.*)$')
  if other == id then
    is_new = false
  elseif seen and math.abs(now - seen) > tonumber(its_ttl) then
    gone[#gone + 1] = other
  elseif seen then
    live[#live + 1], live[#live + 2] = other, its_text
  end
end
live[#live + 1], live[#live + 2] = id, said

-- Taking away comes first, also of nothing: a script whose first write needs memory is refused when there is none, and
-- who may not say that it lives would be taken for dead. The field '' keeps the hash there when all have left.
redis.call('HDEL', members_key, ' ', unpack(gone))
redis.call('HSET', members_key, '', '', id, string.format('%.0f %s %s', now, ttl, said))
if is_new or #gone > 0 then redis.call('XADD', bell_key, 'MAXLEN', '1', '*', 'why', 'members') end
return live
