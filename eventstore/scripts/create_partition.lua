-- Makes the fixed keys of a partition, none of them empty: while a Cluster slot moves, a declared key that does not
-- exist makes a script fail.
--
-- KEYS  head, log, urgent, dup:0, dup:1, out, in
-- ARGV  none
-- returns 1 if made now, 0 if it was there, or has events without a head: numbered anew they would be there twice
-- errors none
local head_key, log_key, urgent_key, dup_0, dup_1, out_key, in_key = unpack(KEYS)
if redis.call('EXISTS', head_key) == 1 or redis.call('XLEN', log_key) > 0 then return 0 end
for _, stream in ipairs({ log_key, urgent_key, out_key }) do
  -- a stream without an entry: made by a group, which goes again
  redis.call('XGROUP', 'CREATE', stream, 'make', '0', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', stream, 'make')
end
for _, hash in ipairs({ dup_0, dup_1, in_key }) do
  redis.call('HSET', hash, '', '')
end
redis.call('HSET', head_key, 'replid', '', 'number', '0', 'noted', '0', 'epochs', '', 'pos', '0', 'last', '0',
  'bucket', '0', 'age', '0', 'at', '0', 'largest', '0')
return 1
