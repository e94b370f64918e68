-- The last position of a partition that was recorded at or before a time. `recorded_at` never goes back in a
-- partition, so it is found by halving: some 20 entries are looked at among a million.
--
-- KEYS  head, log
-- ARGV  time in microseconds
-- returns epoch, position (0, 0 if all of the partition is newer)
--       or the position of an entry that should be there and is not, alone
-- errors NOPARTITION: the partition was never made; DAMAGED

-- include epoch.lua
-- include head.lua

local head_key, log_key = KEYS[1], KEYS[2]
local time = tonumber(ARGV[1])

local head = redis.call('HMGET', head_key, 'pos', 'last', 'noted')
if not head[1] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
must_be_numbers(head_key, { 'pos', 'last', 'noted' }, head)
local epochs
local function epoch_of(position)
  epochs = epochs or parse_epochs(redis.call('HGET', head_key, 'epochs'))
  return epoch_at(epochs, position) or '0'
end

local function recorded_at(position)
  local id = epoch_of(position) .. '-' .. string.format('%.0f', position)
  local entry = redis.call('XRANGE', log_key, id, id)[1]
  return entry and (struct.unpack('>I8', entry[2][2], 2))
end

-- below: recorded at or before the time (0: none is known to be); above: later
local below, above = 0, tonumber(head[1]) + 1
if tonumber(head[2]) <= time then return { head[3] or '0', above - 1 } end
while above - below > 1 do
  local middle = math.floor((below + above) / 2)
  local at = recorded_at(middle)
  if not at then return { middle } end
  if at <= time then below = middle else above = middle end
end
return { epoch_of(below), below }
