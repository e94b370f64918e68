-- Makes a group in one partition. Its keys are never empty: while a Cluster slot moves, a declared key that does not
-- exist makes a script fail.
--
-- KEYS  head, log, control, detached, due, orders, errors, bell
-- ARGV  name of the group | id of the entry behind which it begins, 0-0 for the first event
-- returns "made"; or "there": the group was there, nothing was changed
--       or "place": the log has no such entry
-- errors NOPARTITION: the partition was never made. Nothing is written.
--
-- Where it begins everything before counts as finished: offset and fin are there.

-- include lease.lua

local head_key, log_key, control_key, detached_key, due_key, orders_key, errors_key, bell_key = unpack(KEYS)
local group, start = ARGV[1], ARGV[2]

local head, lease = look_at_lease(head_key, control_key)
if not head[3] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
if lease[1] then return 'there' end
local epoch, position = place_of(start)
if not position or position > tonumber(head[3]) or not is_place(head[4], epoch, position) then return 'place' end

-- What is left of a group of that name is not this group's. The first write is one that needs memory.
redis.call('HSET', control_key, 'owner', '', 'term', '0', 'until', '0', 'number', '0', 'epoch', '0', 'replid', '',
  'offset', start, 'fin', start, 'mute', '0', 'paused', '', 'moved', '', 'replay', '')
for _, hash in ipairs({ detached_key, orders_key, errors_key }) do
  redis.call('UNLINK', hash)
  redis.call('HSET', hash, '', '')
end
redis.call('UNLINK', due_key)
redis.call('ZADD', due_key, 'inf', '')
redis.call('UNLINK', bell_key)
ring(bell_key, 'made')
redis.pcall('XGROUP', 'DESTROY', log_key, group)
redis.call('XGROUP', 'CREATE', log_key, group, start, 'ENTRIESREAD', text(position))
return 'made'
