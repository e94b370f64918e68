-- The next urgent events of a partition, by its index of them: in one exchange, for the exchanges of a busy member take
-- some milliseconds each.
--
-- KEYS  urgent, log
-- ARGV  id after which to begin | events at most | bytes at most (one event comes in any case)
-- returns for each { id, value }; without the value if the log has it no more
-- errors none

local urgent_key, log_key = KEYS[1], KEYS[2]
local bytes_left = tonumber(ARGV[3])

local page = {}
for i, entry in ipairs(redis.call('XRANGE', urgent_key, '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  local stored = redis.call('XRANGE', log_key, entry[1], entry[1])[1]
  page[i] = { entry[1], stored and stored[2][2] }
  bytes_left = bytes_left - (stored and #stored[2][2] or 0)
  if bytes_left <= 0 then break end
end
return page
