-- Idempotency keys of every change: what each stands for, and what was answered.
CREATE TABLE change_keys(
    actor_key   TEXT NOT NULL,
    idem_key    TEXT NOT NULL,
    -- The id of this use of the key; what an operation that takes time keeps in ops.idem_key.
    claim       TEXT NOT NULL,
    operation   TEXT NOT NULL,
    call        TEXT NOT NULL,
    -- Empty for a key of an earlier version: its body is not known any more.
    digest      TEXT NOT NULL,
    begun_ms    INTEGER NOT NULL,
    -- The start of the machine and the time since then, by which clocks that are set do not count.
    boot_id     TEXT NOT NULL,
    uptime_ms   INTEGER NOT NULL,
    -- running, answered, failed or unknown
    state       TEXT NOT NULL,
    answer_json TEXT,
    PRIMARY KEY(actor_key, idem_key)
) STRICT, WITHOUT ROWID;

INSERT INTO change_keys(actor_key, idem_key, claim, operation, call, digest, begun_ms, boot_id, uptime_ms, state)
SELECT actor_key, idem_key, idem_key,
       CASE WHEN kind = 'workflow' THEN 'execute_workflow' ELSE name || '_config' END,
       kind || ' ' || name, '', created_ms, '', 0, 'running'
FROM ops WHERE idem_key IS NOT NULL AND parent_op IS NULL AND actor_key <> 'recovery';
