-- Prolongs a lease, to its full time from now on.
--
-- KEYS  head, control
-- ARGV  owner, term, epoch | lease in ms
-- returns "renewed", TIME in ms, paused
--       or "stale", why the lease is lost. Nothing is written.
-- errors READONLY of a replica

-- include lease.lua

local head_key, control_key = KEYS[1], KEYS[2]
local owner, term, epoch, lease_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local head, lease = look_at_lease(head_key, control_key)
local stale = why_stale(head, lease, replid_of(redis.call('INFO', 'replication')), owner, term, epoch)
if stale then return { 'stale', stale } end
local now_ms = math.floor(microseconds() / 1000)
written_first(control_key)
redis.call('HSET', control_key, 'until', text(now_ms + lease_ms))
return { 'renewed', now_ms, lease[10] }
