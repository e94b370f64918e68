-- Shared by the scripts that change rows of detached streams: included, not called.
--
-- KEYS / ARGV  none of its own
-- returns      functions: in_chunks, parse_row, write_rows, mirror_rows
-- errors       none
--
-- The hash of rows is the truth. What a group's pending list shows of it is a mirror: consumer `retrying` or `parked`,
-- delivery count = attempts, for the entry that a row waits at. To XCLAIM a trimmed entry removes it from the list.

local CHUNK = 4000 -- words of one redis.call: `unpack` ends near 8,000, and would end the script midway
local SHOWN_AS = { r = 'retrying', p = 'parked' }

-- One command with any number of words behind its key; an even number, where they are pairs.
local function in_chunks(command, key, words) -- luacheck: ignore
  for first = 1, #words, CHUNK do
    redis.call(command, key, unpack(words, first, math.min(first + CHUNK - 1, #words)))
  end
end

-- 'next state attempts due fin pending'; nil for what is no row
local function parse_row(packed) -- luacheck: ignore
  local following, state, attempts, due, fin, pending =
    string.match(packed, '^(%d+) ([crp]) (%d+) (%d+) (%d+) (%S+)$')
  return following and {
    following = tonumber(following), state = state, attempts = attempts, due = due, fin = tonumber(fin),
    pending = pending,
  }
end

-- Each of `rows` is { stream, packed, new, old, gone, failure }: as it was sent and as it was stored (old: nil if it
-- was not); whether it leaves the table; why it fails, '' for what is noted already.
local function write_rows(rows, detached_key, due_key, errors_key) -- luacheck: ignore
  local kept, gone, due, no_longer_due, failures, no_longer_failing = {}, {}, {}, {}, {}, {}
  for _, row in ipairs(rows) do
    local stream, new, old = row[1], row.new, row.old
    if not row.gone then
      kept[#kept + 1] = stream
      kept[#kept + 1] = row[2]
    elseif old then
      gone[#gone + 1] = stream
    end
    if new.state == 'r' then
      due[#due + 1] = new.due
      due[#due + 1] = stream
    elseif old and old.state == 'r' then
      no_longer_due[#no_longer_due + 1] = stream
    end
    if new.state == 'c' then
      if old and old.state ~= 'c' then no_longer_failing[#no_longer_failing + 1] = stream end
    elseif row.failure ~= '' then
      failures[#failures + 1] = stream
      failures[#failures + 1] = row.failure
    end
  end
  in_chunks('HSET', detached_key, kept)
  in_chunks('HDEL', detached_key, gone)
  in_chunks('ZADD', due_key, due)
  in_chunks('ZREM', due_key, no_longer_due)
  in_chunks('HSET', errors_key, failures)
  in_chunks('HDEL', errors_key, no_longer_failing)
end

-- The last thing that a script does, and by pcall: a mirror ends no script midway.
local function mirror_rows(rows, log_key, group) -- luacheck: ignore
  for _, row in ipairs(rows) do
    local new, old = row.new, row.old
    local shown = new.state ~= 'c' and new.pending or '-'
    if old and old.pending ~= '-' and old.pending ~= shown then
      redis.pcall('XACK', log_key, group, old.pending)
    end
    if shown ~= '-' and not (old and old.pending == shown and old.state == new.state and old.attempts == new.attempts)
    then
      redis.pcall('XCLAIM', log_key, group, SHOWN_AS[new.state], '0', shown, 'FORCE', 'RETRYCOUNT', new.attempts,
        'JUSTID')
    end
  end
end
