-- Fixes what a log is, once: whoever comes first decides.
--
-- KEYS  the log's hash
-- ARGV  format, partitions, duplicate window in microseconds
-- returns format, partitions, duplicate window as they are now fixed
-- errors none
local log_key = KEYS[1]
local format, partitions, window = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', log_key) == 0 then
  redis.call('HSET', log_key, 'format', format, 'partitions', partitions, 'duplicate_window_us', window)
end
return redis.call('HMGET', log_key, 'format', 'partitions', 'duplicate_window_us')
