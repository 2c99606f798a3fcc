//! The log of operations that take time: config transactions and workflow runs, rows of one table.
//!
//! Every function works inside one store closure (`store.write(|connection| …)`), so that a feature can change a row,
//! append its event and queue an audit line in one durable step. Kept from users: the SQL, the order of events, and
//! two promises that hold for both kinds together:
//!
//! - **Lock.** At most one live row holds a lock key (a partial unique index, nothing to release). A row that waits
//!   in a queue holds none until [`take_lock`]; a transaction started by a workflow carries `parent_op` and no lock:
//!   its parent holds it. A row that is no longer live holds nothing.
//! - **Idempotency.** A key of an actor names one operation for 24 hours, across restarts. The same digest replays
//!   the row, another digest is refused.
//!
//! Deliberately absent: states and what they mean. Each kind has its own words; here a row is live or it is not.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::store::StoreAbort;
use botops_contract::BotId;
use botops_core::error::{Code, Error};
use botops_http::Actor;

/// How long an idempotency key names its operation.
const IDEMPOTENCY_MS: i64 = 24 * 3_600 * 1_000;

/// What kind of operation a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// A config transaction.
    Config,
    /// A workflow run.
    Workflow,
}

impl OperationKind {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Workflow => "workflow",
        }
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who started an operation, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredActor {
    /// The key's name.
    pub key_id: String,
    /// The request that started it.
    pub request_id: String,
    /// What the client said it is.
    #[serde(default)]
    pub client: Option<String>,
}

/// Who starts an operation that nobody asked for.
const RECOVERY: &str = "recovery";

impl StoredActor {
    /// Recovery, by itself.
    pub fn recovery(request_id: String) -> Self {
        Self { key_id: RECOVERY.to_owned(), request_id, client: None }
    }

    /// True when nobody asked for it.
    pub fn is_recovery(&self) -> bool {
        self.key_id == RECOVERY
    }
}

impl From<&Actor> for StoredActor {
    fn from(actor: &Actor) -> Self {
        Self {
            key_id: actor.key_id.to_string(),
            request_id: actor.request_id.to_string(),
            client: actor.client.as_deref().map(str::to_owned),
        }
    }
}

/// An operation that wants in.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Its id, new.
    pub op_id: String,
    /// Config or workflow.
    pub kind: OperationKind,
    /// The workflow's id, or `apply` and `rollback`.
    pub name: String,
    /// Hash of the definition it runs by; of the candidate document for config.
    pub def_sha: String,
    /// What it was asked to do.
    pub params: Value,
    /// Its first state; the row is live.
    pub state: String,
    /// What it excludes others from; `None` for a queued run and under a parent.
    pub lock_key: Option<String>,
    /// The workflow run that started it.
    pub parent_op: Option<String>,
    /// Who wants it.
    pub actor: StoredActor,
    /// The caller's idempotency key and the digest of everything it stands for.
    pub idempotency: Option<(String, String)>,
    /// When it must have ended.
    pub deadline_ms: Option<i64>,
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRow {
    /// Its id.
    pub op_id: String,
    /// Config or workflow.
    pub kind: OperationKind,
    /// The workflow's id, or `apply` and `rollback`.
    pub name: String,
    /// Hash of the definition it runs by.
    pub def_sha: String,
    /// What it was asked to do.
    pub params: Value,
    /// Its state, in its kind's words.
    pub state: String,
    /// False once the state is terminal.
    pub live: bool,
    /// What it excludes others from while it is live.
    pub lock_key: Option<String>,
    /// The workflow run that started it.
    pub parent_op: Option<String>,
    /// Who wanted it.
    pub actor: StoredActor,
    /// When it must have ended.
    pub deadline_ms: Option<i64>,
    /// How often it was taken up again after a restart.
    pub recoveries: u32,
    /// When it was admitted.
    pub created_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
    /// What came of it so far.
    pub result: Value,
}

/// One thing that happened to an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationEvent {
    /// Counts from 1 within the operation.
    pub seq: u64,
    /// When.
    pub at_ms: i64,
    /// What, in the kind's words.
    pub kind: String,
    /// The facts.
    pub data: Value,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationAdmission {
    /// The row is written and holds its lock.
    Admitted,
    /// The same request came before; this is what it started.
    Replay(Box<OperationRow>),
    /// Another operation holds the lock; nothing was written.
    Held(Box<OperationRow>),
}

/// A move of a row.
#[derive(Debug, Clone)]
pub struct OperationChange {
    /// The new state.
    pub state: String,
    /// False when the new state is terminal: the lock is free.
    pub live: bool,
    /// Replaces what came of it so far.
    pub result: Option<Value>,
    /// Replaces the deadline.
    pub deadline_ms: Option<i64>,
}

/// The lock of everything that changes this bot.
pub fn bot_lock(bot: &BotId) -> String {
    format!("bot:{bot}")
}

/// Milliseconds since 1970, the table's clock.
pub fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Writes the row, unless its idempotency key was used or its lock is held. Its first event is `admitted`.
///
/// # Errors
/// [`Code::IdempotencyMismatch`] when the key stands for another request.
pub fn admit(connection: &Connection, new: &NewOperation) -> Result<OperationAdmission, StoreAbort> {
    if let Some((key, digest)) = &new.idempotency
        && let Some(earlier) = replay(connection, &new.actor.key_id, key, digest)?
    {
        return Ok(OperationAdmission::Replay(Box::new(earlier)));
    }
    if let Some(lock) = &new.lock_key
        && let Some(holder) = holder(connection, lock)?
    {
        return Ok(OperationAdmission::Held(Box::new(holder)));
    }
    let now = now_ms();
    if let Some((key, _)) = &new.idempotency {
        // An old use of the key has had its time.
        connection
            .prepare_cached(
                "UPDATE ops SET idem_key = NULL, idem_digest = NULL WHERE actor_key = ?1 AND idem_key = ?2",
            )?
            .execute(params![new.actor.key_id, key])?;
    }
    let (idem_key, idem_digest) = new.idempotency.clone().unzip();
    connection
        .prepare_cached(
            "INSERT INTO ops(op_id, kind, name, def_sha, params_json, state, live, lock_key, parent_op, actor_key,
                             actor_json, request_id, idem_key, idem_digest, deadline_ms, created_ms, updated_ms)
             VALUES(:op_id, :kind, :name, :def_sha, :params, :state, 1, :lock_key, :parent_op, :actor_key,
                    :actor, :request_id, :idem_key, :idem_digest, :deadline, :now, :now)",
        )?
        .execute(named_params! {
            ":op_id": new.op_id, ":kind": new.kind.as_str(), ":name": new.name, ":def_sha": new.def_sha,
            ":params": new.params.to_string(), ":state": new.state, ":lock_key": new.lock_key,
            ":parent_op": new.parent_op, ":actor_key": new.actor.key_id, ":actor": text(&new.actor),
            ":request_id": new.actor.request_id, ":idem_key": idem_key, ":idem_digest": idem_digest,
            ":deadline": new.deadline_ms, ":now": now,
        })?;
    append(connection, &new.op_id, "admitted", &serde_json::json!({"state": new.state}))?;
    Ok(OperationAdmission::Admitted)
}

/// What an idempotency key started, if it did inside its time. Only reads.
///
/// # Errors
/// [`Code::IdempotencyMismatch`] when the key stands for another request.
pub fn replay(
    connection: &Connection,
    actor_key: &str,
    idem_key: &str,
    digest: &str,
) -> Result<Option<OperationRow>, StoreAbort> {
    let found: Option<(String, String)> = connection
        .prepare_cached(
            "SELECT op_id, idem_digest FROM ops
             WHERE actor_key = ?1 AND idem_key = ?2 AND (live = 1 OR created_ms >= ?3)",
        )?
        .query_row(params![actor_key, idem_key, now_ms() - IDEMPOTENCY_MS], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((op_id, known)) if known == digest => Ok(load(connection, &op_id)?),
        Some((op_id, _)) => {
            Err(Error::new(Code::IdempotencyMismatch).context("first_operation", op_id).into())
        }
    }
}

/// Gives a waiting row its lock, or says who holds it.
///
/// # Errors
/// Only the store's.
pub fn take_lock(
    connection: &Connection,
    op_id: &str,
    lock_key: &str,
) -> Result<Option<OperationRow>, StoreAbort> {
    if let Some(holder) = holder(connection, lock_key)?
        && holder.op_id != op_id
    {
        return Ok(Some(holder));
    }
    connection
        .prepare_cached("UPDATE ops SET lock_key = ?2, updated_ms = ?3 WHERE op_id = ?1 AND live = 1")?
        .execute(params![op_id, lock_key, now_ms()])?;
    Ok(None)
}

/// The live row that holds a lock.
///
/// # Errors
/// Only the store's.
pub fn holder(connection: &Connection, lock_key: &str) -> rusqlite::Result<Option<OperationRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM ops WHERE lock_key = ?1 AND live = 1"))?
        .query_row([lock_key], read)
        .optional()
}

/// Moves a row on and appends an event that says why. A row that is no longer live does not move: false.
///
/// # Errors
/// Only the store's.
pub fn advance(
    connection: &Connection,
    op_id: &str,
    to: &OperationChange,
    event: &str,
    data: &Value,
) -> rusqlite::Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE ops SET state = ?2, live = ?3, result_json = coalesce(?4, result_json),
                            deadline_ms = coalesce(?5, deadline_ms), updated_ms = ?6
             WHERE op_id = ?1 AND live = 1",
        )?
        .execute(params![
            op_id,
            to.state,
            to.live,
            to.result.as_ref().map(Value::to_string),
            to.deadline_ms,
            now_ms()
        ])?;
    if changed == 0 {
        return Ok(false);
    }
    append(connection, op_id, event, data)?;
    Ok(true)
}

/// Notes that a row is taken up again after a restart; returns how often it was, this time included.
///
/// # Errors
/// Only the store's.
pub fn note_recovery(connection: &Connection, op_id: &str) -> rusqlite::Result<u32> {
    connection
        .prepare_cached("UPDATE ops SET recoveries = recoveries + 1 WHERE op_id = ?1 RETURNING recoveries")?
        .query_row([op_id], |row| row.get(0))
}

/// Appends an event and returns its number.
///
/// # Errors
/// Only the store's.
pub fn append(connection: &Connection, op_id: &str, event: &str, data: &Value) -> rusqlite::Result<u64> {
    let seq: i64 = connection
        .prepare_cached(
            "INSERT INTO op_events(op_id, seq, at_ms, type, json)
             SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4 FROM op_events WHERE op_id = ?1 RETURNING seq",
        )?
        .query_row(params![op_id, now_ms(), event, data.to_string()], |row| row.get(0))?;
    Ok(u64::try_from(seq).unwrap_or_default())
}

/// The events of an operation with a number above `after`, oldest first.
///
/// # Errors
/// Only the store's.
pub fn events(connection: &Connection, op_id: &str, after: u64) -> rusqlite::Result<Vec<OperationEvent>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT seq, at_ms, type, json FROM op_events WHERE op_id = ?1 AND seq > ?2 ORDER BY seq",
        )?
        .query_map(params![op_id, after], |row| {
            let (seq, json): (i64, String) = (row.get(0)?, row.get(3)?);
            let seq = u64::try_from(seq).unwrap_or_default();
            Ok(OperationEvent { seq, at_ms: row.get(1)?, kind: row.get(2)?, data: value(&json) })
        })?
        .collect()
}

/// One row.
///
/// # Errors
/// Only the store's.
pub fn load(connection: &Connection, op_id: &str) -> rusqlite::Result<Option<OperationRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM ops WHERE op_id = ?1"))?
        .query_row([op_id], read)
        .optional()
}

/// The rows of a kind that are live, oldest first.
///
/// # Errors
/// Only the store's.
pub fn live(connection: &Connection, kind: OperationKind) -> rusqlite::Result<Vec<OperationRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM ops WHERE live = 1 AND kind = ?1 ORDER BY created_ms, op_id"
        ))?
        .query_map([kind.as_str()], read)?
        .collect()
}

/// The newest rows of a kind (and a name, when one is given), newest first.
///
/// # Errors
/// Only the store's.
pub fn newest(
    connection: &Connection,
    kind: OperationKind,
    name: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Vec<OperationRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM ops WHERE kind = ?1 AND (?2 IS NULL OR name = ?2)
             ORDER BY created_ms DESC, op_id DESC LIMIT ?3"
        ))?
        .query_map(params![kind.as_str(), name, limit], read)?
        .collect()
}

const COLUMNS: &str = "op_id, kind, name, def_sha, params_json, state, live, lock_key, parent_op, actor_key,
    actor_json, request_id, deadline_ms, recoveries, created_ms, updated_ms, result_json";

fn read(row: &Row<'_>) -> rusqlite::Result<OperationRow> {
    let kind: String = row.get(1)?;
    let (params, actor, result): (String, String, String) = (row.get(4)?, row.get(10)?, row.get(16)?);
    let actor = serde_json::from_str(&actor).unwrap_or(StoredActor {
        key_id: row.get(9)?,
        request_id: row.get(11)?,
        client: None,
    });
    Ok(OperationRow {
        op_id: row.get(0)?,
        kind: if kind == "config" { OperationKind::Config } else { OperationKind::Workflow },
        name: row.get(2)?,
        def_sha: row.get(3)?,
        params: value(&params),
        state: row.get(5)?,
        live: row.get(6)?,
        lock_key: row.get(7)?,
        parent_op: row.get(8)?,
        actor,
        deadline_ms: row.get(12)?,
        recoveries: row.get(13)?,
        created_ms: row.get(14)?,
        updated_ms: row.get(15)?,
        result: value(&result),
    })
}

/// A stored value. What cannot be read was not written by this code; it counts as nothing.
fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn text(actor: &StoredActor) -> String {
    serde_json::to_string(actor).expect("three strings are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn op(id: &str, lock: Option<&str>, idempotency: Option<(&str, &str)>) -> NewOperation {
        NewOperation {
            op_id: id.to_owned(),
            kind: OperationKind::Config,
            name: "apply".to_owned(),
            def_sha: "00".to_owned(),
            params: Value::Null,
            state: "prepared".to_owned(),
            lock_key: lock.map(str::to_owned),
            parent_op: None,
            actor: StoredActor { key_id: "k".to_owned(), request_id: "r".to_owned(), client: None },
            idempotency: idempotency.map(|(key, digest)| (key.to_owned(), digest.to_owned())),
            deadline_ms: None,
        }
    }

    fn ended() -> OperationChange {
        OperationChange { state: "committed".to_owned(), live: false, result: None, deadline_ms: None }
    }

    async fn with_store<T: Send + 'static>(
        work: impl FnOnce(&Connection) -> Result<T, StoreAbort> + Send + 'static,
    ) -> Result<T, Error> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        store.write(work).await
    }

    #[tokio::test]
    async fn a_lock_has_one_live_holder_and_is_free_when_its_row_ends() {
        with_store(|connection| {
            assert_eq!(admit(connection, &op("a", Some("bot:x"), None))?, OperationAdmission::Admitted);
            assert!(
                matches!(admit(connection, &op("b", Some("bot:x"), None))?, OperationAdmission::Held(h) if h.op_id == "a")
            );
            assert_eq!(admit(connection, &op("waits", None, None))?, OperationAdmission::Admitted);
            assert_eq!(take_lock(connection, "waits", "bot:x")?.unwrap().op_id, "a");
            assert!(advance(connection, "a", &ended(), "done", &Value::Null)?);
            assert!(!advance(connection, "a", &ended(), "done", &Value::Null)?);
            assert_eq!(take_lock(connection, "waits", "bot:x")?, None);
            assert_eq!(holder(connection, "bot:x")?.unwrap().op_id, "waits");
            assert_eq!(events(connection, "a", 0)?.len(), 2);
            Ok(())
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn an_idempotency_key_stands_for_one_request_only() {
        let error = with_store(|connection| {
            admit(connection, &op("a", None, Some(("key", "d1"))))?;
            assert!(
                matches!(admit(connection, &op("b", None, Some(("key", "d1"))))?, OperationAdmission::Replay(o) if o.op_id == "a")
            );
            admit(connection, &op("c", None, Some(("key", "d2"))))
        })
        .await
        .unwrap_err();
        assert_eq!(error.code(), Code::IdempotencyMismatch);
    }
}
