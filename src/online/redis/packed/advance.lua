-- Moves the watermarks of buckets on that have no row in a batch.
-- KEYS: their hashes. ARGV: field, new watermark, the watermark that must be there ('' is any).
for place = 1, #KEYS do
  advance(KEYS[place], ARGV[1], ARGV[2], ARGV[3])
end
return #KEYS
