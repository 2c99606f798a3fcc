-- What belongs together, made from the journal up to the number that `meta` keeps under `incidents`.
CREATE TABLE incidents(
    first_seq INTEGER PRIMARY KEY,
    began_ms INTEGER NOT NULL,
    is_over INTEGER NOT NULL,
    ended_ms INTEGER,
    body TEXT NOT NULL,
    timeline TEXT NOT NULL
) STRICT;
CREATE INDEX incidents_open ON incidents(first_seq) WHERE is_over = 0;
