-- Makes the keys of a partition's timers, where there are none.
--
-- KEYS  timers, what, bell
-- ARGV  none
-- returns OK
-- errors OOM, READONLY

-- include make_timers.lua

make_timers(unpack(KEYS))
return redis.status_reply('OK')
