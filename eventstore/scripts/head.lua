-- Shared by the scripts that look at a partition's head: included, not called.
--
-- KEYS / ARGV  none of its own
-- returns      function: must_be_numbers
-- errors       DAMAGED: a field of the head holds what no script of ours has written. Nothing is written.

-- `values` are those of the fields `names`; one that is missing is not looked at.
local function must_be_numbers(head_key, names, values) -- luacheck: ignore
  for i, name in ipairs(names) do
    if values[i] and not string.find(values[i], '^%d+$') then
      error(redis.error_reply('DAMAGED ' .. head_key .. ': ' .. name .. ' is no number'))
    end
  end
end
