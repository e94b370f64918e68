-- Takes orders back, and tells of those that have been dealt with before.
--
-- KEYS  orders
-- ARGV  ids of orders
-- returns what stood for each, nothing if it was not there
-- errors READONLY of a replica
local found = redis.call('HMGET', KEYS[1], unpack(ARGV))
redis.call('HDEL', KEYS[1], unpack(ARGV))
return found
