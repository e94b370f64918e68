-- Tells all that is stored of a group in one partition, as of one moment, for who checks it. Nothing is written.
--
-- KEYS  head, log, control, detached, due, orders, errors, bell
-- ARGV  name of the group | most entries of its pending list
-- returns position and epochs of the head, {key that does not exist, ...},
--         {last delivered id, entries read, {{id, consumer, idle time, count}, ...}}, empty without a Redis group;
--         {field, value, ...} of the control hash, {stream, row, ...}, {stream, due, ...},
--         {stream that has a failure, ...}, {order id, order, ...}; in place of what is of another type what Redis says
-- errors none of its own
--
-- Of 10,000 rows, the bound, it takes some 25 ms of the server.

local head_key, log_key, control_key = KEYS[1], KEYS[2], KEYS[3]
local detached_key, due_key, orders_key, errors_key = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local group, most = ARGV[1], ARGV[2]

local function told(...)
  local answer = redis.pcall(...)
  if not answer.err then return answer end
  return string.find(answer.err, 'WRONGTYPE', 1, true) and answer.err or redis.call(...)
end

local function of_redis()
  for _, facts in ipairs(redis.call('XINFO', 'GROUPS', log_key)) do
    local fact = {}
    for i = 1, #facts, 2 do
      fact[facts[i]] = facts[i + 1]
    end
    if fact.name == group then
      local pending = redis.call('XPENDING', log_key, group, '-', '+', most)
      return { fact['last-delivered-id'], fact['entries-read'] or -1, pending }
    end
  end
  return {}
end

local missing = {}
for i = 4, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then missing[#missing + 1] = KEYS[i] end
end
local head = redis.call('HMGET', head_key, 'pos', 'epochs')
return {
  head[1], head[2], missing, of_redis(), told('HGETALL', control_key), told('HGETALL', detached_key),
  told('ZRANGE', due_key, '0', '-1', 'WITHSCORES'), told('HKEYS', errors_key), told('HGETALL', orders_key),
}
