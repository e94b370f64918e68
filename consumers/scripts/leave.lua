-- Takes a member off the list, and rings the bell, so that others take over what it had.
--
-- KEYS  control hash, members, bell, all of the group's home
-- ARGV  member
-- returns 1 if it was listed, else 0
-- errors none
local control_key, members_key, bell_key = KEYS[1], KEYS[2], KEYS[3]
local left = redis.call('HDEL', members_key, ARGV[1])
-- not for a group that was deleted meanwhile: a bell would stay behind
if left == 1 and redis.call('EXISTS', control_key) == 1 then
  redis.call('XADD', bell_key, 'MAXLEN', '1', '*', 'why', 'members')
end
return left
