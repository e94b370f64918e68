-- Shared by the scripts that know the lease of a group: included, not called. It brings epoch.lua with it.
--
-- KEYS / ARGV  none of its own
-- returns      functions: look_at_lease, what_is_no_number, replid_of, why_stale, is_free, written_first, place_of,
--              is_place, text, ring
-- errors       none
--
-- A lease is of one epoch: it ends when another server process serves the partition, whoever notices first.

-- include eventstore/epoch.lua

-- The head of the partition: replid, number, pos, epochs, largest; and the control hash of the group: owner, term,
-- epoch, replid, until, number, offset, fin, mute, paused, moved.
local function look_at_lease(head_key, control_key) -- luacheck: ignore
  return redis.call('HMGET', head_key, 'replid', 'number', 'pos', 'epochs', 'largest'),
    redis.call('HMGET', control_key, 'owner', 'term', 'epoch', 'replid', 'until', 'number', 'offset', 'fin', 'mute',
      'paused', 'moved')
end

-- The name of the field that is not what it must be, if one is not. It would end a script, by an error of Lua's own.
local function what_is_no_number(lease) -- luacheck: ignore
  for i, name in pairs({ [2] = 'term', [3] = 'epoch', [5] = 'until', [6] = 'number' }) do
    if not lease[i] or not string.find(lease[i], '^%d+$') then return name end
  end
  for i, name in pairs({ [7] = 'offset', [8] = 'fin' }) do
    if not lease[i] or not string.find(lease[i], '^%d+%-%d+$') then return name end
  end
end

local function replid_of(info) -- luacheck: ignore
  return string.match(info, 'master_replid:(%x+)')
end

-- Why the token of a call is not that of the lease (any more); nil if it is.
local function why_stale(head, lease, replid, owner, term, epoch) -- luacheck: ignore
  if not lease[1] then return 'the group is gone' end
  if lease[1] == '' then return 'nobody has it now' end
  if lease[1] ~= owner or lease[2] ~= term then return lease[1] .. ' has it now, term ' .. lease[2] end
  if lease[3] ~= epoch or lease[3] ~= head[2] or lease[4] ~= head[1] or lease[4] ~= replid then
    return 'another server process has begun an epoch'
  end
end

-- Whether anybody may take the lease: it was given back, its time is over or, as seen by a clock that was set back,
-- lies too far ahead, or it is of another epoch than the partition is in now.
local function is_free(lease, number, replid, now_ms, lease_ms) -- luacheck: ignore
  local ends = tonumber(lease[5])
  return lease[1] == '' or ends < now_ms or ends > now_ms + 2 * lease_ms or lease[3] ~= number or lease[4] ~= replid
end

-- A script's first write decides whether a server that is out of memory refuses it. To remove nothing is always
-- allowed, and what follows is then too: no lease lapses because memory is full.
local function written_first(control_key) -- luacheck: ignore
  redis.call('HDEL', control_key, '')
end

-- '<epoch>-<position>' as text and number
local function place_of(id) -- luacheck: ignore
  local epoch, position = string.match(id, '^(%d+)%-(%d+)$')
  return epoch, tonumber(position)
end

-- Whether the entry <epoch>-<position> is, or was, in the history that these epochs tell of.
local function is_place(epochs, epoch, position) -- luacheck: ignore
  if position == 0 then return epoch == '0' end
  local newest = newest_epoch(epochs)
  if newest and position >= newest[2] then return epoch == newest[1] end
  return epoch_at(parse_epochs(epochs), position) == epoch
end

local function text(number) -- luacheck: ignore
  return string.format('%.0f', number)
end

-- Wakes the holder of the lease, who reads behind the last entry that it has seen.
local function ring(bell_key, why) -- luacheck: ignore
  redis.call('XADD', bell_key, 'MAXLEN', '1', '*', 'why', why)
end
