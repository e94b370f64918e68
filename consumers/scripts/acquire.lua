-- Takes the lease of a group in one partition, and tells its new holder all that is stored.
--
-- KEYS  head, log, control, detached, due, orders, errors, bell
-- ARGV  name of the group | who takes it | lease in ms | 1 to take it from whoever has it, else 0 | a term to be above
-- returns "taken", term, epoch, offset, fin, mute, paused, TIME in ms, head position, epochs,
--         bytes of the largest event (nothing if not known), id of the bell's last entry,
--         1 if the Redis group is missing, {stream, row, ...}, {order id, order, ...}, what the last replay wants,
--         how many holders in a row have let their time pass instead of giving the lease back
--       or "held", owner, end of the lease, TIME, all in ms
--       or "missing", what
-- errors NOPARTITION: the partition was never made; DAMAGED; READONLY of a replica. Nothing is written.
--
-- PROTOCOLS: section 1, epochs in section 6. Whoever meets another server process fixes its epoch first, then asks.

-- include lease.lua

local head_key, log_key, control_key, detached_key, due_key, orders_key, errors_key, bell_key = unpack(KEYS)
local group, member, lease_ms, by_force = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'

local head, lease = look_at_lease(head_key, control_key)
if not head[3] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
if not lease[1] then return { 'missing', 'group' } end
local damaged = what_is_no_number(lease)
if damaged then return redis.error_reply('DAMAGED ' .. control_key .. ': ' .. damaged .. ' is no number') end
for _, key in ipairs({ detached_key, due_key, orders_key, errors_key, bell_key }) do
  if redis.call('EXISTS', key) == 0 then return { 'missing', key } end
end

local now = microseconds()
local now_ms = math.floor(now / 1000)
local replid, number, info = current_epoch(head[1], head[2], now)
if is_replica(info) then
  return redis.error_reply('READONLY only a primary knows who has the lease')
end

local free = is_free(lease, number, replid, now_ms, lease_ms) or lease[1] == member
if free or by_force or replid ~= head[1] then written_first(control_key) end
if replid ~= head[1] then redis.call('HSET', head_key, 'replid', replid, 'number', number) end
if not free and not by_force then return { 'held', lease[1], tonumber(lease[5]), now_ms } end

local lapsed = lease[1] == '' and 0 or tonumber(redis.call('HGET', control_key, 'lapsed') or 0)
if lease[1] ~= '' and lease[1] ~= member and tonumber(lease[5]) < now_ms and lease[3] == number then
  lapsed = lapsed + 1
end
local term = text(math.max(tonumber(lease[2]) + 1, now_ms, tonumber(ARGV[5]) + 1))
redis.call('HSET', control_key, 'owner', member, 'term', term, 'until', text(now_ms + lease_ms), 'number', '0',
  'epoch', number, 'replid', replid, 'lapsed', text(lapsed))
if not free then ring(bell_key, 'taken') end

local offset = lease[7]
local _, position = place_of(offset)
local mirrored = redis.pcall('XGROUP', 'SETID', log_key, group, offset, 'ENTRIESREAD', text(position))
local rung = redis.call('XREVRANGE', bell_key, '+', '-', 'COUNT', 1)[1]
return {
  'taken', term, number, offset, lease[8], lease[9], lease[10], now_ms, tonumber(head[3]), head[4], head[5],
  rung and rung[1] or '0-0', mirrored.err and 1 or 0,
  redis.call('HGETALL', detached_key), redis.call('HGETALL', orders_key),
  redis.call('HGET', control_key, 'replay') or '', lapsed,
}
