-- Writes the snapshot of a stream in place of the one that is there.
--
-- KEYS  head, index of the stream, snapshot of the stream
-- ARGV  fold | version, epoch, position of the last event in the state | state
-- returns "written"
--       or "newer": the same fold has written a state of a later version, which stays
--       or "lost": the log does not have that event (any more)
-- errors none of its own; READONLY of a replica. Nothing is written then.

-- include stream_page.lua
-- include snapshot.lua

local head_key, index_key, snapshot_key = KEYS[1], KEYS[2], KEYS[3]
local fold, version, epoch, position = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local state = ARGV[5]

local actual, base, _, epochs_text = look_at_stream(head_key, index_key)
local epochs = parse_epochs(epochs_text)

local function in_log(at, its_epoch, its_position)
  return is_in_log(at, its_epoch, its_position, actual, base, index_key, epochs)
end

if not in_log(version, epoch, position) then return 'lost' end

local found = redis.pcall('HMGET', snapshot_key, 'fold', 'version', 'epoch', 'position')
if found.err then
  redis.call('UNLINK', snapshot_key)   -- something else under a name that is ours
elseif found[1] == fold then
  local at, its_position = tonumber(found[2]), tonumber(found[4])
  if at and its_position and at > version and in_log(at, found[3], its_position) then return 'newer' end
end
redis.call('HSET', snapshot_key, 'fold', fold, 'version', ARGV[2], 'epoch', epoch, 'position', ARGV[4], 'state', state)
return 'written'
