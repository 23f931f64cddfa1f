-- What came of the expectations of a view at each run of sync.
ALTER TABLE sync_runs ADD COLUMN rows_quarantined INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_runs ADD COLUMN expectations TEXT; -- JSON; null where there were none, and in runs of before
