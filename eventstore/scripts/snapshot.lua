-- Shared by the scripts that know snapshots: included, not called. It needs epoch.lua.
--
-- KEYS / ARGV  none of its own
-- returns      function: is_in_log
-- errors       none

-- Whether a state was folded from events that the log has: up to `version`, which is the entry <epoch>-<position>. It
-- is not after a failover to a server that has less, nor if another event was appended there since. An archived event
-- is no longer in the index; its epoch must do.
local function is_in_log(version, epoch, position, actual, base, index_key, epochs) -- luacheck: ignore
  if version < 1 or version > actual or epoch_at(epochs, position) ~= epoch then return false end
  return version <= base or tonumber(redis.call('LINDEX', index_key, version - base)) == position
end
