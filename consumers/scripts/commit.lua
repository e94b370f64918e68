-- The commit of a group in one partition: offset, rows of detached streams, and what handlers brought with the events
-- that it makes finished. All of it or nothing; the same call again changes nothing.
--
-- KEYS  head, log, control, detached, due, orders, errors, out, the index of each row's stream, keys of effects
-- ARGV  name of the group | owner, term, epoch | number | offset | number of rows, orders, returned events, effects
--       | a row: stream, packed row, why it fails (nothing: noted already)
--       | an order: id, 1 if it was carried out, 0 if it came too late
--       | a returned event: partition, stream, packed event, recorded_at of its cause, letter . N H or C
--       | an effect: place of its key in KEYS, command, number of arguments, arguments
-- returns "committed", fin, paused, TIME in ms, head position, bytes of the largest event (nothing if not known),
--         1 if the Redis group is missing, {row that is no longer in the table, ...}, {open order: id, text, ...}
--       or "stale", why
--       or "effect" or "event", place of one that cannot be carried out, counted from 0, why
-- errors NOPARTITION, DAMAGED: what is stored is not of our making; OOM if it brings effects or returned events;
--        READONLY. Nothing is written in all these cases.
--
-- PROTOCOLS: section 2 has the steps, and what went wrong without each.

-- include lease.lua

local head_key, log_key, control_key, detached_key, due_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local orders_key, errors_key, out_key, INDEXES = KEYS[6], KEYS[7], KEYS[8], 8
local group, owner, term, epoch, number, offset = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local row_count, order_count, out_count, effect_count = ARGV[7] + 0, ARGV[8] + 0, ARGV[9] + 0, ARGV[10] + 0
local FIRST = 11

-- ---- 1. the token ----

local head, lease = look_at_lease(head_key, control_key)
if not head[3] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
local stale = why_stale(head, lease, replid_of(redis.call('INFO', 'replication')), owner, term, epoch)
if stale then return { 'stale', stale } end

-- ---- 2. the number, 3. the offset ----

local _, stored_position = place_of(lease[7] or '')
local _, fin = place_of(lease[8] or '')
local head_position = tonumber(head[3])
if not (stored_position and fin and head_position and tonumber(lease[6])) then
  return redis.error_reply('DAMAGED ' .. control_key .. ' or ' .. head_key .. ': a number of theirs is none')
end
local is_repeat = number == lease[6]
if not is_repeat and tonumber(number) ~= lease[6] + 1 then
  return { 'stale', 'commit ' .. number .. ' does not follow ' .. lease[6] }
end
if is_repeat then offset = lease[7] end
local offset_epoch, position = place_of(offset)
if position < stored_position or position > head_position or not is_place(head[4], offset_epoch, position) then
  return { 'stale', 'the log has no entry ' .. offset .. ' behind ' .. lease[7] }
end
fin = math.max(fin, position)

local now_ms = math.floor(microseconds() / 1000)
local orders = redis.call('HGETALL', orders_key)

-- A repeat writes what is there: without a write WAIT would cover nothing.
local function write_control()
  redis.call('HSET', control_key, 'number', number, 'offset', offset, 'fin', fin == position and offset or lease[8])
end

-- The mirror, step 7: for last, and by pcall, so that it ends no script midway.
local function committed(gone, open)
  local mirrored = redis.pcall('XGROUP', 'SETID', log_key, group, offset, 'ENTRIESREAD', text(position))
  return { 'committed', fin, lease[10], now_ms, head_position, head[5], mirrored.err and 1 or 0, gone, open }
end

-- Most commits only move the offset. What follows is left out then, its functions too: a sixth of the time.
if row_count + order_count + out_count + effect_count == 0 and not orders[3] then
  written_first(control_key)
  write_control()
  return committed({}, {})
end

-- include rows.lua
-- include effects.lua

-- ---- what is sent, and what is stored of it ----

local at, rows, streams, taken, effects = FIRST, {}, {}, {}, {}
for i = 1, row_count do
  local packed = ARGV[at + 1]
  local row = { ARGV[at], packed, new = parse_row(packed), failure = ARGV[at + 2], index = KEYS[INDEXES + i] }
  if not row.new then return redis.error_reply('DAMAGED a row that reads ' .. packed) end
  rows[i], streams[i] = row, row[1]
  at = at + 3
end
for _ = 1, order_count do
  taken[ARGV[at]] = ARGV[at + 1]
  at = at + 2
end
local first_out = at
at = at + 5 * out_count
for i = 1, effect_count do
  local first = at + 3
  effects[i] = { key = KEYS[ARGV[at] + 0], command = ARGV[at + 1], first = first, last = first + ARGV[at + 2] - 1 }
  at = effects[i].last + 1
end

for first = 1, row_count, 4000 do
  local stored = redis.call('HMGET', detached_key, unpack(streams, first, math.min(first + 3999, row_count)))
  for i, packed in ipairs(stored) do
    local row = rows[first + i - 1]
    row.old = packed and parse_row(packed)
    if packed and not row.old then return redis.error_reply('DAMAGED a row that reads ' .. packed) end
  end
end

local function answer()
  local gone, open = {}, {}
  for _, row in ipairs(rows) do
    if row.gone then gone[#gone + 1] = row[1] end
  end
  for i = 1, #orders, 2 do
    local id, order = orders[i], orders[i + 1]
    if not taken[id] and order ~= '' and string.sub(order, 1, 1) ~= '=' then
      open[#open + 1] = id
      open[#open + 1] = order
    end
  end
  return committed(gone, open)
end

if is_repeat then
  for _, row in ipairs(rows) do
    row.gone = not row.old
  end
  written_first(control_key)
  write_control()
  return answer()
end

-- ---- what could end the script midway: keys of another type, and what handlers brought ----

if row_count > 0 then
  redis.call('ZCARD', due_key)
  redis.call('HLEN', errors_key)
end

local function check_out()
  if out_count == 0 then return nil end
  local facts = redis.call('XINFO', 'STREAM', out_key)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' and tonumber((place_of(facts[i + 1]))) > tonumber(epoch) then
      return 0, 'follows others, which go on to ' .. facts[i + 1]
    end
  end
  for i = 0, out_count - 1 do
    local to, stream, packed, cause, letter = unpack(ARGV, first_out + 5 * i, first_out + 5 * i + 4)
    if not (string.find(to, '^%d+$') and string.find(cause, '^%d+$') and string.find(letter, '^[.NHC]$')) then
      return i, 'has no partition, cause or priority'
    end
    if #stream < 1 or #stream > 512 or #packed < 22 then return i, 'is no event' end
  end
end

local which, why = check_effects(effects)
if which then return { 'effect', which - 1, why } end
which, why = check_out()
if which then return { 'event', which, why } end

-- ---- 5. which rows re-attach, by the new offset and fin ----

-- Whether all that is archived lies at or below the new offset.
local function is_behind_the_border()
  local first = redis.call('XRANGE', log_key, '-', '+', 'COUNT', 1)[1]
  if not first then return position >= head_position end
  local _, hot = place_of(first[1])
  return position >= hot - 1
end

-- Whether the main pass goes on with the stream exactly where the row stands, and says the same of replays. LINDEX and
-- LRANGE take what is below 0 for a place counted from the end; element 0 is the number of archived events.
local function reattaches(row)
  local following = row.new.following
  if row.new.state ~= 'c' then return false end
  local archived = tonumber(redis.call('LINDEX', row.index, 0) or 0)
  if following <= archived then return false end
  local before, after = unpack(redis.call('LRANGE', row.index, following - 1 - archived, following - archived))
  if following - 1 > archived then
    if not before or tonumber(before) > position then return false end
  elseif archived > 0 and not is_behind_the_border() then
    return false
  end
  if not after then return true end
  local row_fin = row.new.fin
  after = tonumber(after)
  return after > position and (row_fin == fin or after > math.max(row_fin, fin))
end

for _, row in ipairs(rows) do
  row.gone = reattaches(row)
end

-- ---- 4., 5., 6. writing ----

-- What needs memory may be refused by its first write; an offset that goes on, and rows, are not.
if out_count == 0 and effect_count == 0 then written_first(control_key) end
write_control()
if row_count > 0 then write_rows(rows, detached_key, due_key, errors_key) end
run_effects(effects)
for i = first_out, first_out + 5 * out_count - 1, 5 do
  redis.call('XADD', out_key, epoch .. '-*', 'q', ARGV[i], 's', ARGV[i + 1], 'e', ARGV[i + 2], 'c', ARGV[i + 3],
    'l', ARGV[i + 4])
end
for i = 1, #orders, 2 do
  local outcome = taken[orders[i]] -- one that was withdrawn meanwhile is not there any more
  if outcome and string.sub(orders[i + 1], 1, 1) ~= '=' then
    redis.call('HSET', orders_key, orders[i], (outcome == '1' and '=done ' or '=late ') .. text(now_ms))
  end
end

mirror_rows(rows, log_key, group)
return answer()
