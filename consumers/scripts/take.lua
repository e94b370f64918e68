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

local FORMAT = 1
local FIRST, WORDS = 4, 5
local CHUNK = 4000 -- words of one redis.call: `unpack` ends near 8,000, and would end the script midway

local call = redis.call
local head_key, log_key, urgent_key, in_key, INDEXES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], 4
local source, expected, count = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- include eventstore/epoch.lua
-- include eventstore/head.lua

local FIELDS = { 'pos', 'last', 'number', 'noted', 'replid', 'largest', 'epochs' }
local head = call('HMGET', head_key, unpack(FIELDS))
for i = 1, 5 do
  if not head[i] then return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist, or is incomplete') end
end
must_be_numbers(head_key, { unpack(FIELDS, 1, 4) }, head)
must_be_numbers(head_key, { 'largest' }, { head[6] })

local taken = call('HGET', in_key, source) or '0-0'
if taken ~= expected or count == 0 then
  -- Without a write WAIT would cover nothing. To remove nothing is allowed when memory is full, and what follows too.
  call('HDEL', in_key, '-')
  call('HSET', in_key, '', '')
  return taken
end

-- ---- what could end the script midway ----

local now = microseconds()
local replid, number = current_epoch(head[5], head[3], now)
local position, last, noted = tonumber(head[1]), tonumber(head[2]), head[4]
local epochs = noted ~= number and parse_epochs(head[7])

local streams = {}
for i = INDEXES + 1, #KEYS do
  local length = call('LLEN', KEYS[i])
  local base = length == 0 and 0 or tonumber(call('LINDEX', KEYS[i], 0))
  streams[tostring(i)] = { key = KEYS[i], version = base + math.max(length - 1, 0),
    positions = length == 0 and { '0' } or {} }
end

local function is_urgent(letter)
  return letter == 'H' or letter == 'C'
end

for at = FIRST, FIRST + WORDS * (count - 1), WORDS do
  if not (streams[ARGV[at + 1]] and string.find(ARGV[at + 2], '^%d+$')) then
    return redis.error_reply('DAMAGED the entry ' .. ARGV[at] .. ' is no returned event')
  end
  if is_urgent(ARGV[at + 3]) then
    local newest = call('XREVRANGE', urgent_key, '+', '-', 'COUNT', 1)[1]
    local epoch, place = string.match(newest and newest[1] or '0-0', '^(%d+)-(%d+)$')
    epoch, place = tonumber(epoch), tonumber(place)
    if epoch > tonumber(number) or epoch == tonumber(number) and place > position then
      return redis.error_reply('DAMAGED the index of urgent events goes on to ' .. newest[1])
    end
    break
  end
end

-- ---- writing: the first id in full, so that a log that does not end where the head says refuses it ----

local largest = head[6] and tonumber(head[6]) -- nobody knows it where an older release has appended
local id = number .. '-' .. string.format('%.0f', position + 1)
local following, id_end = number .. '-*', #number + 2
for at = FIRST, FIRST + WORDS * (count - 1), WORDS do
  local stream, cause, letter, packed = streams[ARGV[at + 1]], ARGV[at + 2] + 0, ARGV[at + 3], ARGV[at + 4]
  last = math.max(now, last + 1, cause + 1)
  stream.version = stream.version + 1
  local value = struct.pack('>BI8I6', FORMAT, last, stream.version) .. packed
  id = call('XADD', log_key, id, 'e', value)
  if is_urgent(letter) then call('XADD', urgent_key, id, 'p', letter) end
  stream.positions[#stream.positions + 1] = string.sub(id, id_end)
  if largest and #value > largest then largest = #value end
  id = following
end
for _, stream in pairs(streams) do
  local positions = stream.positions
  for first = 1, #positions, CHUNK do
    call('RPUSH', stream.key, unpack(positions, first, math.min(first + CHUNK - 1, #positions)))
  end
end

local fields = { 'pos', string.format('%.0f', position + count), 'last', string.format('%.0f', last), 'replid', replid,
  'number', number }
local function set(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
if largest then set('largest', string.format('%.0f', largest)) end
if epochs then
  epochs[#epochs + 1] = { number, position + 1 }
  set('noted', number)
  set('epochs', format_epochs(epochs))
end
call('HSET', head_key, unpack(fields))
taken = ARGV[FIRST + WORDS * (count - 1)]
call('HSET', in_key, source, taken)
return taken
