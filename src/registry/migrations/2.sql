-- What else is known of a run of sync.
ALTER TABLE sync_runs ADD COLUMN range_from INTEGER;              -- null where it began at the beginning
ALTER TABLE sync_runs ADD COLUMN range_until INTEGER;             -- null in runs of before
ALTER TABLE sync_runs ADD COLUMN rows_in_future INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_runs ADD COLUMN rows_failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_runs ADD COLUMN rows_reused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_runs ADD COLUMN rows_read_again INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_runs ADD COLUMN bytes_written INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_runs ADD COLUMN bytes_spooled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_runs ADD COLUMN newest_event_time INTEGER;       -- null where no row counted
ALTER TABLE sync_runs ADD COLUMN nulls TEXT NOT NULL DEFAULT '[]';  -- JSON array of [feature, rows without a value]
ALTER TABLE sync_runs ADD COLUMN snapshot TEXT;                   -- JSON; what the source consisted of
ALTER TABLE sync_runs ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0; -- 1 where the run can be gone on with

-- Who may do something that one gateway at a time may do, and until when.
CREATE TABLE leases (
    name  TEXT    PRIMARY KEY,
    owner TEXT    NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- When each view that has a schedule is synced next.
CREATE TABLE sync_schedules (
    view     TEXT    PRIMARY KEY,
    next_at  INTEGER NOT NULL,
    failures INTEGER NOT NULL, -- in a row, none after a run that finished
    failure  TEXT              -- of the last run
) STRICT, WITHOUT ROWID;

-- What is known of the online rows of each view.
CREATE TABLE view_freshness (
    view              TEXT    PRIMARY KEY,
    newest_event_time INTEGER NOT NULL,
    coverage          REAL    NOT NULL  -- of the values of the last run that brought rows, the share that is not null
) STRICT, WITHOUT ROWID;

-- Copies of online rows into offline tables, so that one that is made again is cut into the same batches.
CREATE TABLE online_snapshots (
    id     TEXT    PRIMARY KEY,
    view   TEXT    NOT NULL,
    source TEXT    NOT NULL,
    groups INTEGER NOT NULL  -- batches into which its keys are cut
) STRICT, WITHOUT ROWID;
