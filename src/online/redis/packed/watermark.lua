-- Whether one decimal number is less than another. They may be larger than what Lua counts exactly, and Lua compares
-- texts by the server's language, so they are compared by length and then in two halves.
local function less(one, other)
  if #one ~= #other then return #one < #other end
  local high, other_high = tonumber(string.sub(one, 1, -11)) or 0, tonumber(string.sub(other, 1, -11)) or 0
  if high ~= other_high then return high < other_high end
  return tonumber(string.sub(one, -10)) < tonumber(string.sub(other, -10))
end

-- Moves the watermark of a bucket on to `last`, never back. Where it is not at `after` yet ('' is anywhere), rows of
-- before are missing here, and it stays.
local function advance(key, field, last, after)
  local at = redis.call('HGET', key, field)
  if after ~= '' and (not at or less(at, after)) then return end
  if not at or less(at, last) then redis.call('HSET', key, field, last) end
end

