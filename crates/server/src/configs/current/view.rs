//! `GET config`: what runs, what is committed, and whether they are the same.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::configs::document::version_etag;
use crate::configs::head::CommittedConfig;
use crate::configs::transaction::{ConfigTransaction, StoredError, TransactionState, TransactionView};
use botops_contract::BotId;
use botops_http::Document as Page;

/// Whether the bot runs what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// It does.
    InSync,
    /// It runs a trial.
    Trial,
    /// It does, except for fields that wait for its next start.
    PendingRestart,
    /// It runs something else, and no trial explains it.
    Drifted,
    /// It is not there.
    BotOffline,
    /// It cannot be told at the moment.
    Unknown,
}

impl SyncState {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Trial => "trial",
            Self::PendingRestart => "pending_restart",
            Self::Drifted => "drifted",
            Self::BotOffline => "bot_offline",
            Self::Unknown => "unknown",
        }
    }
}

/// What the bot runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunningConfigView {
    /// The version, 0 when the bot runs its built-in one.
    pub version: u64,
    /// Its hash.
    pub sha256: String,
    /// The process of the bot that runs it.
    pub boot_epoch: String,
    /// When the bot said so.
    pub as_of: Option<DateTime<Utc>>,
    /// Pointers that wait for the bot's next start.
    pub pending_restart: Vec<String>,
}

/// What is committed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CommittedConfigView {
    /// The version.
    pub version: u64,
    /// Its hash.
    pub sha256: String,
    /// Its ETag.
    pub etag: String,
    /// The transaction that committed it.
    pub txn: String,
    /// When.
    pub at: DateTime<Utc>,
    /// False when it does not fit the schema of this botops: it runs on, and any change must put it right.
    pub fits_schema: bool,
}

/// The last change that was refused after it was admitted.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RejectedChangeView {
    /// The transaction.
    pub txn: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Why it was asked for.
    pub reason: String,
    /// Why it was refused.
    pub error: Option<StoredError>,
}

/// `GET config`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CurrentConfigView {
    /// The bot.
    #[schema(value_type = String)]
    pub bot_id: BotId,
    /// The committed version; 0 when it cannot be read.
    pub version: u64,
    /// What a change must name in `If-Match`, quotes included.
    pub etag: String,
    /// The committed document; `null` when it cannot be read.
    #[schema(value_type = Object)]
    pub config: Value,
    /// Whether the bot runs it.
    pub sync: SyncState,
    /// Why, in one sentence.
    pub sync_reason: String,
    /// What the bot runs; `null` when it never said.
    pub running: Option<RunningConfigView>,
    /// What is committed; `null` when it cannot be read.
    pub committed: Option<CommittedConfigView>,
    /// The live transaction.
    pub trial: Option<TransactionView>,
    /// The last change that was refused.
    pub last_rejected: Option<RejectedChangeView>,
    /// Whether changes are taken; `false` while the audit does not hold or the config cannot be read.
    pub writable: bool,
    /// The same, as it is served.
    #[serde(skip)]
    pub(crate) page: Option<Page>,
}

impl CommittedConfigView {
    pub(super) fn of(committed: &CommittedConfig) -> Self {
        Self {
            version: committed.head.version,
            sha256: committed.head.sha256.clone(),
            etag: version_etag(&committed.head.version_ref()),
            txn: committed.head.txn.clone(),
            at: committed.head.at,
            fits_schema: committed.findings == 0,
        }
    }
}

impl RejectedChangeView {
    /// Of a change that was refused; `None` for any other.
    pub(super) fn of(txn: &ConfigTransaction) -> Option<Self> {
        let view = TransactionView::of(txn);
        (view.state == TransactionState::Rejected).then_some(Self {
            txn: view.txn,
            at: view.updated_at,
            reason: view.reason,
            error: view.error,
        })
    }
}

impl CurrentConfigView {
    /// Nothing is known yet.
    pub(super) fn empty(bot_id: BotId) -> Self {
        Self {
            bot_id,
            version: 0,
            etag: String::new(),
            config: Value::Null,
            sync: SyncState::Unknown,
            sync_reason: "botops has only just started".to_owned(),
            running: None,
            committed: None,
            trial: None,
            last_rejected: None,
            writable: false,
            page: None,
        }
    }
}
