-- Removes from a partition's `:out` what has been taken by the partitions that it was for.
--
-- KEYS  out
-- ARGV  replid of the server process from which these entries were read | ids of entries, those for one partition in
--       their order and without a gap
-- returns replid of the server process; another one than was given: nothing was removed
-- errors READONLY
--
-- What is still there for a partition, and was taken, must include what it took last, or all of it would be sent again.
-- So nothing is removed by what was read before a failover: entries that had gone before may be back.

local CHUNK = 4000 -- words of one redis.call: `unpack` ends near 8,000

local out_key = KEYS[1]
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if replid == ARGV[1] then
  for first = 2, #ARGV, CHUNK do
    redis.call('XDEL', out_key, unpack(ARGV, first, math.min(first + CHUNK - 1, #ARGV)))
  end
end
return replid
