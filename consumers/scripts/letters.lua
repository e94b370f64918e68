-- Tells of some streams of a group why they fail, and how much waits behind: all of one moment.
--
-- KEYS  detached, errors, the index of each stream
-- ARGV  1 with tracebacks, which are most of the bytes, else 0 | the streams, in the order of their indexes
-- returns TIME in microseconds, then for each stream: packed row, failure (nothing of either: it has none), its version
-- errors none. Nothing is written.
local detached_key, errors_key, INDEXES = KEYS[1], KEYS[2], 2
local with_tracebacks = ARGV[1] == '1'
local streams = { unpack(ARGV, 2) }

-- These fields follow each other (consumers/failure.py); within a text the quotes would be escaped.
local function without_traceback(failure)
  local first = string.find(failure, ',"traceback":"', 1, true)
  local behind = first and string.find(failure, '","where":"', first, true)
  if not behind then return failure end
  return string.sub(failure, 1, first - 1) .. ',"traceback":"' .. string.sub(failure, behind)
end

local function version_of(index_key)
  local length = redis.call('LLEN', index_key)
  if length == 0 then return 0 end
  return redis.call('LINDEX', index_key, 0) + length - 1 -- element 0 is the number of archived events
end

local time = redis.call('TIME')
local answer = { time[1] * 1000000 + time[2] }
local rows = redis.call('HMGET', detached_key, unpack(streams))
local failures = redis.call('HMGET', errors_key, unpack(streams))
for i = 1, #streams do
  local failure = failures[i]
  if failure and not with_tracebacks then failure = without_traceback(failure) end
  answer[#answer + 1] = rows[i]
  answer[#answer + 1] = failure
  answer[#answer + 1] = version_of(KEYS[INDEXES + i])
end
return answer
