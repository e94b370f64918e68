-- Keeps an event until it is due. Repeated under the same id it changes nothing.
--
-- KEYS  head, log, dup:0, dup:1, timers, what, bell
-- ARGV  id, text | when, in ms since 1970; or behind a `+` in ms from now | recorded_at of its cause, or 0
--       | letter of its priority . N H or C | packed event
-- returns "made", due in ms; "there", due in ms: it waits already; "fired": the log has it
--       or "conflict", why, stream, version and position (0, 0 if it waits): the id is another event's
-- errors NOPARTITION, DAMAGED, OOM unless it waits already, READONLY. Nothing is written.
--
-- The bell rings if it is the first to be due: whoever sleeps until then must wake up before.

local head_key, log_key, dup_0, dup_1, timers_key, what_key, bell_key = unpack(KEYS)
local id, when, cause, letter, packed = unpack(ARGV)

-- include eventstore/epoch.lua
-- include timers.lua
-- include make_timers.lua

local head = redis.call('HMGET', head_key, 'pos', 'epochs')
if not head[1] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end

local value = struct.pack('>BI8', 1, cause) .. letter .. packed
local asked = parse_timer(what_key, id, value)
local event_id = string.sub(packed, 1, 16)

-- Id, length and content are one run of bytes.
local function is_same(other)
  local length = asked.content_ends
  return other.stream == asked.stream and string.sub(other.packed, 1, length) == string.sub(packed, 1, length)
end

-- ---- known already ----

local waits = redis.call('ZSCORE', timers_key, id)
if waits then
  local kept = parse_timer(what_key, id, redis.call('HGET', what_key, id))
  -- One field, or WAIT would cover nothing. To remove nothing is allowed when memory is full, and what follows too.
  redis.call('HDEL', what_key, ' ')
  redis.call('HSET', what_key, '', '')
  if is_same(kept) then return { 'there', tonumber(waits) } end
  return { 'conflict', 'waits to be appended', kept.stream, 0, 0 }
end

local position = redis.call('HGET', dup_0, event_id) or redis.call('HGET', dup_1, event_id)
if position then
  redis.call('HSET', what_key, '', '')
  local epoch = epoch_at(parse_epochs(head[2]), tonumber(position))
  local entry = epoch and redis.call('XRANGE', log_key, epoch .. '-' .. position, epoch .. '-' .. position)[1]
  local stored = entry and entry[2][2]
  if not stored then return { 'fired' } end -- archived: nobody compares it
  local found = parse_timer(log_key, id, struct.pack('>BI8', 1, 0) .. 'N' .. string.sub(stored, 16))
  if is_same(found) then return { 'fired' } end
  return { 'conflict', 'is in the log', found.stream, (struct.unpack('>I6', stored, 10)), tonumber(position) }
end

-- ---- a new one ----

local due = tonumber(when)
if string.sub(when, 1, 1) == '+' then due = due + math.ceil(microseconds() / 1000) end
redis.call('XLEN', bell_key) -- which would end the script midway, were it of another type
redis.call('HLEN', what_key)
make_timers(timers_key, what_key, bell_key)
local first = redis.call('ZRANGE', timers_key, 0, 0, 'WITHSCORES')[2]
redis.call('ZADD', timers_key, string.format('%.0f', due), id)
redis.call('HSET', what_key, id, value)
if first == 'inf' or due < tonumber(first) then redis.call('XADD', bell_key, 'MAXLEN', '1', '*', 'why', 'earlier') end
return { 'made', due }
