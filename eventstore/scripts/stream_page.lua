-- Shared by the scripts that read a stream: included, not called. It brings epoch.lua and head.lua with it.
--
-- KEYS / ARGV  none of its own
-- returns      functions: look_at_stream, add_events
-- errors       DAMAGED

-- include epoch.lua
-- include head.lua

local STEP = 16   -- as in read_partition.lua

-- Version of the stream, how many of its events are archived, head position of the partition, its epochs as text, the
-- newest of them.
local function look_at_stream(head_key, index_key) -- luacheck: ignore
  local head = redis.call('HMGET', head_key, 'pos', 'epochs', 'noted')
  must_be_numbers(head_key, { 'pos' }, head)
  must_be_numbers(head_key, { 'noted' }, { head[3] })
  local length = redis.call('LLEN', index_key)
  local base = length == 0 and 0 or tonumber(redis.call('LINDEX', index_key, 0))
  local version = length == 0 and 0 or base + length - 1
  return version, base, tonumber(head[1] or 0), head[2] or '', head[3]
end

local function positions_between(index_key, base, first, last, backwards)
  if not backwards then return redis.call('LRANGE', index_key, first - base, last - base) end
  local ascending, positions = redis.call('LRANGE', index_key, last - base, first - base), {}
  for i = #ascending, 1, -1 do positions[#positions + 1] = ascending[i] end
  return positions
end

-- Appends id and value of the versions `first` to `last` (backwards: down to `last`), of which none is archived, to
-- `page`: at most `bytes` of values, but one in any case; no value where the log has no such entry, and then nothing
-- follows. The positions are looked up one by one, but neighbours in one epoch come with one XRANGE. `epochs` may still
-- be text: where the newest one is enough, a list of thousands is not looked through (0.3 us an epoch).
local function add_events(page, log_key, index_key, base, epochs, first, last, bytes, backwards) -- luacheck: ignore
  local positions = positions_between(index_key, base, first, last, backwards)
  for i = 1, #positions do positions[i] = tonumber(positions[i]) end
  if type(epochs) == 'string' then
    local newest = newest_epoch(epochs)
    local oldest = math.min(positions[1] or 0, positions[#positions] or 0)
    epochs = newest and newest[2] <= oldest and { newest } or parse_epochs(epochs)
  end

  -- the epoch of a position, and where that epoch begins and ends
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

  local by, none = backwards and -1 or 1, #page
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
        return
      end
      local value = entries[j][2][2]
      if #value > bytes and #page > none then return end
      bytes = bytes - #value
      page[#page + 1] = expected
      page[#page + 1] = value
    end
    i = i + n
  end
end
