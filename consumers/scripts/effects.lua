-- Shared by the scripts that carry out what handlers want written: included, not called.
--
-- KEYS / ARGV  none of its own; the arguments of an effect stay in ARGV
-- returns      functions: check_effects, run_effects
-- errors       none
--
-- An effect is { command, key, first, last }: a command on a key that handlers own, and where its arguments stand in
-- ARGV. All of a call are checked, each against what the ones before it will leave, and then run: none may fail midway.
-- Where that is not known for certain (a set that loses its last member is no key any more) the check is the stricter.

local MOST_ARGUMENTS = 4000  -- `unpack` ends near 8,000
-- Numbers pass through doubles here, to be checked and never to be stored: so the ends of the range, which is 0.3 %
-- wider, are left alone.
local FURTHEST = 9.2e18
local KIND_OF = {
  HSET = 'hash', HINCRBY = 'hash', HDEL = 'hash', SADD = 'set', SREM = 'set', ZADD = 'zset', ZINCRBY = 'zset',
  ZREM = 'zset', SET = 'string', INCRBY = 'string', RPUSH = 'list', UNLINK = 'any',
}
-- How many arguments: the least, the most, and whether they are pairs.
local PAIRS, SOME = { 2, MOST_ARGUMENTS, true }, { 1, MOST_ARGUMENTS }
local COUNTS = {
  HSET = PAIRS, HINCRBY = { 2, 2 }, HDEL = SOME, SADD = SOME, SREM = SOME, ZADD = PAIRS, ZINCRBY = { 2, 2 },
  ZREM = SOME, SET = { 1, 1 }, INCRBY = { 1, 1 }, RPUSH = SOME, UNLINK = { 0, 0 },
}

-- As the server reads one: no blanks, no sign +, no zeros in front.
local function integer(written)
  if written == '0' or #written < 21 and string.find(written, '^%-?[1-9]%d*$') then return tonumber(written) end
end

local function is_score(written)
  local number = string.find(written, '^%-?%d+%.?%d*[eE]?[+-]?%d*$') and tonumber(written)
  return number and number > -math.huge and number < math.huge
end

-- What the server has under a key: its kind, and what becomes of it by the effects before.
local function looked_at(known, key)
  local seen = known[key]
  if not seen then
    seen = { kind = redis.call('TYPE', key).ok, values = {} }
    known[key] = seen
  end
  return seen
end

-- The number that is counted up: a field of a hash, or the whole value ('').
local function count_up(seen, key, field, by)
  local step = integer(by)
  if not step then return 'is no step: ' .. string.sub(by, 1, 40) end
  local now = seen.values[field]
  if now == nil and not seen.made then
    now = seen.kind == 'hash' and redis.call('HGET', key, field)
      or seen.kind == 'string' and redis.call('GETRANGE', key, 0, 20)
  end
  local number = not now and 0 or type(now) == 'number' and now or integer(now)
  if not number then return 'counts up what is no number' end
  if math.abs(number) + math.abs(step) > FURTHEST then return 'counts out of the range of numbers' end
  seen.values[field] = number + step
end

local function check_arguments(effect, seen)
  local command, key, first, last = effect.command, effect.key, effect.first, effect.last
  if command == 'HSET' then
    for i = first, last, 2 do seen.values[ARGV[i]] = ARGV[i + 1] end
  elseif command == 'HDEL' then
    for i = first, last do seen.values[ARGV[i]] = false end
  elseif command == 'HINCRBY' then
    return count_up(seen, key, ARGV[first], ARGV[first + 1])
  elseif command == 'SET' then
    seen.values[''] = ARGV[first]
  elseif command == 'INCRBY' then
    return count_up(seen, key, '', ARGV[first])
  elseif command == 'ZADD' or command == 'ZINCRBY' then
    for i = first, last, 2 do
      if not is_score(ARGV[i]) then return 'has a score that is no number: ' .. string.sub(ARGV[i], 1, 40) end
    end
  end
end

local function check_effect(effect, known)
  local kind, counts = KIND_OF[effect.command], COUNTS[effect.command]
  if not kind then return 'is no command for effects' end
  local count = effect.last - effect.first + 1
  if count < counts[1] or count > counts[2] or counts[3] and count % 2 == 1 then
    return 'has ' .. count .. ' arguments'
  end
  if not string.find(effect.key, '}:x:', 1, true) then return 'is not about a key of handlers' end
  local seen = looked_at(known, effect.key)
  if effect.command == 'UNLINK' then
    seen.kind, seen.made, seen.values = 'none', true, {}
    return nil
  end
  if seen.kind ~= 'none' and seen.kind ~= kind and effect.command ~= 'SET' then
    return 'is about a key that holds a ' .. seen.kind
  end
  if seen.kind ~= kind then seen.kind, seen.made, seen.values = kind, true, {} end
  return check_arguments(effect, seen)
end

-- The first effect that could not be carried out, counted from 1, and why; nothing if all can.
local function check_effects(effects) -- luacheck: ignore
  local known = {}
  for i, effect in ipairs(effects) do
    local why = check_effect(effect, known)
    if why then return i, why end
  end
end

local function run_effects(effects) -- luacheck: ignore
  for _, effect in ipairs(effects) do
    redis.call(effect.command, effect.key, unpack(ARGV, effect.first, effect.last))
  end
end
