-- Which timers of a partition are due, and will be in a moment.
--
-- KEYS  timers, what
-- ARGV  most timers | bytes of events after which the page ends | for how many ms to look ahead | the time in ms, or
--       nothing: that of the server
-- returns that time, when the next one is due that is not told of here (-1: there is none; at a full page: not before
--       that), {id, stream, due in ms, ...} in order of their due times
-- errors DAMAGED; READONLY: this server is a replica, which lags behind. Nothing is written.

-- include eventstore/epoch.lua
-- include timers.lua

if is_replica(redis.call('INFO', 'replication')) then
  return redis.error_reply('READONLY only a primary knows what is due')
end
local now_ms = tonumber(ARGV[4]) or math.floor(microseconds() / 1000)
return due_page(KEYS[1], KEYS[2], now_ms, tonumber(ARGV[3]), tonumber(ARGV[1]), tonumber(ARGV[2]))
