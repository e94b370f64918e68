-- Pauses a group in one partition, or lets it go on, and wakes the holder of its lease.
--
-- KEYS  control, bell
-- ARGV  who paused it and why; nothing: it goes on
-- returns 1; 0 if there is no such group
-- errors READONLY of a replica. Nothing is written.
local control_key, bell_key = KEYS[1], KEYS[2]
local paused = ARGV[1]

if redis.call('EXISTS', control_key) == 0 then return 0 end
redis.call('XLEN', bell_key) -- of another type it would end the script midway
redis.call('HDEL', control_key, '') -- needs no memory, so that a server without any does not refuse what follows
redis.call('HSET', control_key, 'paused', paused)
redis.call('XADD', bell_key, 'MAXLEN', '1', '*', 'why', 'paused')
return 1
