-- One step of SCAN, on the server that has all of a partition, or on none. SCAN itself is answered by any server of a
-- Cluster, with what it happens to have; the keys that are declared here make it refuse instead.
--
-- KEYS  head, a key of the slot that never exists: while the slot is on its way, a script with both gets TRYAGAIN
-- ARGV  cursor | pattern | keys looked at in one step
-- returns the next cursor ("0" at the end), the keys found
-- errors none of its own. A cursor means nothing to another server: after any refusal begin anew.
return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
