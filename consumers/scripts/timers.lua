-- Shared by the scripts of timers: included, not called.
--
-- KEYS / ARGV  none of its own
-- returns      functions: parse_timer, due_timers, due_page
-- errors       DAMAGED: what is kept of a timer is none. Nothing is written.
--
-- A timer is an event that is appended at its time. `timers` has its id, text, with the time in ms; `what` has
--
--     u8  format (1), u64 recorded_at of its cause, or 0, letter of its priority . N H or C, packed event
--
-- Stream and type are read from the event itself: 16 bytes of id, a u32 length of content, content (u16 schema
-- version, u8 length of type, type, data), a u16 length of stream, stream.

local TIMER_FORMAT, TIMER_HEADER = 1, 10

-- {cause, letter, packed event, stream, type}
local function parse_timer(what_key, id, value) -- luacheck: ignore
  local sound, format, cause, letter, length, type_length, stream_length
  if value then
    sound, format, cause, letter = pcall(struct.unpack, '>BI8c1', value)
    sound = sound and format == TIMER_FORMAT and string.find(letter, '^[.NHC]$')
  end
  local packed = sound and string.sub(value, TIMER_HEADER + 1)
  if sound then sound, length, type_length = pcall(struct.unpack, '>I4xxB', packed, 17) end
  if sound then sound, stream_length = pcall(struct.unpack, '>I2', packed, 21 + length) end
  if not sound or #packed < 22 + length + stream_length or type_length + 3 > length then
    error(redis.error_reply('DAMAGED ' .. what_key .. ': what is kept of the timer ' .. id .. ' is none'))
  end
  local stream = string.sub(packed, 23 + length, 22 + length + stream_length)
  return { cause = cause, letter = letter, packed = packed, stream = stream,
    type = string.sub(packed, 24, 23 + type_length), content_ends = 20 + length }
end

local function earliest(timers_key, from, to, most)
  return redis.call('ZRANGE', timers_key, from, to, 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
end

-- Those that are due at a time, in order, each {id, due, what parse_timer says}: `most` at most, and not much more than
-- so many bytes. And when the next one is, in ms, -1 if there is none.
local function due_timers(timers_key, what_key, at_ms, most, most_bytes) -- luacheck: ignore
  local found = earliest(timers_key, '-inf', at_ms, most)
  local ids = {}
  for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
  local values = ids[1] and redis.call('HMGET', what_key, unpack(ids))
  local page, bytes = {}, 0
  for i, id in ipairs(ids) do
    if bytes >= most_bytes then return page, tonumber(found[2 * i]) end
    page[i] = { id = id, due = tonumber(found[2 * i]), timer = parse_timer(what_key, id, values[i]) }
    bytes = bytes + #values[i]
  end
  if #page == most then return page, page[most].due end
  local following = earliest(timers_key, string.format('(%.0f', at_ms), '+inf', 1)[2]
  return page, following and following ~= 'inf' and tonumber(following) or -1
end

-- The answer of due.lua at a time, with what is due up to so many ms later; `...` come behind it.
local function due_page(timers_key, what_key, now_ms, ahead_ms, most, most_bytes, ...) -- luacheck: ignore
  local page, following = due_timers(timers_key, what_key, now_ms + ahead_ms, most, most_bytes)
  local told = {}
  for i, each in ipairs(page) do
    told[3 * i - 2], told[3 * i - 1], told[3 * i] = each.id, each.timer.stream, each.due
  end
  return { now_ms, following, told, ... }
end
