-- A commit that may go back: replay, skip, cancel. The lease ends with it, so nobody goes on from what was before.
--
-- KEYS  head, log, control, detached, due, orders, errors, bell
-- ARGV  name of the group | owner, term, epoch | offset | position up to which it had been finished | 1: mute, else 0
--       | what the replay wants, for who takes the lease next | a row: stream, packed row, - for one that goes
-- returns "moved", 1 if the Redis group is missing; also for a call that was carried out before
--       or "stale", why
-- errors NOPARTITION, DAMAGED: what is stored is not of our making; READONLY. Nothing is written.
--
-- PROTOCOLS: section 4. Rows are written as they are sent: none re-attaches by itself.

-- include lease.lua
-- include rows.lua

local head_key, log_key, control_key, detached_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local due_key, errors_key, bell_key = KEYS[5], KEYS[7], KEYS[8]
local group, owner, term, epoch, offset = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local fin, mute, replay, ROWS = tonumber(ARGV[6]), ARGV[7], ARGV[8], 9

local head, lease = look_at_lease(head_key, control_key)
if not head[3] then
  return redis.error_reply('NOPARTITION ' .. head_key .. ' does not exist')
end
local this = table.concat({ owner, term, epoch, offset, ARGV[6], mute }, ' ')
if lease[11] == this then -- the acknowledgement was lost
  written_first(control_key)
  redis.call('HSET', control_key, 'moved', this)
  return { 'moved', 0 }
end
local stale = why_stale(head, lease, replid_of(redis.call('INFO', 'replication')), owner, term, epoch)
if stale then return { 'stale', stale } end
local damaged = what_is_no_number(lease)
if damaged then return redis.error_reply('DAMAGED ' .. control_key .. ': ' .. damaged .. ' is no number') end

local offset_epoch, position = place_of(offset)
local head_position = tonumber(head[3])
if position > head_position or not is_place(head[4], offset_epoch, position) then
  return { 'stale', 'the log has no entry ' .. offset }
end
local _, stored_fin = place_of(lease[8])
fin = math.max(fin, stored_fin, position)
if fin > head_position then return { 'stale', 'the log has no entry at ' .. text(fin) } end
local fin_epoch = fin == 0 and '0' or epoch_at(parse_epochs(head[4]), fin)

local rows = {}
for i = ROWS, #ARGV, 2 do
  local goes = ARGV[i + 1] == '-'
  local new = goes and { state = 'c', pending = '-' } or parse_row(ARGV[i + 1])
  if not new then return redis.error_reply('DAMAGED a row that reads ' .. ARGV[i + 1]) end
  local stored = redis.call('HGET', detached_key, ARGV[i])
  local old = stored and parse_row(stored)
  if stored and not old then return redis.error_reply('DAMAGED a row that reads ' .. stored) end
  rows[#rows + 1] = { ARGV[i], ARGV[i + 1], new = new, old = old, gone = goes, failure = '' }
end
redis.call('ZCARD', due_key) -- of another type they would end the script midway
redis.call('HLEN', errors_key)
redis.call('XLEN', bell_key)

written_first(control_key)
redis.call('HSET', control_key, 'owner', '', 'term', text(term + 1), 'until', '0', 'number', '0', 'offset', offset,
  'fin', fin_epoch .. '-' .. text(fin), 'mute', mute, 'moved', this, 'replay', replay)
write_rows(rows, detached_key, due_key, errors_key)
ring(bell_key, 'moved')
local mirrored = redis.pcall('XGROUP', 'SETID', log_key, group, offset, 'ENTRIESREAD', text(position))
mirror_rows(rows, log_key, group)
return { 'moved', mirrored.err and 1 or 0 }
