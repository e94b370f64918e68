-- One page of a partition: consecutive positions, forwards or backwards, with what the reader compares its own history
-- with (`epochs`, the head), seen in the same moment.
--
-- KEYS  head, log
-- ARGV  position to begin with (0: the end at which that direction begins), position to end with (0: the other end)
--       | events at most | bytes at most (one event comes in any case) | 1 for backwards
--       | the newest of the epochs that the reader knows (empty: none; -: none need be told)
--       | the epochs, as the reader knows them, of the positions to begin and to end with
-- returns head position, its epoch, all epochs (nothing if the reader knows them), bytes of the largest event (nothing
--       if an older release began the log), then for each run of consecutive positions in one epoch { id of the first,
--       id of the last, value, value, ... }
-- errors NOPARTITION: the partition was never made. DAMAGED. READONLY: this server is a replica, which may lag behind
--       what its primary has shown; the reader would take that for loss.
--
-- An epoch names all epochs before it, for no two histories share one: a list of thousands is neither sent nor looked
-- through for every page.
-- Values come without their ids: half the strings to parse for the client, whose time is what bounds a read.

-- include epoch.lua
-- include head.lua

local head_key, log_key = KEYS[1], KEYS[2]
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local events_left, bytes_left = tonumber(ARGV[3]), tonumber(ARGV[4])
local backwards, known, first_epoch, last_epoch = ARGV[5] == '1', ARGV[6], ARGV[7], ARGV[8]

-- What one call may take into memory: 16 events of 1 MiB, whatever the client asks for. Steps of 8 cost 6 % more.
local STEP = 16

if is_replica(redis.call('INFO', 'replication')) then
  return redis.error_reply('READONLY a replica cannot tell what the log holds')
end
local head = redis.call('HMGET', head_key, 'pos', 'noted', 'largest')
if not head[1] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
must_be_numbers(head_key, { 'pos', 'noted', 'largest' }, head)
local position, noted = tonumber(head[1]), head[2]
local text = known ~= noted and known ~= '-' and (redis.call('HGET', head_key, 'epochs') or '')
local page = { position, noted or '0', text, head[3] }

if backwards then
  first = first == 0 and position or math.min(first, position)
  last = math.max(last, 1)
  if first < last then return page end
else
  first = math.max(first, 1)
  last = last == 0 and position or math.min(last, position)
  if first > last then return page end
end

local epochs
local function id_of(at, epoch)
  if at == position then
    epoch = noted or '0'
  elseif text then
    epochs = epochs or parse_epochs(text)
    epoch = epoch_at(epochs, at) or '0'
  end
  return epoch .. '-' .. string.format('%.0f', at)
end

local by = backwards and -1 or 1
local run, run_epoch, following

local function add(id, value, epoch, at)
  if epoch ~= run_epoch or at ~= following then
    run = { id, id }
    page[#page + 1] = run
    run_epoch = epoch
  end
  run[2] = id
  run[#run + 1] = value
  following = at + by
end

local function place(id)
  local epoch, at = string.match(id, '^(%d+)-(%d+)$')
  return epoch, tonumber(at)
end

-- How many of the entries fit; the first of a page always does.
local function fitting(entries)
  for i = 1, #entries do
    local size = #entries[i][2][2]
    if size > bytes_left and not (i == 1 and not run) then return i - 1 end
    bytes_left = bytes_left - size
  end
  return #entries
end

-- The ids of a step need a look each only if its ends do not lie as far apart as it is long.
local function take(entries, n)
  local epoch, at = place(entries[1][1])
  local end_epoch, end_at = place(entries[n][1])
  if epoch == end_epoch and end_at - at == (n - 1) * by then
    add(entries[1][1], entries[1][2][2], epoch, at)
    local size = #run
    for i = 2, n do
      run[size + i - 1] = entries[i][2][2]
    end
    run[2] = entries[n][1]
    following = end_at + by
  else
    for i = 1, n do
      epoch, at = place(entries[i][1])
      add(entries[i][1], entries[i][2][2], epoch, at)
    end
  end
end

local command = backwards and 'XREVRANGE' or 'XRANGE'
local start, stop = id_of(first, first_epoch), id_of(last, last_epoch)
while events_left > 0 do
  local step = math.min(STEP, events_left)
  local entries = redis.call(command, log_key, start, stop, 'COUNT', step)
  if #entries == 0 then break end
  local n = fitting(entries)
  if n == 0 then break end
  take(entries, n)
  if n < step then break end
  events_left = events_left - n
  start = '(' .. entries[n][1]
end
return page
