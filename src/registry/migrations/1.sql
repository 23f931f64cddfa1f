-- What was applied, one row per version, newest has the highest number.
CREATE TABLE versions (
    number       INTEGER PRIMARY KEY,
    project      TEXT    NOT NULL,
    catalog_hash BLOB    NOT NULL CHECK (length(catalog_hash) = 32),
    applied_by   TEXT    NOT NULL,
    applied_at   INTEGER NOT NULL, -- µs since 1970 UTC, as every time here
    summary      TEXT    NOT NULL  -- JSON array of lines
) STRICT;

-- The definition files of a version, in the order in which they were given.
CREATE TABLE definitions (
    version  INTEGER NOT NULL REFERENCES versions (number),
    position INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    text     TEXT    NOT NULL,
    PRIMARY KEY (version, position)
) STRICT, WITHOUT ROWID;

-- The bytes of every plugin that any version used, once each.
CREATE TABLE plugins (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    bytes  BLOB NOT NULL
) STRICT;

CREATE TABLE version_plugins (
    version  INTEGER NOT NULL REFERENCES versions (number),
    position INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    digest   BLOB    NOT NULL REFERENCES plugins (digest),
    PRIMARY KEY (version, position)
) STRICT, WITHOUT ROWID;

-- How far each view is synced.
CREATE TABLE sync_progress (
    view         TEXT    PRIMARY KEY,
    synced_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sync_runs (
    id               INTEGER PRIMARY KEY,
    view             TEXT    NOT NULL,
    range            TEXT    NOT NULL,
    started_at       INTEGER NOT NULL,
    seconds          REAL    NOT NULL,
    rows_read        INTEGER NOT NULL,
    rows_latest      INTEGER NOT NULL,
    rows_written     INTEGER NOT NULL,
    rows_older       INTEGER NOT NULL,
    rows_without_key INTEGER NOT NULL,
    failure          TEXT             -- null where the run finished
) STRICT;

CREATE INDEX sync_runs_by_view ON sync_runs (view, id);
