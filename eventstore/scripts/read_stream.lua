-- One page of a stream: consecutive versions, forwards or backwards.
--
-- KEYS  head, log, index of the stream
-- ARGV  version to begin with (0: the end at which that direction begins), version to end with (0: the other end)
--       | events at most (0: only the version is asked for) | bytes at most (one event comes in any case)
--       | 1 for backwards | the newest of the epochs that the reader knows (empty: none)
-- returns version of the stream, how many of its events are archived (they are not in the index), head position of the
--       partition, its epochs (nothing if the reader knows them), then for each event its id and its value; no value
--       where the log has no such entry, and then nothing follows
-- errors READONLY: this server is a replica, which may lag behind what its primary has shown

-- include stream_page.lua

local head_key, log_key, index_key = KEYS[1], KEYS[2], KEYS[3]
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local events, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local backwards, known = ARGV[5] == '1', ARGV[6]

if is_replica(redis.call('INFO', 'replication')) then
  return redis.error_reply('READONLY a replica cannot tell what the log holds')
end
local version, base, pos, epochs, newest = look_at_stream(head_key, index_key)
local page = { version, base, pos, newest ~= known and epochs }

if backwards then
  first = first == 0 and version or math.min(first, version)
  last = math.max(last, base + 1, first - events + 1)
  if first < last then return page end
else
  first = math.max(first, 1)
  last = math.min(last == 0 and version or math.min(last, version), first + events - 1)
  if first > last or first <= base then return page end
end

add_events(page, log_key, index_key, base, epochs, first, last, bytes, backwards)
return page
