//! Operations as rows hold them, and the changes a row can get.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use botops_contract::BotId;
use botops_http::Actor;

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
    /// The value in the column `kind`.
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

/// Who started an operation, as the row keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredActor {
    /// The name of the API key.
    pub key_id: String,
    /// The id of the request that started it.
    pub request_id: String,
    /// What the client calls itself; `null` when it does not say.
    #[serde(default)]
    pub client: Option<String>,
}

/// The key name in rows of automatic recovery.
const RECOVERY: &str = "recovery";

impl StoredActor {
    /// Automatic recovery as the actor: no operator asked for the operation.
    pub fn recovery(request_id: String) -> Self {
        Self { key_id: RECOVERY.to_owned(), request_id, client: None }
    }

    /// Whether automatic recovery started it, without an operator's request.
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

/// A request to admit an operation.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// A new id.
    pub op_id: String,
    /// What kind of operation it is.
    pub kind: OperationKind,
    /// The workflow's id, or `apply` and `rollback`.
    pub name: String,
    /// Hash of the definition it runs by; of the candidate document for config.
    pub def_sha: String,
    /// The parameters of the workflow, or the config change, as the caller sent them.
    pub params: Value,
    /// The first state. The row is live from the start.
    pub state: String,
    /// The lock key that excludes other operations; `None` for a queued run and under a parent, which holds the lock.
    pub lock_key: Option<String>,
    /// The workflow run that started this config transaction.
    pub parent_op: Option<String>,
    /// Who asks for it.
    pub actor: StoredActor,
    /// The claim of the caller's idempotency key, or the step or attempt that begins it: the same begins no second one.
    pub begun_by: Option<String>,
    /// When it must have ended, in milliseconds since 1970.
    pub deadline_ms: Option<i64>,
}

/// An operation as its row holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRow {
    /// The id of the operation.
    pub op_id: String,
    /// What kind of operation it is.
    pub kind: OperationKind,
    /// The workflow's id, or `apply` and `rollback`.
    pub name: String,
    /// Hash of the definition it runs by.
    pub def_sha: String,
    /// The parameters of the workflow, or the config change, as the caller sent them.
    pub params: Value,
    /// The state; each kind has its own set of names.
    pub state: String,
    /// False once the state is terminal.
    pub live: bool,
    /// The lock key that excludes other operations while the row is live.
    pub lock_key: Option<String>,
    /// The workflow run that started this config transaction.
    pub parent_op: Option<String>,
    /// Who asked for it.
    pub actor: StoredActor,
    /// When it must have ended, in milliseconds since 1970; a change may move it.
    pub deadline_ms: Option<i64>,
    /// How often the operation was resumed after a restart.
    pub recoveries: u32,
    /// When it was admitted, in milliseconds since 1970.
    pub created_ms: i64,
    /// When the row last changed, in milliseconds since 1970.
    pub updated_ms: i64,
    /// The outcome so far; its members depend on the kind.
    pub result: Value,
}

/// One event of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationEvent {
    /// Counts from 1 within the operation.
    pub seq: u64,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: i64,
    /// The name of the event; each kind of operation has its own set.
    pub kind: String,
    /// Details whose members depend on the event.
    pub data: Value,
}

/// The outcome of a request to admit an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationAdmission {
    /// The row is written and holds its lock.
    Admitted,
    /// The same request came before: the row it began.
    Replay(Box<OperationRow>),
    /// Another operation holds the lock: its row. Nothing was written.
    Held(Box<OperationRow>),
}

/// A change of a live row.
#[derive(Debug, Clone)]
pub struct OperationChange {
    /// The new state.
    pub state: String,
    /// False when the new state is terminal, which frees the lock.
    pub live: bool,
    /// Replaces the outcome so far.
    pub result: Option<Value>,
    /// Replaces the deadline (milliseconds since 1970).
    pub deadline_ms: Option<i64>,
}

/// The lock key shared by everything that changes this bot.
pub fn bot_lock(bot: &BotId) -> String {
    format!("bot:{bot}")
}

/// Milliseconds since 1970 by the wall clock, as all times in the table.
pub fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
