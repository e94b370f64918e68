-- Shared by the scripts that note ids of events for the duplicate window: included, not called.
--
-- KEYS / ARGV  none of its own
-- returns      function: bucket_to_note_in
-- errors       none

-- The bucket, 0 or 1, into which ids are noted now, and its age: the one in use (`bucket`, `age`, noted in for the last
-- time at `at`), or the other one, emptied, when that has become old. It is emptied by its age, never by TIME itself: a
-- clock that jumps would empty it at once.
local function bucket_to_note_in(bucket_keys, window, now, bucket, age, at) -- luacheck: ignore
  age = tonumber(age) + math.min(math.max(now - tonumber(at), 0), window / 8)
  if age >= 1.25 * window then
    bucket, age = bucket == '0' and '1' or '0', 0
    redis.call('UNLINK', bucket_keys[bucket + 1])
    redis.call('HSET', bucket_keys[bucket + 1], '', '')
  end
  return bucket, age
end
