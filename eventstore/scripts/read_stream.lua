-- One page of a stream: consecutive versions, forwards or backwards.
--
-- KEYS  head, log, index of the stream
-- ARGV  version to begin with (0: the end at which that direction begins), version to end with (0: the other end)
--       | events at most (0: only the version is asked for) | bytes at most (one event comes in any case)
--       | 1 for backwards
-- returns version of the stream, how many of its events are archived (they are not in the index), head position of the
--       partition, its epochs, then for each event its id and its value; no value where the log has no such entry, and
--       then nothing follows
-- errors READONLY: this server is a replica, which may lag behind what its primary has shown
--
-- The positions of a stream are looked up one by one, but neighbours in one epoch come with one XRANGE.

-- include epoch.lua

local head_key, log_key, index_key = KEYS[1], KEYS[2], KEYS[3]
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local events, bytes_left = tonumber(ARGV[3]), tonumber(ARGV[4])
local backwards = ARGV[5] == '1'
local STEP = 16   -- as in read_partition.lua

if string.find(redis.call('INFO', 'replication'), 'role:slave', 1, true) then
  return redis.error_reply('READONLY a replica cannot tell what the log holds')
end
local head = redis.call('HMGET', head_key, 'pos', 'epochs')
local length = redis.call('LLEN', index_key)
local base = length == 0 and 0 or tonumber(redis.call('LINDEX', index_key, 0))
local version = length == 0 and 0 or base + length - 1
local page = { version, base, tonumber(head[1] or 0), head[2] or '' }

if backwards then
  first = first == 0 and version or math.min(first, version)
  last = math.max(last, base + 1, first - events + 1)
  if first < last then return page end
else
  first = math.max(first, 1)
  last = math.min(last == 0 and version or math.min(last, version), first + events - 1)
  if first > last or first <= base then return page end
end

local positions
if backwards then
  local ascending = redis.call('LRANGE', index_key, last - base, first - base)
  positions = {}
  for i = #ascending, 1, -1 do positions[#positions + 1] = tonumber(ascending[i]) end
else
  positions = redis.call('LRANGE', index_key, first - base, last - base)
  for i = 1, #positions do positions[i] = tonumber(positions[i]) end
end

-- the epoch of a position, and where that epoch begins and ends
local epochs = parse_epochs(head[2])
local epoch, from, to = '0', 0, -1
local function enter(at)
  if at >= from and at <= to then return end
  epoch, from, to = '0', 0, math.huge
  for i = #epochs, 1, -1 do
    if epochs[i][2] <= at then
      epoch, from = epochs[i][1], epochs[i][2]
      return
    end
    to = epochs[i][2] - 1
  end
end

local function id_of(at)
  return epoch .. '-' .. string.format('%.0f', at)
end

local by = backwards and -1 or 1
local command = backwards and 'XREVRANGE' or 'XRANGE'
local i = 1
while i <= #positions do
  local at = positions[i]
  enter(at)
  local n = 1
  while n < STEP and positions[i + n] == at + n * by and at + n * by >= from and at + n * by <= to do n = n + 1 end
  local entries = redis.call(command, log_key, id_of(at), id_of(at + (n - 1) * by))
  for j = 1, n do
    local expected = id_of(at + (j - 1) * by)
    if not entries[j] or entries[j][1] ~= expected then
      page[#page + 1] = expected
      page[#page + 1] = false
      return page
    end
    local value = entries[j][2][2]
    if #value > bytes_left and #page > 4 then return page end
    bytes_left = bytes_left - #value
    page[#page + 1] = expected
    page[#page + 1] = value
  end
  i = i + n
end
return page
