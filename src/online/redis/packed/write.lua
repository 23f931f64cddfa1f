-- Keeps the newest row of each key: the same rule as `Version::stays_before` in src/online/packed/newer.rs, over the
-- bytes that docs/packed-rows.md describes.
-- KEYS: with a watermark its hash first; then one key per row.
-- ARGV: ms that rows stay, ms that tombstones stay ('' is for ever), field of the watermark ('' is none), new
--   watermark, the watermark that must be there ('' is any); then one row per key.
-- `keeps_ties` is set by who loads this: then the stored row of a tie stays, and only what other columns or another
--   transform made is replaced; so a copy of rows never undoes what was written to both places.
-- Gives {written, older}; and as a third a key that holds something else than a row, at which it stopped.
local unpack, byte, sub, call = struct.unpack, string.byte, string.sub, redis.call
local rows_ms, tombstones_ms, field = ARGV[1], ARGV[2], ARGV[3]
local before = field == '' and 0 or 1

-- Whether the stored row stays; `old` is its header. What only looks like a row, and a row of other entities, does not.
-- Times are compared in halves, because Lua's numbers are exact to 53 bits.
local function stays(key, old, new)
  if #old < 34 or byte(old, 2) > 7 or sub(old, 3, 5) ~= sub(new, 3, 5) then return false end
  local old_event, old_event_high, old_created, old_created_high = unpack('<I4i4I4i4', old, 19)
  local new_event, new_event_high, new_created, new_created_high = unpack('<I4i4I4i4', new, 19)
  if old_event_high ~= new_event_high then return old_event_high > new_event_high end
  if old_event ~= new_event then return old_event > new_event end
  if old_created_high ~= new_created_high then return old_created_high > new_created_high end
  if old_created ~= new_created then return old_created > new_created end
  local ties_stay = keeps_ties and (byte(old, 2) > 3 or sub(old, 3, 18) == sub(new, 3, 18))
  if bit.band(byte(old, 2), byte(new, 2), 2) == 0 then return ties_stay end
  local old_partition, old_offset, old_offset_high = unpack('<I4I4I4', call('GETRANGE', key, '-12', '-1'))
  local new_partition, new_offset, new_offset_high = unpack('<I4I4I4', new, #new - 11)
  if old_partition ~= new_partition then return old_partition > new_partition end
  if old_offset_high ~= new_offset_high then return old_offset_high > new_offset_high end
  if old_offset ~= new_offset then return old_offset > new_offset end
  return ties_stay
end

local written, older = 0, 0
for place = 1, #KEYS - before do
  local key, new = KEYS[place + before], ARGV[place + 5]
  local old = redis.pcall('GETRANGE', key, '0', '33')
  if type(old) == 'table' then
    if string.find(old.err, '^WRONGTYPE') then return { written, older, key } end
    return old
  end
  if old ~= '' and byte(old, 1) ~= 1 then return { written, older, key } end
  if old ~= '' and stays(key, old, new) then
    older = older + 1
  else
    local ms = byte(new, 2) > 3 and tombstones_ms or rows_ms
    if ms == '' then
      call('SET', key, new)
    else
      call('SET', key, new, 'PX', ms)
    end
    written = written + 1
  end
end
if before == 1 then advance(KEYS[1], field, ARGV[4], ARGV[5]) end
return { written, older }
