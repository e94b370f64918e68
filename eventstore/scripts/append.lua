-- Appends to streams of one partition: each append of the call is checked in full, then written, then the next.
--
-- KEYS  head, log, urgent, dup:0, dup:1, then the index key of each part's stream, in order, also one that came before
-- ARGV  duplicate window in microseconds, number of parts, 1 if ids are to be looked up; then for each part, which is
--       what an append does to one stream: any, exists or the expected version | about it | the packed events
--       About it: the number of events, 0 for a mere check; as a rule that is all. What else there is follows behind
--       blanks: flags (1 the ids are the caller's, 2 the next part is of the same append), recorded_at of the newest
--       cause or 0, and a letter per event: . N H C, or nothing if none is urgent (H, C).
-- returns the epoch, then for each append its verdict. Of one that wrote to one stream just now, that is three numbers:
--       version, position, recorded_at. Else a list:
--       "ok", then for each part with events: version, position, recorded_at, epoch (also if written before)
--       "version", then for each check that failed: part, actual
--       "id", part, event in it, why, stream, version, position of the event that has the id
--       "drift", TIME of the server
--       "damaged", part, why it cannot be appended: a key is of another type, an entry is missing
--       Parts and events are counted from 0.
-- errors NOPARTITION: the partition was never made, or its head lacks something; DAMAGED; READONLY. Nothing is written.
--
-- PROTOCOLS: order of checks in section 0, epochs in section 6.
--
-- Redis makes every function and table anew for each call, and many calls have a single append of an exact version.
-- So what these do not need is made when it is first needed (`general`), and they have a short way of their own.

local FIXED = 5              -- KEYS before the index keys
local FORMAT = 1
local HOUR = 3600 * 1000000
local CHUNK = 4000           -- words of one redis.call: `unpack` ends near 8,000, and would end the script midway

local call, try, sub, char, pack = redis.call, redis.pcall, string.sub, string.char, struct.pack
local head_key, log_key, urgent_key = KEYS[1], KEYS[2], KEYS[3]
local count, looks_up = tonumber(ARGV[2]), ARGV[3] == '1'

-- include epoch.lua
-- include head.lua
-- include repeats.lua
-- include notes.lua

-- One command with any number of words behind its key; `each` gets the replies, and where their words began.
local function in_chunks(command, key, words, each)
  for first = 1, #words, CHUNK do
    local reply = call(command, key, unpack(words, first, math.min(first + CHUNK - 1, #words)))
    if each then each(reply, first) end
  end
end

local FIELDS = { 'replid', 'number', 'noted', 'pos', 'last', 'largest', 'bucket', 'age', 'at' }
local fields_read = looks_up and 9 or 6
local head = call('HMGET', head_key, unpack(FIELDS, 1, fields_read))
if not head[4] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
-- A field that is not there would end the script midway, with events that the head does not count.
for i = 1, fields_read do
  if not head[i] and i ~= 6 then return redis.error_reply('NOPARTITION ' .. head_key .. ' is incomplete') end
end
-- Nor may one hold something else. All at once: one by one they would cost a lone append 3 %.
if not string.find(table.concat(head, ' ', 2, 5), '^%d+ %d+ %d+ %d+$')
  or looks_up and not string.find(table.concat(head, ' ', 7, 9), '^[01] %d+ %d+$') then
  must_be_numbers(head_key, FIELDS, { '0', head[2], head[3], head[4], head[5], '0', head[7], head[8], head[9] })
  return redis.error_reply('DAMAGED ' .. head_key .. ': bucket is neither 0 nor 1')
end
local now = microseconds()
local replid, number, info = current_epoch(head[1], head[2], now)
local noted, position, last = head[3], tonumber(head[4]), tonumber(head[5])
-- Where an older release has appended, nobody knows it: it stays unknown.
local largest_before = head[6] and tonumber(head[6]) or math.huge
local largest = largest_before

-- ---- the parts of this call ----

-- What the words about a part say: number of events, flags, newest cause, letters.
local function about(words)
  local plain = tonumber(words)
  if plain then return plain, 0, 0, '' end
  local n, flags, cause, letters = string.match(words, '^(%d+) (%d) (%d+) ?(.*)$')
  return tonumber(n), tonumber(flags), tonumber(cause), letters
end

-- How many ids of a part the duplicate window guards: all that are the caller's, else the first, unless the version
-- that the part expects tells as much.
local function guarded(exact, flags, n)
  return (flags == 1 or flags == 3) and n or (exact and 0 or math.min(n, 1))
end

-- ---- what is known: ids of both buckets, later also those that this call writes ----

local known = {}
if looks_up then
  local ids, at = {}, 4
  for _ = 1, count do
    local n, flags = about(ARGV[at + 1])
    for j = at + 2, at + 1 + guarded(tonumber(ARGV[at]), flags, n) do
      ids[#ids + 1] = sub(ARGV[j], 1, 16)
    end
    at = at + 2 + n
  end
  for bucket = 4, 5 do
    in_chunks('HMGET', KEYS[bucket], ids, function(found, first)
      for i, where in ipairs(found) do
        if where then known[ids[first + i - 1]] = tonumber(where) end
      end
    end)
  end
end

-- ---- writing ----

local wrote, began, following_id, noted_ids = false, false, nil, {}
local id_end = #number + 2
local epochs

local function epochs_of_log()
  epochs = epochs or parse_epochs(call('HGET', head_key, 'epochs'))
  return epochs
end

-- The first of a call in full. A log that somebody else has shortened or lengthened would number otherwise than the
-- head: its entry either lands where the receipt says, or is refused before anything is written. And as the first of
-- an epoch `<epoch>-*` would begin at 0.
local function first_id()
  following_id = number .. '-*'
  if noted ~= number then
    epochs_of_log()
    epochs[#epochs + 1] = { number, position + 1 }
    noted, began = number, true
  end
  return number .. '-' .. string.format('%d', position + 1)
end

-- The position of an event is noted under its id, for repeats.
local function note(sent, at)
  local id = sub(sent, 1, 16)
  known[id] = tonumber(at)
  noted_ids[#noted_ids + 1] = id
  noted_ids[#noted_ids + 1] = at
end

-- One event that is not urgent, recorded at `last`. `length` is that of its stream's index list.
-- Positions are cut out of the ids that XADD returns: Lua's numbers would be made text again for each.
local function write_one(key, length, version, sent, looked_up)
  local value = pack('>BI8I6', FORMAT, last, version) .. sent
  local at = sub(call('XADD', log_key, following_id or first_id(), 'e', value), id_end)
  if #value > largest then largest = #value end
  if looked_up > 0 then note(sent, at) end
  position, wrote = position + 1, true
  if length == 0 then
    call('RPUSH', key, '0', at)
  else
    call('RPUSH', key, at)
  end
end

-- All events of a part. `actual` is the version of its stream, `letters` is nothing if none is urgent.
local function write_part(key, length, actual, first, n, letters, looked_up)
  if n == 1 and letters == '' then return write_one(key, length, actual + 1, ARGV[first], looked_up) end
  local next_id, positions, behind, low, front = following_id or first_id(), {}, 0, 255, nil
  if length == 0 then positions[1], behind = '0', 1 end
  for j = 1, n do
    local sent = ARGV[first]
    low = low + 1
    if low == 256 then -- what comes before the last byte of the version is made for as long as it is the same
      low = (actual + j) % 256
      front = sub(pack('>BI8I6', FORMAT, last, actual + j), 1, -2)
    end
    local value = front .. char(low) .. sent
    local id = call('XADD', log_key, next_id, 'e', value)
    if #value > largest then largest = #value end
    local at = sub(id, id_end)
    positions[behind + j] = at
    if j <= looked_up then note(sent, at) end
    if letters ~= '' then
      local letter = sub(letters, j, j)
      if letter == 'H' or letter == 'C' then call('XADD', urgent_key, id, 'p', letter) end
    end
    first, next_id = first + 1, following_id
  end
  position, wrote = position + n, true
  in_chunks('RPUSH', key, positions)
end

-- ---- the short way ----

-- What most appends are, to one stream whose events are all here: plain, at an exact version or any. Its version once
-- it is written; nil, and nothing written, if there is anything to be said about it.
local function plainly(key, expected, first, n)
  local exact, length = tonumber(expected), try('LLEN', key)
  local actual = length == 0 and 0 or type(length) == 'number' and length - 1
  if exact then
    if actual ~= exact then return end
  elseif expected ~= 'any' or not actual or known[sub(ARGV[first], 1, 16)] then
    return
  end
  if length > 0 and try('LINDEX', key, '0') ~= '0' then return end
  last = math.max(now, last + 1)
  write_part(key, length, actual, first, n, '', exact and 0 or 1)
  return actual + n
end

-- ---- every other append: a list of parts ----

-- Made when the first of them comes.
local function general()
  local repeated_in_all = repeats(known, epochs_of_log, epoch_at)

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
    for i, part in ipairs(append) do
      if not urgent and string.find(part.letters, '[HC]') then urgent, append.looked_at = true, i end
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

  -- ---- the verdict ----

  -- All events of an append have one recorded_at.
  local function write(append)
    local answer = { 'ok' }
    last = math.max(now, last + 1, append[1].cause + 1)
    for _, part in ipairs(append) do
      if part.n > 0 then
        write_part(part.key, part.length, part.actual, part.first, part.n, part.letters, part.looked_up)
        local at = #answer
        answer[at + 1], answer[at + 2], answer[at + 3], answer[at + 4] = part.actual + part.n, position, last, number
      end
    end
    return answer
  end

  -- Reads only. `looked_at` is the part that is checked: what is damaged is its stream.
  local function checked(append)
    for i, part in ipairs(append) do
      append.looked_at = i
      local length = call('LLEN', part.key)
      local base = length == 0 and 0 or tonumber(call('LINDEX', part.key, '0'))
      part.length, part.base = length, base
      part.actual = length == 0 and 0 or base + length - 1
    end
    return repeated_in_all(append) or refused(append) or check_urgent(append)
  end

  -- What is damaged fails its own append only: an error that left the script here would leave what the appends before
  -- it have written without a head that counts it.
  return function(append)
    local sound, answer = pcall(checked, append)
    if not sound then
      return { 'damaged', append.looked_at - 1, type(answer) == 'table' and answer.err or tostring(answer) }
    end
    return answer or write(append)
  end
end

-- ---- the verdicts ----

local verdicts, place, acknowledged = { number }, 1, false
do
  local at, append, verdict = 4, nil, nil
  for p = 1, count do
    local key, expected, words, first = KEYS[FIXED + p], ARGV[at], ARGV[at + 1], at + 2
    local plain = not append and tonumber(words)
    local version = plain and plain > 0 and plainly(key, expected, first, plain)
    if version then
      at = first + plain
      verdicts[place + 1], verdicts[place + 2], verdicts[place + 3] = version, position, last
      acknowledged, place = true, place + 3
    else
      local exact, n, flags, cause, letters = tonumber(expected), about(words)
      at = first + n
      append = append or {}
      append[#append + 1] = {
        key = key, expected = expected, exact = exact, looked_up = guarded(exact, flags, n),
        cause = cause, letters = letters, n = n, first = first,
        length = 0, base = 0, actual = 0,  -- known when it is checked; here so that the table does not grow
      }
      if flags < 2 then
        verdict = verdict or general()
        local answer = verdict(append)
        place, append = place + 1, nil
        verdicts[place], acknowledged = answer, acknowledged or answer[1] == 'ok'
      end
    end
  end
end

-- ---- one HSET of the head; also for a mere repeat, or WAIT would cover nothing ----

local fields = { head_key, 'pos', position, 'last', last } -- numbers up to 2^53 are written in full
local function set(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end

local function note_ids()
  local bucket, age = bucket_to_note_in({ KEYS[4], KEYS[5] }, tonumber(ARGV[1]), now, head[7], head[8], head[9])
  set('bucket', bucket)
  set('age', string.format('%d', age))
  set('at', string.format('%d', now))
  in_chunks('HSET', KEYS[bucket + 4], noted_ids)
end

if wrote then
  if replid ~= head[1] then
    set('replid', replid)
    set('number', number)
  end
  if largest > largest_before then set('largest', largest) end
  if began then
    set('noted', number)
    set('epochs', format_epochs(epochs))
  end
  if noted_ids[1] then note_ids() end
end
if acknowledged then
  call('HSET', unpack(fields))
elseif is_replica(info) then
  -- A primary that was demoted and keeps its connections: what it still has refuses nobody.
  return redis.error_reply('READONLY only a primary knows the versions of now')
end
return verdicts
