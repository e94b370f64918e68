-- Appends to streams of one partition: each append of the call is checked in full, then written, then the next.
--
-- KEYS  head, log, urgent, dup:0, dup:1, then one index key for each stream of the call
-- ARGV  duplicate window in microseconds, number of parts; then for each part: what an append does to one stream
--       place of its index key in KEYS | any, exists or the expected version
--       | flags: 1 the ids are the caller's, 2 the next part is of the same append
--       | recorded_at of the newest cause or 0 | a letter per event: . N H C, or nothing if none is urgent (H, C)
--       | number of events, 0 for a mere check | the packed events
-- returns for each append a list that begins with its verdict:
--       "ok", then for each part with events: version, position, recorded_at, epoch (also if written before)
--       "version", then for each check that failed: part, actual
--       "id", part, event in it, why, stream, version, position of the event that has the id
--       "drift", TIME of the server
--       "damaged", why it cannot be appended: a key is of another type, an entry is missing
--       Parts and events are counted from 0.
-- errors NOPARTITION: the partition was never made, or its head lacks something; DAMAGED; READONLY. Nothing is written.
--
-- PROTOCOLS: order of checks in section 0, epochs in section 6.

local HEADER = 15            -- bytes before the id in a stored value: u8 format, u64 recorded_at, u48 version
local FORMAT = 1
local HOUR = 3600 * 1000000
local CHUNK = 4000           -- words of one redis.call: `unpack` ends near 8,000, and would end the script midway

local call = redis.call
local head_key, log_key, urgent_key, dup_keys = KEYS[1], KEYS[2], KEYS[3], { KEYS[4], KEYS[5] }
local window, count = tonumber(ARGV[1]), tonumber(ARGV[2])

-- include epoch.lua
-- include head.lua

-- One command with any number of words behind its key; `each` gets the replies, and where their words began.
local function in_chunks(command, key, words, each)
  for first = 1, #words, CHUNK do
    local reply = call(command, key, unpack(words, first, math.min(first + CHUNK - 1, #words)))
    if each then each(reply, first) end
  end
end

local FIELDS = { 'replid', 'number', 'noted', 'pos', 'last', 'bucket', 'age', 'at', 'largest' }
local head = call('HMGET', head_key, unpack(FIELDS))
if not head[4] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
-- A field that is not there would end the script midway, with events that the head does not count.
for i = 1, 8 do
  if not head[i] then return redis.error_reply('NOPARTITION ' .. head_key .. ' is incomplete') end
end
local noted, position, last = head[3], tonumber(head[4]), tonumber(head[5])

-- Nor may one hold something else. By a pattern each costs 0.2 us, so those that are numbers by now are looked at so.
local function is_whole(n) return n and n >= 0 and n % 1 == 0 end
local function is_damaged()
  must_be_numbers(head_key, { unpack(FIELDS, 2, 8) }, { unpack(head, 2, 8) })
  return redis.error_reply('DAMAGED ' .. head_key .. ': bucket is neither 0 nor 1')
end
if not (is_whole(position) and is_whole(last) and string.find(head[2], '^%d+$')
    and (noted == head[2] or string.find(noted, '^%d+$')) and (head[6] == '0' or head[6] == '1')) then
  return is_damaged()
end

local now = microseconds()
local replid, number, info = current_epoch(head[1], head[2], now)
-- Where an older release has appended, nobody knows it: it stays unknown.
local largest_before = head[9] and tonumber(head[9]) or math.huge
local largest = largest_before

-- ---- the appends of this call, each a list of its parts ----

local appends, ids = {}, {}
do
  local at, append = 3, nil
  for _ = 1, count do
    local flags, expected, n, first = ARGV[at + 2], ARGV[at + 1], tonumber(ARGV[at + 5]), at + 6
    local exact = tonumber(expected)
    local looked_up = (flags == '1' or flags == '3') and n or (exact and 0 or math.min(n, 1))
    for j = first, first + looked_up - 1 do
      ids[#ids + 1] = string.sub(ARGV[j], 1, 16)
    end
    local part = {
      key = KEYS[tonumber(ARGV[at])], expected = expected, exact = exact, looked_up = looked_up,
      cause = tonumber(ARGV[at + 3]), letters = ARGV[at + 4], n = n, first = first,
      length = 0, base = 0, actual = 0,  -- known when it is checked; here so that the table does not grow
    }
    at = first + n
    if append then
      append[#append + 1] = part
    else
      append = { part }
      appends[#appends + 1] = append
    end
    if flags == '0' or flags == '1' then append = nil end
  end
end

-- How old the bucket in use is, and when ids were noted last.
local age, noted_at
if #ids > 0 then
  age, noted_at = tonumber(head[7]), tonumber(head[8])
  if not (is_whole(age) and is_whole(noted_at)) then return is_damaged() end
end

-- ---- what is known: ids of both buckets, later also those that this call writes ----

local known = {}
for _, bucket in ipairs(dup_keys) do
  in_chunks('HMGET', bucket, ids, function(found, first)
    for i, at in ipairs(found) do
      if at then known[ids[first + i - 1]] = tonumber(at) end
    end
  end)
end

local epochs
local function epoch_of(at)
  epochs = epochs or parse_epochs(call('HGET', head_key, 'epochs'))
  return epoch_at(epochs, at) or error('no epoch is noted for position ' .. string.format('%.0f', at), 0)
end

local function stored_at(at)
  local id = epoch_of(at) .. '-' .. string.format('%.0f', at)
  local entry = call('XRANGE', log_key, id, id)[1]
  return entry and entry[2][2] or error('entry ' .. id .. ' is missing', 0)
end

-- id, length and content are one run of bytes, equal in what is stored and what is sent
local function same(stored, sent)
  local length = 20 + struct.unpack('>I4', sent, 17)
  return string.sub(stored, HEADER + 1, HEADER + length) == string.sub(sent, 1, length)
end

local function same_id(stored, sent)
  return string.sub(stored, HEADER + 1, HEADER + 16) == string.sub(sent, 1, 16)
end

local function stream_of(stored)
  local content = struct.unpack('>I4', stored, HEADER + 17)
  local at = HEADER + 21 + content
  return string.sub(stored, at + 2, at + 1 + struct.unpack('>I2', stored, at))
end

local function version_of(stored)
  return (struct.unpack('>I6', stored, 10))
end

-- Why event `place` of a part cannot be written: the one that is stored at `at` has its id.
local function conflict(place, why, at)
  local stored = stored_at(at)
  return { conflict = true, place, why, stream_of(stored), version_of(stored), at }
end

-- ---- what was written before ----

-- Of a version above the base: LINDEX takes what is not above 0 for a place counted from the end.
local function position_of(part, version)
  return tonumber(call('LINDEX', part.key, version - part.base))
end

-- The part's events against versions w, w + 1, ...: the receipt of the last, as if this call had written them.
local function compare_at(part, w)
  local first_at, at, stored = position_of(part, w), nil, nil
  for j = 0, part.n - 1 do
    local sent = ARGV[part.first + j]
    if w + j > part.actual then
      return conflict(0, 'follows', first_at)
    end
    at = position_of(part, w + j)
    stored = stored_at(at)
    if not same(stored, sent) then
      if same_id(stored, sent) then return conflict(j, 'content', at) end
      return conflict(0, 'follows', first_at)
    end
  end
  return { w + part.n - 1, at, (struct.unpack('>I8', stored, 2)), epoch_of(at) }
end

-- The receipt of what was written before, or the conflict; nil if nothing was. What is archived is not compared.
local function repeated(part)
  local first, after = ARGV[part.first], part.exact and part.exact + 1
  if after and part.actual >= after and after > part.base then
    if same_id(stored_at(position_of(part, after)), first) then
      return compare_at(part, after)
    end
  end
  for j = 0, part.looked_up - 1 do
    local at = known[string.sub(ARGV[part.first + j], 1, 16)]
    if at then
      if j > 0 then return conflict(j, 'elsewhere', at) end
      local stored = stored_at(at)
      local index_key = string.match(part.key, '^.-}:i:(.*)$')
      if stream_of(stored) ~= index_key then return conflict(0, 'elsewhere', at) end
      return compare_at(part, version_of(stored))
    end
  end
end

-- The verdict if any part was written before. An append is all its parts or none, so a part alone is another's.
local function repeated_in_all(append)
  local answer, before, first_at, fresh
  for i, part in ipairs(append) do
    local found = part.n > 0 and repeated(part)
    if found then
      if found.conflict then return { 'id', i - 1, unpack(found) } end
      answer, before = answer or { 'ok' }, before or i
      first_at = first_at or position_of(part, found[1] - part.n + 1)
      for _, fact in ipairs(found) do answer[#answer + 1] = fact end
    elseif part.n > 0 then
      fresh = true
    end
  end
  if not before then return nil end
  if fresh then return { 'id', before - 1, unpack(conflict(0, 'apart', first_at)) } end
  return answer
end

-- ---- what is refused ----

local function refused(append)
  local failed
  for i, part in ipairs(append) do
    if part.exact and part.actual ~= part.exact or part.expected == 'exists' and part.actual == 0 then
      failed = failed or { 'version' }
      failed[#failed + 1] = i - 1
      failed[#failed + 1] = part.actual
    end
  end
  if failed then return failed end
  local cause = append[1].cause
  if cause > last and cause > now + HOUR then return { 'drift', now } end
end

-- What the index of urgent events would not take must be known before the log has it.
local function check_urgent(append)
  local urgent = false
  for _, part in ipairs(append) do
    urgent = urgent or part.letters ~= ''
  end
  if not urgent then return end
  local newest = call('XREVRANGE', urgent_key, '+', '-', 'COUNT', 1)[1]
  if not newest then return end
  local epoch, at = string.match(newest[1], '^(%d+)-(%d+)$')
  epoch, at = tonumber(epoch), tonumber(at)
  if epoch > tonumber(number) or epoch == tonumber(number) and at > position then
    error('the index of urgent events goes on to ' .. newest[1], 0)
  end
end

-- ---- writing ----

local wrote, began, following_id, noted_ids = false, false, nil, {}

-- The first of a call in full. A log that somebody else has shortened or lengthened would number otherwise than the
-- head: its entry either lands where the receipt says, or is refused before anything is written. And as the first of
-- an epoch `<epoch>-*` would begin at 0.
local function entry_id()
  if following_id then return following_id end
  following_id = number .. '-*'
  if noted ~= number then
    epochs = epochs or parse_epochs(call('HGET', head_key, 'epochs'))
    epochs[#epochs + 1] = { number, position + 1 }
    noted, began = number, true
  end
  return number .. '-' .. string.format('%.0f', position + 1)
end

-- Positions are cut out of the ids that XADD returns: Lua's numbers would be made text again for each.
local function write_part(part)
  local first, version, letters, looked_up = part.first, part.actual, part.letters, part.looked_up
  local front, id_end = struct.pack('>BI8', FORMAT, last), #number + 2
  local positions = part.length == 0 and { '0' } or {}
  local before, next_id = #positions, entry_id()
  for j = 1, part.n do
    local sent = ARGV[first + j - 1]
    local value = front .. struct.pack('>I6', version + j) .. sent
    local id = call('XADD', log_key, next_id, 'e', value)
    if #value > largest then largest = #value end
    local at = string.sub(id, id_end)
    next_id = following_id
    positions[before + j] = at
    if letters ~= '' then
      local letter = string.sub(letters, j, j)
      if letter == 'H' or letter == 'C' then call('XADD', urgent_key, id, 'p', letter) end
    end
    if j <= looked_up then
      local event_id = string.sub(sent, 1, 16)
      known[event_id] = tonumber(at)
      noted_ids[#noted_ids + 1] = event_id
      noted_ids[#noted_ids + 1] = at
    end
  end
  position = position + part.n
  if positions[2] then
    in_chunks('RPUSH', part.key, positions)
  else
    call('RPUSH', part.key, positions[1])
  end
  return version + part.n
end

-- All events of an append have one recorded_at.
local function write(append)
  local answer = { 'ok' }
  last = math.max(now, last + 1, append[1].cause + 1)
  for _, part in ipairs(append) do
    if part.n > 0 then
      local version, at = write_part(part), #answer
      answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4] = version, position, last, number
    end
  end
  wrote = true
  return answer
end

-- Reads only.
local function checked(append)
  for _, part in ipairs(append) do
    local length = call('LLEN', part.key)
    local base = length == 0 and 0 or tonumber(call('LINDEX', part.key, 0))
    part.length, part.base = length, base
    part.actual = length == 0 and 0 or base + length - 1
  end
  return repeated_in_all(append) or refused(append) or check_urgent(append)
end

-- What is damaged fails its own append only: an error that left the script here would leave what the appends before
-- it have written without a head that counts it.
local function verdict(append)
  local sound, answer = pcall(checked, append)
  if not sound then return { 'damaged', type(answer) == 'table' and answer.err or tostring(answer) } end
  return answer or write(append)
end

local verdicts, acknowledged = {}, false
for i, append in ipairs(appends) do
  verdicts[i] = verdict(append)
  acknowledged = acknowledged or verdicts[i][1] == 'ok'
end

-- ---- one HSET of the head; also for a mere repeat, or WAIT would cover nothing ----

local fields = { head_key, 'pos', position }
local function set(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end

-- The bucket in use is emptied by its age, never by TIME itself: a clock that jumps would empty it at once.
local function note_ids()
  local bucket = head[6]
  age = age + math.min(math.max(now - noted_at, 0), window / 8)
  if age >= 1.25 * window then
    bucket, age = bucket == '0' and '1' or '0', 0
    call('UNLINK', dup_keys[bucket + 1])
    call('HSET', dup_keys[bucket + 1], '', '')
  end
  set('bucket', bucket)
  set('age', string.format('%.0f', age))
  set('at', string.format('%.0f', now))
  in_chunks('HSET', dup_keys[bucket + 1], noted_ids)
end

if wrote then
  set('last', string.format('%.0f', last))
  set('replid', replid)
  set('number', number)
  if largest > largest_before then set('largest', largest) end
  if began then
    set('noted', number)
    set('epochs', format_epochs(epochs))
  end
  if #noted_ids > 0 then note_ids() end
end
if acknowledged then
  call('HSET', unpack(fields))
elseif is_replica(info) then
  -- A primary that was demoted and keeps its connections: what it still has refuses nobody.
  return redis.error_reply('READONLY only a primary knows the versions of now')
end
return verdicts
