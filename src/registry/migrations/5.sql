-- Other builds of plugins that run beside the applied ones, for comparison.
CREATE TABLE shadows (
    view       TEXT    PRIMARY KEY,
    plugin     TEXT    NOT NULL, -- as the view's definition names it
    digest     BLOB    NOT NULL REFERENCES plugins (digest),
    share      REAL    NOT NULL, -- of the live calls
    started_by TEXT    NOT NULL,
    started_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
