-- Reads on in what handlers returned: a page of a partition's `:out`.
--
-- KEYS  out, in
-- ARGV  id of the entry behind which to read, 0-0 for the beginning | most entries | bytes after which a page ends
--       | 1 to write one field when there are entries, so that a WAIT behind this covers what was read
--       | ids of entries that are asked about
-- returns replid of the server process, 1 if there may be more, {1 or 0 for each entry asked about: whether it is still
--       there}, {id, partition, stream, packed event, recorded_at of its cause, letter, ...}
-- errors READONLY: this server is a replica, which lags behind; DAMAGED: an entry is none of ours

local STEP = 16 -- entries between two looks at the bytes
local NAMES = { 'q', 's', 'e', 'c', 'l' }

local out_key, in_key = KEYS[1], KEYS[2]
local after, most, most_bytes, must_write = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local FIRST = 5

-- include eventstore/epoch.lua

local info = redis.call('INFO', 'replication')
if is_replica(info) then
  return redis.error_reply('READONLY only a primary knows what waits')
end

local there = {}
for i = FIRST, #ARGV do
  there[#there + 1] = #redis.call('XRANGE', out_key, ARGV[i], ARGV[i])
end

local page, count, bytes, more = {}, 0, 0, 0
while true do
  local wanted = math.min(STEP, most - count)
  local entries = redis.call('XRANGE', out_key, '(' .. after, '+', 'COUNT', wanted)
  for _, entry in ipairs(entries) do
    local id, fields, at = entry[1], entry[2], #page
    page[at + 1] = id
    for i, name in ipairs(NAMES) do
      if fields[2 * i - 1] ~= name then
        return redis.error_reply('DAMAGED ' .. out_key .. ': the entry ' .. id .. ' is no returned event')
      end
      page[at + 1 + i] = fields[2 * i]
    end
    bytes = bytes + #fields[6]
    after = id
  end
  count = count + #entries
  if #entries < wanted then break end
  if count >= most or bytes >= most_bytes then
    more = 1
    break
  end
end
if must_write and count > 0 then redis.call('HSET', in_key, '', '') end
return { string.match(info, 'master_replid:(%x+)'), more, there, page }
