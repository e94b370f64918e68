-- Takes orders back, and tells of those that have been dealt with before. The holder of the lease is woken, for it may
-- know of the others, and would still carry them out.
--
-- KEYS  orders, bell
-- ARGV  ids of orders
-- returns what stood for each, nothing if it was not there
-- errors READONLY of a replica
local orders_key, bell_key = KEYS[1], KEYS[2]
local found = redis.call('HMGET', orders_key, unpack(ARGV))
local is_open = false
for _, order in ipairs(found) do
  is_open = is_open or (order and string.sub(order, 1, 1) ~= '=')
end
redis.call('HDEL', orders_key, unpack(ARGV))
-- not for a group that was deleted meanwhile: a bell would stay behind
if is_open and redis.call('EXISTS', bell_key) == 1 then
  redis.call('XADD', bell_key, 'MAXLEN', '1', '*', 'why', 'withdrawn')
end
return found
