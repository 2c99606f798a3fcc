//! `GET config`: what runs, what is committed, and whether they are the same.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::configs::bot_schema::BotSchemaView;
use crate::configs::document::{WrittenValue, version_etag};
use crate::configs::head::CommittedConfig;
use crate::configs::transaction::{ConfigTransaction, StoredError, TransactionState, TransactionView};
use crate::operations_log::StoredActor;
use botops_contract::{BotId, EchoedConfig, VersionRef};
use botops_core::error::{Code, Error};
use botops_http::RenderedDocument as Page;

/// Whether the bot runs what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// The bot runs the committed version.
    InSync,
    /// The bot runs a trial.
    Trial,
    /// The bot runs the committed version, except for fields that wait for its next start.
    PendingRestart,
    /// The bot runs another version than the committed one, and no trial explains it.
    Drifted,
    /// The bot does not answer.
    BotOffline,
    /// What the bot runs is not known at the moment.
    Unknown,
    /// The bot does not offer `config` with a schema of it: there is none here.
    NotApplicable,
}

impl SyncState {
    /// Its name in the API and in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Trial => "trial",
            Self::PendingRestart => "pending_restart",
            Self::Drifted => "drifted",
            Self::BotOffline => "bot_offline",
            Self::Unknown => "unknown",
            Self::NotApplicable => "not_applicable",
        }
    }
}

/// The config that the bot runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunningConfigView {
    /// The number of the version: by its hash where it is the committed one, else as the bot says; 0 when the bot runs a
    /// document that it was given no number for.
    pub version: u64,
    /// SHA-256 of the document, lower-case hex.
    pub sha256: String,
    /// The process start of the bot that runs it.
    pub boot_epoch: String,
    /// When the bot reported it; `null` when it is known from an acknowledgement that is newer than the last report.
    pub as_of: Option<DateTime<Utc>>,
    /// JSON pointers that wait for the bot's next start.
    pub pending_restart: Vec<String>,
}

/// The committed version: the one that the bot boots from.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CommittedConfigView {
    /// The number of the version.
    pub version: u64,
    /// SHA-256 of the document, lower-case hex.
    pub sha256: String,
    /// The ETag of the version, quotes included.
    pub etag: String,
    /// The id of the transaction that committed it.
    pub txn: String,
    /// When it was committed (UTC).
    pub at: DateTime<Utc>,
    /// False when it does not fit the bot's schema: it runs on, and any change must put it right. `null` while the
    /// schema is not known.
    #[schema(required)]
    pub fits_schema: Option<bool>,
}

/// The last change that was refused: for what is wrong with it before it was admitted, or by the bot afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RejectedChangeView {
    /// The id of the transaction; `null` for a change that was refused before it became one.
    #[schema(required)]
    pub txn: Option<String>,
    /// The key that asked for it.
    pub actor: String,
    /// When it was refused (UTC).
    pub at: DateTime<Utc>,
    /// The reason that the caller gave for the change.
    pub reason: String,
    /// Why it was refused, with a code of the error catalogue.
    pub error: Option<StoredError>,
}

/// `GET config`: what runs, what is committed, and whether they are the same.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CurrentConfigView {
    /// The id of the bot.
    #[schema(value_type = String)]
    pub bot_id: BotId,
    /// The committed version; 0 when it cannot be read, `null` when there is none: `sync_reason` says why.
    #[schema(required)]
    pub version: Option<u64>,
    /// What a change must name in `If-Match`, quotes included; empty when the committed version cannot be read, `null`
    /// when there is none.
    #[schema(required)]
    pub etag: Option<String>,
    /// The committed document, its digits as they were written and its secrets masked; `null` when it cannot be read or
    /// there is none.
    #[schema(value_type = Object)]
    pub config: Option<WrittenValue>,
    /// Whether the bot runs the committed version.
    pub sync: SyncState,
    /// Why `sync` is what it is, in one sentence.
    pub sync_reason: String,
    /// What the bot runs; `null` when it never said.
    pub running: Option<RunningConfigView>,
    /// What is committed; `null` when it cannot be read.
    pub committed: Option<CommittedConfigView>,
    /// The change that is under way; `null` when there is none.
    pub trial: Option<TransactionView>,
    /// The last change that was refused, before or after it was admitted; `null` when none is known. One that was never
    /// admitted is known until botops is started anew.
    pub last_rejected: Option<RejectedChangeView>,
    /// The schema that the bot brought; `null` when none was ever read.
    pub schema: Option<BotSchemaView>,
    /// What a bot whose config is not kept here shows of it, with the reason and the proof. Untrusted text; left out when
    /// it shows nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echoed: Option<EchoedConfig>,
    /// Whether changes are taken; `false` while the audit does not hold, the config cannot be read or the bot's schema
    /// cannot be used, and for a bot without one.
    pub writable: bool,
    /// This view as JSON with its headers, made once per change; a request only clones it.
    #[serde(skip)]
    pub(crate) page: Option<Page>,
}

impl CommittedConfigView {
    /// The version with its hash.
    pub fn version_ref(&self) -> VersionRef {
        VersionRef { version: self.version, sha256: self.sha256.clone() }
    }

    pub(super) fn of(committed: &CommittedConfig) -> Self {
        Self {
            version: committed.head.version,
            sha256: committed.head.sha256.clone(),
            etag: version_etag(&committed.head.version_ref()),
            txn: committed.head.txn.clone(),
            at: committed.head.at,
            fits_schema: committed.findings.map(|findings| findings == 0),
        }
    }
}

impl RejectedChangeView {
    /// A change that was refused for what is wrong with it, before it was admitted; `None` for a failure that says nothing
    /// of the change.
    pub(super) fn of_refusal(error: &Error, reason: String, actor: &StoredActor) -> Option<Self> {
        let is_of_change = matches!(
            error.code(),
            Code::ConfigSchemaInvalid
                | Code::ConfigRuleBroken
                | Code::ConfigBotRejected
                | Code::ConfigFieldFixed
                | Code::ConfigCrashedBefore
        );
        let now = Utc::now();
        let problem = error.problem("", now);
        let error =
            StoredError { error_code: problem.error_code, cause: problem.cause, errors: problem.errors };
        is_of_change.then(|| Self {
            txn: None,
            actor: actor.key_id.clone(),
            at: now,
            reason,
            error: Some(error),
        })
    }

    /// The view of a change that was refused; `None` for any other.
    pub(super) fn of(txn: &ConfigTransaction) -> Option<Self> {
        let view = TransactionView::of(txn);
        (view.state == TransactionState::Rejected).then_some(Self {
            txn: Some(view.txn),
            actor: view.actor.key_id,
            at: view.updated_at,
            reason: view.reason,
            error: view.error,
        })
    }
}

impl CurrentConfigView {
    /// The view before anything is known.
    pub(super) fn empty(bot_id: BotId) -> Self {
        Self {
            bot_id,
            version: None,
            etag: None,
            config: None,
            sync: SyncState::Unknown,
            sync_reason: "botops has only just started".to_owned(),
            running: None,
            committed: None,
            trial: None,
            last_rejected: None,
            schema: None,
            echoed: None,
            writable: false,
            page: None,
        }
    }
}
