-- Where streams stand in their partition, by halving their indexes: some 20 elements among a million.
--
-- KEYS  the index of each stream
-- ARGV  a version, a position, for each stream
-- returns for each: the position of the version before, 0 if there is none or it is archived; that of the version
--         itself, -1 if it is not appended yet, 0 if it is archived; the first version above the position, appended or
--         not, which is never an archived one
-- errors WRONGTYPE for a key that is no index
--
-- Element 0 of an index is the number of archived events, element n the position of version archived + n.

local found = {}
for i, index_key in ipairs(KEYS) do
  local version, position = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local archived = tonumber(redis.call('LINDEX', index_key, 0) or 0)
  local above = math.max(redis.call('LLEN', index_key), 1) -- the element behind the last
  local newest = archived + above - 1

  -- LINDEX takes what is below 0 for a place counted from the end
  local function place_of(which)
    if which <= archived then return 0 end
    if which > newest then return -1 end
    return tonumber(redis.call('LINDEX', index_key, which - archived))
  end

  local below = 0
  while above - below > 1 do
    local middle = math.floor((below + above) / 2)
    if tonumber(redis.call('LINDEX', index_key, middle)) <= position then below = middle else above = middle end
  end
  found[3 * i - 2], found[3 * i - 1], found[3 * i] = place_of(version - 1), place_of(version), archived + above
end
return found
