-- A promise for the merged order: nothing that is appended to this partition from now on is recorded at or before a
-- time. It holds for a reader once that has read up to the entry returned, and it must be as durable as an append: WAIT
-- or WAITAOF follow on the same connection.
--
-- KEYS  head
-- ARGV  time in microseconds
-- returns epoch and position of the last entry (0, 0 if there is none), the time promised (at least the one asked for;
--       what `last` was already is promised as well)
-- errors NOPARTITION: the partition was never made; DAMAGED. Nothing is written.
--
-- Like every script that numbers, it fixes a new epoch when it meets another server process (PROTOCOLS.md section 6).

-- include epoch.lua
-- include head.lua

local head_key = KEYS[1]
local time = tonumber(ARGV[1])

local head = redis.call('HMGET', head_key, 'replid', 'number', 'pos', 'last', 'noted')
if not head[3] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
must_be_numbers(head_key, { 'number', 'pos', 'last', 'noted' }, { head[2], head[3], head[4], head[5] })
local replid, number = current_epoch(head[1], head[2], microseconds())
local last = math.max(tonumber(head[4]), time)
-- also when nothing changes: without a write WAIT would cover nothing
redis.call('HSET', head_key, 'replid', replid, 'number', number, 'last', string.format('%.0f', last))
return { head[5], tonumber(head[3]), last }
