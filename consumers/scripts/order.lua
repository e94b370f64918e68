-- Gives the holder of the lease an order about one version of a stream, and wakes it.
--
-- KEYS  head, control, detached, orders, bell
-- ARGV  id of the order | order: kind, version, stream | the stream | most orders that may be there
-- returns "given", packed row of the stream at this moment (nothing: it has none), TIME in ms,
--         owner and end of the lease (nothing: whoever wants may take it)
--       or "missing": there is no such group
--       or "full", how many orders are there
-- errors NOPARTITION: the partition was never made; DAMAGED; READONLY of a replica. Nothing is written.
--
-- An order that was given before, or has its outcome, stays as it is. One about a version that another open order names
-- comes too late, and has that for its outcome at once: of two that are given at once, one is carried out. Of outcomes
-- that nobody fetched in an hour nothing is left.

-- include lease.lua

local head_key, control_key, detached_key, orders_key, bell_key = unpack(KEYS)
local id, order, stream, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local HOUR = 3600 * 1000

local head, lease = look_at_lease(head_key, control_key)
if not head[3] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
if not lease[1] then return { 'missing' } end
local damaged = what_is_no_number(lease)
if damaged then return redis.error_reply('DAMAGED ' .. control_key .. ': ' .. damaged .. ' is no number') end
local now_ms = math.floor(microseconds() / 1000)
local replid = replid_of(redis.call('INFO', 'replication'))
local row = redis.call('HGET', detached_key, stream)
redis.call('XLEN', bell_key) -- of another type it would end the script midway

local orders, forgotten = redis.call('HGETALL', orders_key), 0
local about, rival = string.match(order, '^%a+ (.*)$'), false
for i = 1, #orders, 2 do
  local at = string.match(orders[i + 1], '^=%a+ (%d+)$')
  rival = rival or (orders[i] ~= id and string.match(orders[i + 1], '^%a+ (.*)$') == about)
  if at and tonumber(at) < now_ms - HOUR and orders[i] ~= id then
    redis.call('HDEL', orders_key, orders[i])
    forgotten = forgotten + 1
  end
end
local there = #orders / 2 - 1 - forgotten
if there >= most and redis.call('HEXISTS', orders_key, id) == 0 then return { 'full', there } end

written_first(control_key)
redis.call('HSETNX', orders_key, id, rival and '=late ' .. text(now_ms) or order)
ring(bell_key, 'order')
local owner, ends = lease[1], tonumber(lease[5])
if owner == '' or ends < now_ms or lease[3] ~= head[2] or lease[4] ~= head[1] or lease[4] ~= replid then
  owner, ends = false, false
end
return { 'given', row, now_ms, owner, ends }
