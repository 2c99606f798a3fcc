-- What is watched besides the built-in parts, and where each stands (streaks survive a restart).
CREATE TABLE health_components(
    id    TEXT PRIMARY KEY,
    spec  TEXT,
    state TEXT
) STRICT, WITHOUT ROWID;

-- Short numbers for long names.
CREATE TABLE health_keys(
    id        INTEGER PRIMARY KEY,
    component TEXT NOT NULL,
    metric    TEXT NOT NULL,
    unit      TEXT NOT NULL,
    UNIQUE(component, metric)
) STRICT;

-- Single measurements, kept for a day.
CREATE TABLE health_points(
    key   INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY(key, at_ms)
) STRICT, WITHOUT ROWID;

-- By minute (60), hour (3600) and day (86400).
CREATE TABLE health_rollups(
    key   INTEGER NOT NULL,
    span  INTEGER NOT NULL,
    at_s  INTEGER NOT NULL,
    count INTEGER NOT NULL,
    sum   REAL NOT NULL,
    min   REAL NOT NULL,
    max   REAL NOT NULL,
    PRIMARY KEY(key, span, at_s)
) STRICT, WITHOUT ROWID;

-- Latencies of successful checks by hour, mergeable.
CREATE TABLE health_latencies(
    component TEXT NOT NULL,
    at_s      INTEGER NOT NULL,
    buckets   BLOB NOT NULL,
    PRIMARY KEY(component, at_s)
) STRICT, WITHOUT ROWID;

-- From this moment on a component (or `system`) had this status. level: 0 to 3, NULL unknown.
CREATE TABLE health_transitions(
    seq         INTEGER PRIMARY KEY,
    component   TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    level       INTEGER,
    maintenance INTEGER NOT NULL,
    reason      TEXT
) STRICT;

CREATE INDEX health_transitions_by_component ON health_transitions(component, seq);

CREATE TABLE health_alerts(
    id          TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    opened_ms   INTEGER NOT NULL,
    closed_ms   INTEGER,
    body        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- At most one open alert per fingerprint.
CREATE UNIQUE INDEX health_alerts_open ON health_alerts(fingerprint) WHERE closed_ms IS NULL;
CREATE INDEX health_alerts_by_time ON health_alerts(opened_ms);

-- Notices on their way; written in the transaction of the transition they tell of.
CREATE TABLE health_outbox(
    seq          INTEGER PRIMARY KEY,
    key          TEXT NOT NULL UNIQUE,
    receiver     TEXT NOT NULL,
    created_ms   INTEGER NOT NULL,
    delivered_ms INTEGER,
    dead_ms      INTEGER,
    body         TEXT NOT NULL
) STRICT;

CREATE INDEX health_outbox_open ON health_outbox(receiver, seq) WHERE delivered_ms IS NULL AND dead_ms IS NULL;

-- Silences, maintenance windows, recovery and its budget, the monitoring config: small things by name.
CREATE TABLE health_things(
    kind TEXT NOT NULL,
    id   TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY(kind, id)
) STRICT, WITHOUT ROWID;
