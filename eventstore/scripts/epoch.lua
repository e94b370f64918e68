-- Shared by the scripts that number something: included, not called.
--
-- KEYS / ARGV  none of its own
-- returns      functions: microseconds, is_replica, current_epoch, parse_epochs, newest_epoch, epoch_at, format_epochs
-- errors       DAMAGED: the epochs are none. Nothing is written: who writes epochs has parsed those before.
--
-- A server process is known by its master_replid, which changes at each start and promotion (run_id does not, when a
-- primary is demoted, resynced and promoted again: it would give out used ids). Epochs stay strings:
-- they have 16 digits.

local function microseconds() -- luacheck: ignore
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- By an INFO replication, which takes the server 1 to 9 us: a script asks once.
local function is_replica(info) -- luacheck: ignore
  return string.find(info, 'role:slave', 1, true)
end

-- The replid of this process, the epoch it numbers in, and the INFO that tells. Another replid than the stored one: a
-- new epoch, above every earlier one and, by the first digits of the replid, unlike one that another history made in
-- the same moment.
local function current_epoch(stored_replid, stored_number, now) -- luacheck: ignore
  local info = redis.call('INFO', 'replication')
  -- Looked for as it stands: by a pattern, the usual case would take a microsecond more.
  if string.find(info, 'master_replid:' .. stored_replid .. '\r\n', 1, true) then
    return stored_replid, stored_number, info
  end
  local replid = string.match(info, 'master_replid:(%x+)')
  local above = math.max(tonumber(stored_number), now) + 1 + tonumber(string.sub(replid, 1, 5), 16)
  return replid, string.format('%.0f', above), info
end

-- "epoch:first position,..." as a list of {epoch, first position}
local function parse_epochs(text) -- luacheck: ignore
  if string.find(text or '', '[^%d:,]') then
    error(redis.error_reply('DAMAGED the epochs of a partition are unreadable'))
  end
  local list = {}
  for epoch, first in string.gmatch(text or '', '(%d+):(%d+)') do
    list[#list + 1] = { epoch, tonumber(first) }
  end
  return list
end

-- The last of them, without a look at the others: two numbers of 16 digits end the text at the most.
local function newest_epoch(text) -- luacheck: ignore
  local epoch, first = string.match(text, '(%d+):(%d+)$', -34)
  return epoch and { epoch, tonumber(first) }
end

local function epoch_at(list, position) -- luacheck: ignore
  for i = #list, 1, -1 do
    if list[i][2] <= position then return list[i][1] end
  end
end

local function format_epochs(list) -- luacheck: ignore
  local parts = {}
  for i, item in ipairs(list) do
    parts[i] = item[1] .. ':' .. string.format('%.0f', item[2])
  end
  return table.concat(parts, ',')
end
