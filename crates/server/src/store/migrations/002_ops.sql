-- Config transactions and workflow runs: one table, so that one lock and one idempotency index hold for both.
CREATE TABLE ops(
    op_id       TEXT PRIMARY KEY,
    kind        TEXT NOT NULL CHECK(kind IN ('config', 'workflow')),
    name        TEXT NOT NULL,
    def_sha     TEXT NOT NULL,
    params_json TEXT NOT NULL,
    state       TEXT NOT NULL,
    -- 1 until the state is terminal.
    live        INTEGER NOT NULL CHECK(live IN (0, 1)),
    -- What it excludes others from while it is live; NULL while it waits in a queue, or under a parent's lock.
    lock_key    TEXT,
    parent_op   TEXT REFERENCES ops(op_id),
    actor_key   TEXT NOT NULL,
    actor_json  TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    idem_key    TEXT,
    idem_digest TEXT,
    deadline_ms INTEGER,
    recoveries  INTEGER NOT NULL DEFAULT 0,
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    result_json TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX one_live ON ops(lock_key) WHERE lock_key IS NOT NULL AND live = 1;
CREATE UNIQUE INDEX one_per_idem_key ON ops(actor_key, idem_key) WHERE idem_key IS NOT NULL;
CREATE INDEX ops_by_name ON ops(kind, name, created_ms);
CREATE INDEX live_ops ON ops(kind, created_ms) WHERE live = 1;

CREATE TABLE op_events(
    op_id TEXT NOT NULL REFERENCES ops(op_id),
    seq   INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    type  TEXT NOT NULL,
    json  TEXT NOT NULL,
    PRIMARY KEY(op_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE timers(
    op_id  TEXT NOT NULL REFERENCES ops(op_id),
    kind   TEXT NOT NULL,
    due_ms INTEGER NOT NULL,
    PRIMARY KEY(op_id, kind)
) STRICT, WITHOUT ROWID;

-- Audit lines that are committed but perhaps not yet in the audit file.
CREATE TABLE audit_outbox(
    seq  INTEGER PRIMARY KEY,
    line TEXT NOT NULL
) STRICT;
