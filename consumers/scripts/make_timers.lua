-- Shared by the scripts that may come upon a partition without timers: included, not called.
--
-- KEYS / ARGV  none of its own
-- returns      function: make_timers
-- errors       none
--
-- The keys are never empty from then on: while a Cluster slot moves, a declared key that does not exist makes a script
-- fail. `timers` has an id '' that is never due.

local function make_timers(timers_key, what_key, bell_key) -- luacheck: ignore
  if not redis.call('ZSCORE', timers_key, '') then redis.call('ZADD', timers_key, 'inf', '') end
  if redis.call('HLEN', what_key) == 0 then redis.call('HSET', what_key, '', '') end
  if redis.call('XLEN', bell_key) == 0 then redis.call('XADD', bell_key, 'MAXLEN', '1', '*', 'why', 'made') end
end
