-- Makes every call that the scripts of groups make and those of the log do not, on a scratch key of the slot, so that a
-- missing right is named before the first real write: a script that met it would stop midway.
--
-- KEYS  a scratch key
-- ARGV  none
-- returns the names of the commands that this user may not run
-- errors none
local scratch = KEYS[1]

-- include eventstore/rights.lua

if try('UNLINK', scratch) then -- or the key would be left behind; whoever may not remove it is told just that
  try('HSETNX', scratch, 'field', 'value') -- most of what follows is refused, for the key is a hash now
  try('HDEL', scratch, 'another')
  try('HEXISTS', scratch, 'field')
  try('HGETALL', scratch)
  try('HINCRBY', scratch, 'field', '1')
  try('HLEN', scratch)
  try('TYPE', scratch)
  try('SADD', scratch, 'member')
  try('SREM', scratch, 'member')
  try('ZADD', scratch, '1', 'member')
  try('ZCARD', scratch)
  try('ZINCRBY', scratch, '1', 'member')
  try('ZRANGE', scratch, '0', '0')
  try('ZREM', scratch, 'member')
  try('ZSCORE', scratch, 'member')
  try('GETRANGE', scratch, '0', '0')
  try('INCRBY', scratch, '1')
  try('XACK', scratch, 'group', '1-1')
  try('XCLAIM', scratch, 'group', 'consumer', '0', '1-1', 'JUSTID')
  try('XDEL', scratch, '1-1')
  try('XGROUP', 'SETID', scratch, 'group', '1-1')
  try('XINFO', 'STREAM', scratch)
  try('SET', scratch, 'value')
  redis.pcall('UNLINK', scratch)
end
return missing
