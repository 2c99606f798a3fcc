CREATE TABLE meta(
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events(
    seq      INTEGER PRIMARY KEY,
    at_us    INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    severity TEXT NOT NULL,
    body     TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_kind ON events(kind, seq);
