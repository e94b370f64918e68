-- Gives a lease back. Nobody is woken: who waits for it asks again.
--
-- KEYS  head, control
-- ARGV  owner, term, epoch
-- returns 1; 0 if the lease is lost already, and nothing is written
-- errors READONLY of a replica

-- include lease.lua

local head_key, control_key = KEYS[1], KEYS[2]
local owner, term, epoch = ARGV[1], ARGV[2], ARGV[3]

local head, lease = look_at_lease(head_key, control_key)
if why_stale(head, lease, replid_of(redis.call('INFO', 'replication')), owner, term, epoch) then return 0 end
written_first(control_key)
redis.call('HSET', control_key, 'owner', '', 'until', '0')
return 1
