-- Writes rows; the one with the later (event time, created time) stays, of rows of one stream that tie the one from
-- further on, of other ties the one that comes last. What KEYS and ARGV are is said at `Format::script`.
-- ARGV[1] is the join keys of the rows. Each row has its event time, its created time ('' for none), its partition and
-- offset ('' for none), and its row field.
-- `keeps_ties` is set by who loads this: then the stored row of a tie stays, and only what other columns or another
-- transform made is replaced; and so does what another program has written without a row field.

-- Whole numbers in decimal, of any length; Lua's own are exact to 2^53 only. Nothing is before every number.
local function compare(one, other)
  if one == other then return 0 end
  if one == '' then return -1 end
  if other == '' then return 1 end
  local one_negative, other_negative = one:sub(1, 1) == '-', other:sub(1, 1) == '-'
  if one_negative ~= other_negative then return one_negative and -1 or 1 end
  if one_negative then one, other = other:sub(2), one:sub(2) end
  if #one ~= #other then return #one < #other and -1 or 1 end
  return one < other and -1 or 1
end

local function number(row, name)
  return row:match('"' .. name .. '"%s*:%s*(%-?%d+)') or ''
end

local function made_by(row)
  return (row:match('"schema"%s*:%s*"([^"]*)"') or '') .. '/' .. (row:match('"digest"%s*:%s*"([^"]*)"') or '')
end

-- Whether the stored row of a tie stays. One that names no schema is another program's.
local function tie_stays(stored, arriving)
  if not keeps_ties then return false end
  return stored:find('"deleted"%s*:%s*true') or made_by(stored) == '/' or made_by(stored) == made_by(arriving)
end

-- A row of other join keys describes something else, and a field that is no row's is nothing: both are replaced.
local function is_newer(row, keys, event, created, partition, offset, arriving)
  local stored_keys = row:match('"keys"%s*:%s*"([^"]*)"')
  local stored_event = number(row, 'event_time_us')
  if (stored_keys and stored_keys ~= keys) or stored_event == '' then return false end
  local order = compare(stored_event, event)
  if order == 0 then order = compare(number(row, 'created_time_us'), created) end
  local stored_partition, stored_offset = number(row, 'partition'), number(row, 'offset')
  if order == 0 and offset ~= '' and stored_offset ~= '' then
    order = compare(stored_partition, partition)
    if order == 0 then order = compare(stored_offset, offset) end
  end
  return order > 0 or (order == 0 and tie_stays(row, arriving))
end

local keys, row_field, expire, features = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at, written = 5 + features, 0

-- Whether another program has put a feature there.
local function has_features(key)
  if redis.call('EXISTS', key) == 0 then return false end
  for feature = 1, features do
    if redis.call('HEXISTS', key, ARGV[4 + feature]) == 1 then return true end
  end
  return false
end

for _, key in ipairs(KEYS) do
  local is_row = ARGV[at] == 'w'
  local stored = redis.call('HGET', key, row_field)
  local stays = keeps_ties and not stored and has_features(key)
  if stored then
    stays = is_newer(stored, keys, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
  end
  if not stays then
    written = written + 1
    redis.call('HSET', key, row_field, ARGV[at + 5])
    local fields = {}
    for feature = 1, features do
      fields[#fields + 1] = ARGV[4 + feature]
      if is_row then fields[#fields + 1] = ARGV[at + 5 + feature] end
      -- Lua passes on a bounded number of arguments at once.
      if #fields >= 2000 then
        redis.call(is_row and 'HSET' or 'HDEL', key, unpack(fields))
        fields = {}
      end
    end
    if #fields > 0 then redis.call(is_row and 'HSET' or 'HDEL', key, unpack(fields)) end
    if expire > 0 then redis.call('EXPIRE', key, expire) end
  end
  at = at + 6
  if is_row then at = at + features end
end
return written
