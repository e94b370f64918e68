-- A page of the timers of a partition, in order of their due times.
--
-- KEYS  timers, what
-- ARGV  due and id of the timer behind which the page begins, -inf and nothing for the first | most timers
--       | 1 for all that is kept of each, else 0
-- returns due in ms, id, and stream and type, or what is kept (nil if it is missing), of each; the page is the last if
--         it is not full
-- errors DAMAGED. Nothing is written.

local timers_key, what_key = unpack(KEYS)
local after, after_id, most, whole = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'

-- include timers.lua

-- Of those that are due at the same time the ids decide; the one behind which the page begins may be gone.
local page, offset = {}, 0
while #page < 2 * most do
  local found = redis.call('ZRANGE', timers_key, after, '+inf', 'BYSCORE', 'LIMIT', offset, most, 'WITHSCORES')
  for i = 1, #found, 2 do
    local id, due = found[i], found[i + 1]
    if due ~= 'inf' and #page < 2 * most and not (due == after and id <= after_id) then
      page[#page + 1], page[#page + 2] = due, id
    end
  end
  if #found < 2 * most then break end
  offset = offset + most
end

local ids, reply = {}, {}
for i = 2, #page, 2 do ids[#ids + 1] = page[i] end
local values = ids[1] and redis.call('HMGET', what_key, unpack(ids)) or {}
for i, id in ipairs(ids) do
  local at = #reply
  reply[at + 1], reply[at + 2] = tonumber(page[2 * i - 1]), id
  if whole then
    reply[at + 3], reply[at + 4] = values[i] and 1 or 0, values[i] or ''
  else
    local timer = parse_timer(what_key, id, values[i])
    reply[at + 3], reply[at + 4] = timer.stream, timer.type
  end
end
return reply
