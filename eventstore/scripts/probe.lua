-- Makes every call that our scripts make, on a scratch key of the slot, so that a missing right is named before the
-- first real write.
--
-- KEYS  a scratch key
-- ARGV  none
-- returns the names of the commands that this user may not run
-- errors none
local scratch = KEYS[1]
local missing = {}

local function lacks_right(err)
  return string.find(err, "can't run this command", 1, true) -- Redis
    or string.find(err, 'ACL failure in script', 1, true) -- Valkey 9
    or string.find(err, 'NOPERM', 1, true)
end

local function try(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) == 'table' and reply.err and lacks_right(reply.err) then
    missing[#missing + 1] = string.lower(command)
  end
end

try('UNLINK', scratch)
try('EXISTS', scratch)
try('HSET', scratch, 'field', 'value')
try('HGET', scratch, 'field')
try('HMGET', scratch, 'field')
try('HGETALL', scratch)
try('HSCAN', scratch, '0')
try('UNLINK', scratch)
try('RPUSH', scratch, '0')
try('LLEN', scratch)
try('LINDEX', scratch, '0')
try('LRANGE', scratch, '0', '0')
try('UNLINK', scratch)
try('XGROUP', 'CREATE', scratch, 'g', '0', 'MKSTREAM')
try('XGROUP', 'DESTROY', scratch, 'g')
try('XADD', scratch, '1-1', 'field', 'value')
try('XRANGE', scratch, '-', '+')
try('XLEN', scratch)
try('XREVRANGE', scratch, '+', '-')
try('INFO', 'replication')
try('TIME')
redis.pcall('UNLINK', scratch)
return missing
