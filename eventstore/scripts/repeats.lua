-- What was written before: the receipts of a repeated append, or why it cannot be one. Included by append.lua.
--
-- KEYS / ARGV  those of append.lua
-- returns      a function, made by `repeats` from the positions of the ids that are known and from what returns the
--              list of epochs: of an append that was written before its verdict, of another one nil. It only reads.
-- errors       what cannot be looked at, to be caught
--
-- PROTOCOLS: checks 1 and 2 of section 0.

local function repeats(known, epochs_of_log, epoch_at) -- luacheck: ignore
  local HEADER = 15 -- bytes before the id in a stored value: u8 format, u64 recorded_at, u48 version
  local log_key, call, sub = KEYS[2], redis.call, string.sub

  local function epoch_of(at)
    return epoch_at(epochs_of_log(), at) or error('no epoch is noted for position ' .. string.format('%d', at), 0)
  end

  local function stored_at(at)
    local id = epoch_of(at) .. '-' .. string.format('%d', at)
    local entry = call('XRANGE', log_key, id, id)[1]
    return entry and entry[2][2] or error('entry ' .. id .. ' is missing', 0)
  end

  -- id, length and content are one run of bytes, equal in what is stored and what is sent
  local function same(stored, sent)
    local length = 20 + struct.unpack('>I4', sent, 17)
    return sub(stored, HEADER + 1, HEADER + length) == sub(sent, 1, length)
  end

  local function same_id(stored, sent)
    return sub(stored, HEADER + 1, HEADER + 16) == sub(sent, 1, 16)
  end

  local function stream_of(stored)
    local content = struct.unpack('>I4', stored, HEADER + 17)
    local at = HEADER + 21 + content
    return sub(stored, at + 2, at + 1 + struct.unpack('>I2', stored, at))
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
      local at = known[sub(ARGV[part.first + j], 1, 16)]
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
      append.looked_at = i
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

  return repeated_in_all
end
