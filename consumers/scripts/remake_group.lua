-- Makes the Redis group anew from what is stored of the group: somebody has destroyed it. Without harm where it is.
--
-- KEYS  log, control, detached
-- ARGV  name of the group
-- returns 1; 0 if nothing is stored of such a group
-- errors none of its own. Where it began anew an outsider would read again; we read by the offset that is stored.

-- include rows.lua

local log_key, control_key, detached_key = KEYS[1], KEYS[2], KEYS[3]
local group = ARGV[1]

local offset = redis.call('HGET', control_key, 'offset')
if not offset then return 0 end
local position = string.match(offset, '%-(%d+)$')
local made = redis.pcall('XGROUP', 'CREATE', log_key, group, offset, 'ENTRIESREAD', position)
if made.err then redis.call('XGROUP', 'SETID', log_key, group, offset, 'ENTRIESREAD', position) end

local fields, rows = redis.call('HGETALL', detached_key), {}
for i = 1, #fields, 2 do
  local row = parse_row(fields[i + 1])
  if row and row.state ~= 'c' then rows[#rows + 1] = { fields[i], fields[i + 1], new = row } end
end
mirror_rows(rows, log_key, group)
return 1
