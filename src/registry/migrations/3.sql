-- The answers of feature services, as texts that the registry does not read; each text once.
CREATE TABLE service_shapes (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32), -- of the text
    shape  TEXT NOT NULL
) STRICT;

-- Which answer a service had in a version.
CREATE TABLE version_services (
    service TEXT    NOT NULL,
    version INTEGER NOT NULL REFERENCES versions (number),
    shape   BLOB    NOT NULL REFERENCES service_shapes (digest),
    PRIMARY KEY (service, version)
) STRICT, WITHOUT ROWID;

-- Versions that were recorded before there was such a table lack their services until somebody who can read their
-- definitions adds them.
ALTER TABLE versions ADD COLUMN has_services INTEGER NOT NULL DEFAULT 0;
