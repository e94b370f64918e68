-- Deletes a group in one partition: what is stored of it, and the Redis group. What its handlers keep under names of
-- their own stays.
--
-- KEYS  log, control, the other keys of the group in this partition
-- ARGV  name of the group
-- returns 1; 0 if there was no such group: what may be left of one is deleted all the same
-- errors READONLY of a replica. Nothing is written.
local log_key, control_key = KEYS[1], KEYS[2]
local group = ARGV[1]

local was_there = redis.call('EXISTS', control_key)
redis.call('UNLINK', unpack(KEYS, 2))
redis.pcall('XGROUP', 'DESTROY', log_key, group)
return was_there
