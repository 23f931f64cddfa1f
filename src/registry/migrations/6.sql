-- What travels beside a plugin: its signature, its golden cases and the report of its tests, as texts that the registry
-- does not read. Null where it came without them, and in versions of before.
ALTER TABLE plugins ADD COLUMN signature TEXT;
ALTER TABLE plugins ADD COLUMN goldens TEXT;
ALTER TABLE plugins ADD COLUMN report TEXT;
