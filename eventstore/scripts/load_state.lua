-- What the state of a stream is made from: its snapshot, if it is usable, and the first page of the events after it,
-- as of one moment.
--
-- KEYS  head, log, index of the stream, snapshot of the stream
-- ARGV  the fold whose snapshot is usable (empty: none is) | events at most | bytes at most (one event in any case)
-- returns version of the stream, how many of its events are archived, head position of the partition, its epochs;
--       version of the snapshot (0: there is none that is usable), its epoch, position and state, why it was put aside
--       (empty: it was not; "fold": another fold wrote it; "ahead": the log does not have its event; "damaged": it is
--       not one); then for each event after it its id and value, as read_stream.lua does
-- errors READONLY: this server is a replica, which may lag behind what its primary has shown

-- include stream_page.lua
-- include snapshot.lua

local head_key, log_key, index_key, snapshot_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fold, events, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

if is_replica(redis.call('INFO', 'replication')) then
  return redis.error_reply('READONLY a replica cannot tell what the log holds')
end
local version, base, pos, epochs_text = look_at_stream(head_key, index_key)
local epochs = parse_epochs(epochs_text)

-- version, epoch, position, state; or nothing, and why
local function snapshot()
  if fold == '' then return nil, '' end
  local found = redis.pcall('HMGET', snapshot_key, 'fold', 'version', 'epoch', 'position')
  if found.err then return nil, 'damaged' end
  if not (found[1] or found[2] or found[3] or found[4]) then return nil, '' end
  if found[1] and found[1] ~= fold then return nil, 'fold' end
  local at, epoch, position = tonumber(found[2]), found[3], tonumber(found[4])
  if not (found[1] and at and epoch and position) then return nil, 'damaged' end
  if not is_in_log(at, epoch, position, version, base, index_key, epochs) then return nil, 'ahead' end
  local state = redis.call('HGET', snapshot_key, 'state')
  if not state then return nil, 'damaged' end
  return { at, epoch, position, state }, ''
end

local found, put_aside = snapshot()
found = found or { 0, '0', 0, '' }
local page = { version, base, pos, epochs_text, found[1], found[2], found[3], found[4], put_aside }
local first = found[1] + 1
local last = math.min(version, first + events - 1)
if first > last or first <= base then return page end
add_events(page, log_key, index_key, base, epochs, first, last, bytes, false)
return page
