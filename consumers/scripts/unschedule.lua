-- Forgets an event that waits to be appended.
--
-- KEYS  dup:0, dup:1, timers, what
-- ARGV  id, text | id, 16 bytes | stream
-- returns "cancelled", due in ms; "fired": the log has it; "none": it neither waits nor is in the log, as far as its
--         duplicate window tells; "elsewhere": it waits for another stream
-- errors DAMAGED, READONLY. Nothing is written.

local dup_0, dup_1, timers_key, what_key = unpack(KEYS)
local id, event_id, stream = unpack(ARGV)

-- include timers.lua

-- To remove nothing is allowed when memory is full, and all that follows too.
redis.call('HDEL', what_key, ' ')
local due = redis.call('ZSCORE', timers_key, id)
if due then
  if parse_timer(what_key, id, redis.call('HGET', what_key, id)).stream ~= stream then return { 'elsewhere' } end
  redis.call('ZREM', timers_key, id)
  redis.call('HDEL', what_key, id)
  return { 'cancelled', tonumber(due) }
end
-- One field, or WAIT would cover nothing: it may have been cancelled by this very call, whose answer was lost.
if redis.call('HLEN', what_key) > 0 then redis.call('HSET', what_key, '', '') end
local known = redis.call('HEXISTS', dup_0, event_id) + redis.call('HEXISTS', dup_1, event_id)
return { known > 0 and 'fired' or 'none' }
