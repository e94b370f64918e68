-- Takes events that handlers returned into their streams: what waits for this partition in another one's `:out`, all of
-- a call or nothing, and only if it follows what was taken from there last.
--
-- KEYS  head, log, urgent, in, then one index key for each stream of the call
-- ARGV  partition that they come from | id of the entry that was taken last from there, as the caller believes
--       | number of events, 0 to ask | for each event: id of its entry in that `:out`, place of its index key in KEYS,
--       recorded_at of its cause, letter . N H or C, packed event
-- returns id of the entry that was taken last from that partition (0-0: none): of the last of these, if they were taken
-- errors NOPARTITION: the partition was never made; DAMAGED; OOM, not for a question; READONLY. Nothing is written.
--
-- By equality, and never "above what was taken last": this partition may have gone back by a failover, and what lies
-- between would be lost. So it takes no lease and no clock, and neither late nor doubled calls do harm (PROTOCOLS.md
-- section 5). What the commit let pass is not refused: one event would hold up all that follow. An append of ANY each,
-- without a look at ids, for here the ids of the entries tell what is a repeat.

local FIRST, WORDS = 4, 5

local in_key, INDEXES = KEYS[4], 4
local source, expected, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local LAST = FIRST + WORDS * (count - 1)

-- include appending.lua

local head = read_head(KEYS[1])
local taken = redis.call('HGET', in_key, source) or '0-0'
if taken ~= expected or count == 0 then
  -- Without a write WAIT would cover nothing. To remove nothing is allowed when memory is full, and what follows too.
  redis.call('HDEL', in_key, '-')
  redis.call('HSET', in_key, '', '')
  return taken
end

local has_urgent = false
for at = FIRST, LAST, WORDS do
  local place = tonumber(ARGV[at + 1])
  if not (place and place > INDEXES and KEYS[place] and string.find(ARGV[at + 2], '^%d+$')) then
    return redis.error_reply('DAMAGED the entry ' .. ARGV[at] .. ' is no returned event')
  end
  has_urgent = has_urgent or is_urgent(ARGV[at + 3])
end

local log = begin_append(KEYS, INDEXES + 1, head, has_urgent)
for at = FIRST, LAST, WORDS do
  append_event(log, tonumber(ARGV[at + 1]), ARGV[at + 2] + 0, ARGV[at + 3], ARGV[at + 4])
end
end_append(log)
redis.call('HSET', in_key, source, ARGV[LAST])
return ARGV[LAST]
