-- What is known of each config version beside its file. Numbers are never used twice.
CREATE TABLE config_versions(
    version       INTEGER PRIMARY KEY,
    sha256        TEXT NOT NULL,
    file          TEXT NOT NULL,
    op_id         TEXT NOT NULL,
    reason        TEXT NOT NULL,
    actor_key     TEXT NOT NULL,
    restored_from INTEGER,
    lines         INTEGER NOT NULL,
    created_ms    INTEGER NOT NULL,
    -- When HEAD first named it; NULL for a candidate that never was committed.
    committed_ms  INTEGER
) STRICT;
