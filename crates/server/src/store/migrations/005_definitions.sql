-- Workflow definitions that were run or loaded, by the hash of their file.
CREATE TABLE definitions(
    sha256  TEXT PRIMARY KEY,
    id      TEXT NOT NULL,
    -- The file in the data folder; empty for those that come with the binary.
    file    TEXT NOT NULL,
    json    TEXT NOT NULL,
    kept_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
