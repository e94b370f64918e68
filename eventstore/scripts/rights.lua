-- Shared by the scripts that try what a user may do: included, not called.
--
-- KEYS / ARGV  none of its own
-- returns      function: try; list: missing
-- errors       none

local missing = {}

local function lacks_right(err)
  return string.find(err, "can't run this command", 1, true) -- Redis
    or string.find(err, 'ACL failure in script', 1, true) -- Valkey 9
    or string.find(err, 'NOPERM', 1, true)
end

-- Whether the user may. Rights are looked at before what the call would do, so most need not do anything.
local function try(command, ...) -- luacheck: ignore
  local reply = redis.pcall(command, ...)
  local lacks = type(reply) == 'table' and reply.err and lacks_right(reply.err)
  if lacks then missing[#missing + 1] = string.lower(command) end
  return not lacks
end
