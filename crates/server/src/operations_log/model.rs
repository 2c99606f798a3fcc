//! Operations as rows hold them, and what changes them.

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
    /// The value in the table.
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

/// An operation that asks to be admitted.
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
    /// Who asks for it.
    pub actor: StoredActor,
    /// The caller's idempotency key and the digest of everything it stands for.
    pub idempotency: Option<(String, String)>,
    /// When it must have ended.
    pub deadline_ms: Option<i64>,
}

/// An operation as its row holds it.
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
    /// Who asked for it.
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

/// What became of an operation that asked to be admitted.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationAdmission {
    /// The row is written and holds its lock.
    Admitted,
    /// The same request came before; this is what it started.
    Replay(Box<OperationRow>),
    /// Another operation holds the lock; nothing was written.
    Held(Box<OperationRow>),
}

/// A change of a row.
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
