-- Writes rows as Feast does: a row is skipped when its time is not later than the one that is there.
-- What KEYS and ARGV are is said at `Format::script`; each row has its time, a google.protobuf.Timestamp.

-- Seconds and nanoseconds. Times before 1970 are as good as none, which is how Feast counts them; so is what is no time.
local function moment(bytes)
  local parts, at = {0, 0}, 1
  while at <= #bytes do
    local number, value, scale = math.floor(bytes:byte(at) / 8), 0, 1
    repeat
      at = at + 1
      local byte = bytes:byte(at)
      if not byte or not parts[number] or scale > 2 ^ 56 then return 0, 0 end
      value = value + byte % 128 * scale
      scale = scale * 128
    until byte < 128
    parts[number] = value
    at = at + 1
  end
  return parts[1], parts[2]
end

local row_field, expire, features = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local at, written = 4 + features, 0

local function is_empty(key)
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if field:sub(1, 4) == '_ts:' then return false end
  end
  return true
end

for _, key in ipairs(KEYS) do
  local is_row, time = ARGV[at] == 'w', ARGV[at + 1]
  local seconds, nanos = moment(time)
  local stored_seconds, stored_nanos = moment(redis.call('HGET', key, row_field) or '')
  local has_time = stored_seconds ~= 0 or stored_nanos ~= 0
  local is_later = seconds > stored_seconds or (seconds == stored_seconds and nanos > stored_nanos)
  if is_later or not has_time then
    written = written + 1
    local fields = {row_field}
    if is_row then fields[2] = time end
    for feature = 1, features do
      fields[#fields + 1] = ARGV[3 + feature]
      if is_row then fields[#fields + 1] = ARGV[at + 1 + feature] end
      -- Lua passes on a bounded number of arguments at once.
      if #fields >= 2000 then
        redis.call(is_row and 'HSET' or 'HDEL', key, unpack(fields))
        fields = {}
      end
    end
    if #fields > 0 then redis.call(is_row and 'HSET' or 'HDEL', key, unpack(fields)) end
    if not is_row then
      if is_empty(key) then redis.call('DEL', key) end
    elseif expire > 0 then
      redis.call('EXPIRE', key, expire)
    end
  end
  at = at + 2
  if is_row then at = at + features end
end
return written
