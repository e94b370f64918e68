-- Shared by the scripts that append events which were checked in full before: included, not called. Each lands at
-- whatever version its stream has. It brings eventstore's epoch.lua and head.lua with it.
--
-- KEYS / ARGV  none of its own: it gets KEYS as `keys`, of which 1 to 3 are head, log and urgent, and those from a
--              place on the indexes of the streams that are written to
-- returns      functions: read_head, begin_append, is_urgent, append_event, end_append
-- errors       NOPARTITION: the partition was never made; DAMAGED. Nothing is written: who appends has begun before.
--
-- Nothing of it looks at ids, whose repeats the caller knows.

-- include eventstore/epoch.lua
-- include eventstore/head.lua

local STORED_FORMAT = 1
local MOST_WORDS = 4000 -- of one redis.call: `unpack` ends near 8,000, and would end the script midway

local HEAD_FIELDS = { 'pos', 'last', 'number', 'noted', 'replid', 'largest', 'epochs' }
local function read_head(head_key) -- luacheck: ignore
  local head = redis.call('HMGET', head_key, unpack(HEAD_FIELDS))
  for i = 1, 5 do
    if not head[i] then
      error(redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist, or is incomplete'))
    end
  end
  must_be_numbers(head_key, { unpack(HEAD_FIELDS, 1, 4) }, head)
  must_be_numbers(head_key, { 'largest' }, { head[6] })
  return head
end

local function is_urgent(letter)
  return letter == 'H' or letter == 'C'
end

-- All that an append needs to know; it only reads. `has_urgent`: events of a high priority are among them.
local function begin_append(keys, first_index, head, has_urgent) -- luacheck: ignore
  local now = microseconds()
  local replid, number = current_epoch(head[5], head[3], now)
  local position = tonumber(head[1])
  local streams = {}
  for i = first_index, #keys do
    local length = redis.call('LLEN', keys[i])
    local base = length == 0 and 0 or tonumber(redis.call('LINDEX', keys[i], 0))
    streams[i] = { key = keys[i], version = base + math.max(length - 1, 0), positions = length == 0 and { '0' } or {} }
  end
  if has_urgent then
    local newest = redis.call('XREVRANGE', keys[3], '+', '-', 'COUNT', 1)[1]
    local epoch, place = string.match(newest and newest[1] or '0-0', '^(%d+)-(%d+)$')
    epoch, place = tonumber(epoch), tonumber(place)
    if epoch > tonumber(number) or epoch == tonumber(number) and place > position then
      error(redis.error_reply('DAMAGED the index of urgent events goes on to ' .. newest[1]))
    end
  end
  return {
    keys = keys, streams = streams, now = now, replid = replid, number = number,
    position = position, last = tonumber(head[2]),
    epochs = head[4] ~= number and parse_epochs(head[7]),
    largest = head[6] and tonumber(head[6]), -- nobody knows it where an older release has appended
    -- The first id in full, so that a log that does not end where the head says refuses it.
    next_id = number .. '-' .. string.format('%.0f', position + 1), following = number .. '-*', id_end = #number + 2,
    written = 0,
  }
end

-- One event of the stream whose index key is keys[place]; its position as text.
local function append_event(log, place, cause, letter, packed) -- luacheck: ignore
  local stream = log.streams[place]
  log.last = math.max(log.now, log.last + 1, cause + 1)
  stream.version = stream.version + 1
  local value = struct.pack('>BI8I6', STORED_FORMAT, log.last, stream.version) .. packed
  local id = redis.call('XADD', log.keys[2], log.next_id, 'e', value)
  if is_urgent(letter) then redis.call('XADD', log.keys[3], id, 'p', letter) end
  local at = string.sub(id, log.id_end)
  stream.positions[#stream.positions + 1] = at
  if log.largest and #value > log.largest then log.largest = #value end
  log.next_id, log.written = log.following, log.written + 1
  return at
end

-- The indexes and the head, for which `...` are more fields and their values.
local function end_append(log, ...) -- luacheck: ignore
  for _, stream in pairs(log.streams) do
    local positions = stream.positions
    if positions[2] or positions[1] and positions[1] ~= '0' then
      for first = 1, #positions, MOST_WORDS do
        redis.call('RPUSH', stream.key, unpack(positions, first, math.min(first + MOST_WORDS - 1, #positions)))
      end
    end
  end
  local fields = { 'pos', string.format('%.0f', log.position + log.written), 'last', string.format('%.0f', log.last),
    'replid', log.replid, 'number', log.number, ... }
  local function set(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if log.largest then set('largest', string.format('%.0f', log.largest)) end
  if log.epochs then
    log.epochs[#log.epochs + 1] = { log.number, log.position + 1 }
    set('noted', log.number)
    set('epochs', format_epochs(log.epochs))
  end
  redis.call('HSET', log.keys[1], unpack(fields))
end
