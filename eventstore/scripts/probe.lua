-- Makes every call that our scripts make, on a scratch key of the slot, so that a missing right is named before the
-- first real write.
--
-- KEYS  a scratch key
-- ARGV  none
-- returns the names of the commands that this user may not run
-- errors none
local scratch = KEYS[1]

-- include rights.lua

local may_remove = try('UNLINK', scratch)
local writes = { try('HSET', scratch, 'field', 'value', 'a field without a value'),
  try('XADD', scratch, 'NOMKSTREAM', '1-1', 'field', 'value'),
  try('XGROUP', 'CREATE', scratch, 'g', '0') and try('XGROUP', 'DESTROY', scratch, 'g') }
if may_remove then
  try('RPUSH', scratch, '0') -- which writes in any case
  redis.pcall('UNLINK', scratch)
elseif not (writes[1] or writes[2] or writes[3]) then
  missing[#missing + 1] = 'rpush' -- would leave the key behind; whoever may do nothing else will not do this
end
try('EXISTS', scratch)
try('HGET', scratch, 'field')
try('HMGET', scratch, 'field')
try('HSCAN', scratch, '0')
try('LLEN', scratch)
try('LINDEX', scratch, '0')
try('LRANGE', scratch, '0', '0')
try('XRANGE', scratch, '-', '+')
try('XLEN', scratch)
try('XREVRANGE', scratch, '+', '-')
try('SCAN', '0', 'COUNT', '1')
try('INFO', 'replication')
try('TIME')
return missing
