//! Which operation may begin: by what began one before, and by locks.

use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::model::{NewOperation, OperationAdmission, OperationRow, now_ms};
use super::rows::{actor_json, append, holder, load};
use crate::store::StoreAbort;

/// Writes the row, unless what begins it began one before or its lock is held. Its first event is `admitted`.
///
/// # Errors
/// When SQLite cannot read or write the store.
pub fn admit(connection: &Connection, new: &NewOperation) -> Result<OperationAdmission, StoreAbort> {
    if let Some(begun_by) = &new.begun_by
        && let Some(earlier) = begun_operation(connection, &new.actor.key_id, begun_by)?
    {
        return Ok(OperationAdmission::Replay(Box::new(earlier)));
    }
    if let Some(lock) = &new.lock_key
        && let Some(holder) = holder(connection, lock)?
    {
        return Ok(OperationAdmission::Held(Box::new(holder)));
    }
    let now = now_ms();
    connection
        .prepare_cached(
            "INSERT INTO ops(op_id, kind, name, def_sha, params_json, state, live, lock_key, parent_op, actor_key,
                             actor_json, request_id, idem_key, deadline_ms, created_ms, updated_ms)
             VALUES(:op_id, :kind, :name, :def_sha, :params, :state, 1, :lock_key, :parent_op, :actor_key,
                    :actor, :request_id, :idem_key, :deadline, :now, :now)",
        )?
        .execute(named_params! {
            ":op_id": new.op_id, ":kind": new.kind.as_str(), ":name": new.name, ":def_sha": new.def_sha,
            ":params": new.params.to_string(), ":state": new.state, ":lock_key": new.lock_key,
            ":parent_op": new.parent_op, ":actor_key": new.actor.key_id, ":actor": actor_json(&new.actor),
            ":request_id": new.actor.request_id, ":idem_key": new.begun_by,
            ":deadline": new.deadline_ms, ":now": now,
        })?;
    append(connection, &new.op_id, "admitted", &serde_json::json!({"state": new.state}))?;
    Ok(OperationAdmission::Admitted)
}

/// The operation that this claim, step or attempt of an actor began, if any.
///
/// # Errors
/// When SQLite cannot read the store.
pub fn begun_operation(
    connection: &Connection,
    actor_key: &str,
    begun_by: &str,
) -> rusqlite::Result<Option<OperationRow>> {
    let found: Option<String> = connection
        .prepare_cached("SELECT op_id FROM ops WHERE actor_key = ?1 AND idem_key = ?2")?
        .query_row([actor_key, begun_by], |row| row.get(0))
        .optional()?;
    found.map_or(Ok(None), |op_id| load(connection, &op_id))
}

/// Gives the lock to a row that waits for it, or returns the row that holds it.
///
/// # Errors
/// When SQLite cannot read or write the store.
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::model::{OperationChange, OperationKind, StoredActor};
    use super::super::rows::{advance, events};
    use super::*;
    use crate::store::Store;
    use botops_core::error::Error;

    fn op(id: &str, lock: Option<&str>, begun_by: Option<&str>) -> NewOperation {
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
            begun_by: begun_by.map(str::to_owned),
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
    async fn the_same_claim_begins_no_second_operation() {
        with_store(|connection| {
            admit(connection, &op("a", None, Some("claim")))?;
            assert!(
                matches!(admit(connection, &op("b", None, Some("claim")))?, OperationAdmission::Replay(o) if o.op_id == "a")
            );
            assert_eq!(admit(connection, &op("c", None, Some("another")))?, OperationAdmission::Admitted);
            Ok(())
        })
        .await
        .unwrap();
    }
}
