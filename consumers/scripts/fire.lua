-- Fires timers of a partition: appends each that is due to its stream, and forgets it. Whoever tells of the same ones
-- once more finds them gone, so this takes no lease; and as what is appended and what waits lie in one slot, a failover
-- takes both back or neither.
--
-- KEYS  head, log, urgent, dup:0, dup:1, timers, what, then one index key for each stream of the call
-- ARGV  duplicate window in microseconds | four as for due.lua: most timers, bytes of events, ms ahead, the time
--       | number of timers | of each its id and the place of its stream's index key in KEYS
-- returns as due.lua, of those that wait now; then the number of those that were appended
-- errors NOPARTITION, DAMAGED, OOM, READONLY. Nothing is written.
--
-- In order of their due times, whatever the order of the call, which may name some that are not due: at a timer that is
-- due and that the call does not name, or of which it names another stream, it ends. An id that the log has is not
-- appended again: an append has used it.

local head_key, dup_0, dup_1, timers_key, what_key, INDEXES = KEYS[1], KEYS[4], KEYS[5], KEYS[6], KEYS[7], 7
local window, most, most_bytes, ahead_ms = ARGV[1] + 0, ARGV[2] + 0, ARGV[3] + 0, ARGV[4] + 0

-- include appending.lua
-- include eventstore/notes.lua
-- include timers.lua

local now_ms = tonumber(ARGV[5]) or math.floor(microseconds() / 1000)
local places = {}
for at = 7, 5 + 2 * ARGV[6], 2 do places[ARGV[at]] = tonumber(ARGV[at + 1]) end

-- ---- what is due, and named ----

local index = string.sub(head_key, 1, -5) .. 'i:' -- the stem, and `head`
local due, ids, event_ids, has_urgent = {}, {}, {}, false
for _, each in ipairs((due_timers(timers_key, what_key, now_ms, most, most_bytes))) do
  local place = places[each.id]
  if not place or KEYS[place] ~= index .. each.timer.stream then break end
  due[#due + 1], ids[#ids + 1], each.place = each, each.id, place
  event_ids[#event_ids + 1] = string.sub(each.timer.packed, 1, 16)
  has_urgent = has_urgent or is_urgent(each.timer.letter)
end
if not due[1] then
  return due_page(timers_key, what_key, now_ms, ahead_ms, most, most_bytes, 0)
end

-- ---- all that may be refused ----

local BUCKET = { 'bucket', 'age', 'at' }
local head, bucket = read_head(head_key), redis.call('HMGET', head_key, unpack(BUCKET))
if not (bucket[1] == '0' or bucket[1] == '1') or not (bucket[2] and bucket[3]) then
  return redis.error_reply('DAMAGED ' .. head_key .. ': what it says of the duplicate window is unreadable')
end
must_be_numbers(head_key, BUCKET, bucket)
local known_0, known_1 = redis.call('HMGET', dup_0, unpack(event_ids)), redis.call('HMGET', dup_1, unpack(event_ids))
local log = begin_append(KEYS, INDEXES + 1, head, has_urgent)

-- ---- writing ----

local notes = {}
for i, each in ipairs(due) do
  if not known_0[i] and not known_1[i] then
    notes[#notes + 1] = event_ids[i]
    notes[#notes + 1] = append_event(log, each.place, each.timer.cause, each.timer.letter, each.timer.packed)
  end
end
if notes[1] then
  local in_use, age = bucket_to_note_in({ dup_0, dup_1 }, window, log.now, unpack(bucket))
  redis.call('HSET', in_use == '0' and dup_0 or dup_1, unpack(notes))
  end_append(log, 'bucket', in_use, 'age', string.format('%.0f', age), 'at', string.format('%.0f', log.now))
end
redis.call('ZREM', timers_key, unpack(ids))
redis.call('HDEL', what_key, unpack(ids))
return due_page(timers_key, what_key, now_ms, ahead_ms, most, most_bytes, #notes / 2)
