//! What runs, what is committed, and how the two stand to each other: rendered ahead, read without waiting.
//!
//! Kept from users: putting together the bot's last report, its last acknowledgement (which may be newer), `HEAD` and
//! the live transaction. A drift is told as an event with its remedies; nothing is ever changed because of one.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::document::Document;
use super::history::Head;
use super::schema::Facts;
use super::txn::{StoredError, TxnView, etag};
use super::{Shared, trial};
use crate::events::NewEvent;
use crate::operations_log::{self, OperationKind};
use botops_contract::{BotId, EventKind, Severity, VersionRef};
use botops_core::error::Error;
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
    /// The word on the wire.
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

/// What `HEAD` names, with its document.
#[derive(Debug, Clone)]
pub(super) struct Committed {
    pub head: Head,
    pub document: Document,
    /// What a newer schema finds wrong with it, if something.
    pub findings: usize,
}

/// What the bot acknowledged, and when.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub running: VersionRef,
    pub boot_epoch: String,
    pub at: Instant,
}

/// What the bot runs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RunningView {
    /// The version, 0 when the bot runs its built-in one.
    pub version: u64,
    /// Its hash.
    pub sha256: String,
    /// The life of the bot that runs it.
    pub boot_epoch: String,
    /// When the bot said so.
    pub as_of: Option<DateTime<Utc>>,
    /// Pointers that wait for the bot's next start.
    pub pending_restart: Vec<String>,
}

/// What is committed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CommittedView {
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
pub struct RejectedView {
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
pub struct Snapshot {
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
    pub running: Option<RunningView>,
    /// What is committed; `null` when it cannot be read.
    pub committed: Option<CommittedView>,
    /// The live transaction.
    pub trial: Option<TxnView>,
    /// The last change that was refused.
    pub last_rejected: Option<RejectedView>,
    /// Whether changes are taken; `false` while the audit does not hold or the config cannot be read.
    pub writable: bool,
    /// The same, as it is served.
    #[serde(skip)]
    pub(super) page: Option<Page>,
}

impl Snapshot {
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

/// Keeps the snapshot up to date with the bot, until the stop.
pub(super) async fn follow(shared: Arc<Shared>, stopping: CancellationToken) {
    let mut seen = shared.bots.watch();
    loop {
        shared.refresh();
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = seen.changed() => if changed.is_err() { return },
        }
    }
}

impl Shared {
    /// Renders what is known now. Called after every change; cheap, and never waits.
    pub(super) fn refresh(&self) {
        let _one_at_a_time = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot.load_full();
        let mut snapshot = self.look();
        snapshot.page = Page::of_json(&snapshot).ok();
        let snapshot = Arc::new(snapshot);
        self.snapshot.store(snapshot.clone());
        if before.sync != snapshot.sync {
            self.tell_of_sync(&before, &snapshot);
        }
        let key = |snapshot: &Snapshot| {
            let trial = snapshot.trial.as_ref().map(|trial| (trial.txn.clone(), trial.state, trial.samples));
            (snapshot.version, snapshot.sync, trial, snapshot.writable)
        };
        self.changes.send_if_modified(|shown| {
            let changed = key(shown) != key(&snapshot);
            *shown = snapshot.clone();
            changed
        });
    }

    fn look(&self) -> Snapshot {
        let seen = self.bots.snapshot();
        let head = self.head.load_full();
        let live = self.live.load_full();
        let running = self.running();
        let (sync, sync_reason) = self.judge(running.as_ref(), live.as_deref());
        let committed = head.as_ref().map(|committed| CommittedView {
            version: committed.head.version,
            sha256: committed.head.sha256.clone(),
            etag: etag(&committed.head.as_ref()),
            txn: committed.head.txn.clone(),
            at: committed.head.at,
            fits_schema: committed.findings == 0,
        });
        Snapshot {
            bot_id: seen.id.clone(),
            version: committed.as_ref().map_or(0, |committed| committed.version),
            etag: committed.as_ref().map(|committed| committed.etag.clone()).unwrap_or_default(),
            config: head.as_ref().map(|head| head.document.value.clone()).unwrap_or_default(),
            sync,
            sync_reason,
            running,
            committed,
            trial: live.map(|live| TxnView::clone(&live)),
            last_rejected: self.last_rejected.load_full().map(|last| RejectedView::clone(&last)),
            writable: head.is_some() && self.audit.damage().is_none(),
            page: None,
        }
    }

    /// What the bot runs, by whichever word of it is newer.
    pub(super) fn running(&self) -> Option<RunningView> {
        let seen = self.bots.snapshot();
        let reported = seen.report.as_ref().map(|report| RunningView {
            version: report.config.running.version,
            sha256: report.config.running.sha256.clone(),
            boot_epoch: report.boot_epoch.clone(),
            as_of: Some(report.as_of),
            pending_restart: report.config.pending_restart.clone(),
        });
        let acknowledged = self.known.load_full().filter(|known| {
            // A report that was asked for before the acknowledgement may arrive after it.
            let settled = seen.received.is_some_and(|received| received > known.at + trial::IN_FLIGHT);
            let same_life = reported.as_ref().is_none_or(|running| running.boot_epoch == known.boot_epoch);
            same_life && !settled
        });
        match acknowledged {
            Some(known) => Some(RunningView {
                version: known.running.version,
                sha256: known.running.sha256.clone(),
                boot_epoch: known.boot_epoch.clone(),
                as_of: None,
                pending_restart: reported.map(|running| running.pending_restart).unwrap_or_default(),
            }),
            None => reported,
        }
    }

    fn judge(&self, running: Option<&RunningView>, live: Option<&TxnView>) -> (SyncState, String) {
        let seen = self.bots.snapshot();
        let Some(head) = self.head.load_full() else {
            return (SyncState::Unknown, "the committed config cannot be read".to_owned());
        };
        if let Some(live) = live {
            let text = match live.state {
                super::TxnState::Trial => {
                    format!("change {} is on trial; it is undone unless it is confirmed", live.txn)
                }
                super::TxnState::Confirming => {
                    format!("change {} is confirmed; the bot has not said yet that it keeps it", live.txn)
                }
                _ => format!("change {} is {}", live.txn, live.state.as_str()),
            };
            return match live.state {
                super::TxnState::Trial | super::TxnState::Confirming => (SyncState::Trial, text),
                super::TxnState::Prepared | super::TxnState::Checked => {
                    self.judge_quiet(&seen, running, &head.head)
                }
                _ => (SyncState::Unknown, text),
            };
        }
        self.judge_quiet(&seen, running, &head.head)
    }

    /// Without a trial.
    fn judge_quiet(
        &self,
        seen: &crate::bots::BotSnapshot,
        running: Option<&RunningView>,
        head: &Head,
    ) -> (SyncState, String) {
        if !seen.presence.answers() {
            return (
                SyncState::BotOffline,
                format!("the bot is {}: {}", seen.presence, seen.presence_reason),
            );
        }
        let Some(running) = running else {
            return (SyncState::Unknown, "the bot has not said what it runs".to_owned());
        };
        let foreign_trial = seen.report.as_ref().and_then(|report| report.config.trial.as_ref());
        if running.sha256 != head.sha256 {
            return match foreign_trial {
                Some(trial) if self.known.load().is_none() => (
                    SyncState::Unknown,
                    format!(
                        "the bot runs trial {}, which botops does not lead; the bot's own timer ends it",
                        trial.txn
                    ),
                ),
                _ => (
                    SyncState::Drifted,
                    format!(
                        "the bot runs version {} ({}), committed is version {} ({})",
                        running.version,
                        super::history::short(&running.sha256),
                        head.version,
                        super::history::short(&head.sha256)
                    ),
                ),
            };
        }
        if running.pending_restart.is_empty() {
            return (SyncState::InSync, format!("the bot runs the committed version {}", head.version));
        }
        let fields = running.pending_restart.join(", ");
        (SyncState::PendingRestart, format!("these fields wait for a restart of the bot: {fields}"))
    }

    fn tell_of_sync(&self, before: &Snapshot, now: &Snapshot) {
        let drifted = now.sync == SyncState::Drifted;
        if !drifted && before.sync != SyncState::Drifted {
            return;
        }
        let severity = if drifted { Severity::High } else { Severity::Low };
        let message = if drifted {
            format!("config drift: {}", now.sync_reason)
        } else {
            format!("config drift is over: {}", now.sync_reason)
        };
        tracing::warn!(config.sync = now.sync.as_str(), "{message}");
        let remedies = json!([
            {"remedy": "adopt", "how": "PUT /api/v1/config/apply with what the bot runs (GET /api/v1/config/diff?from=committed&to=running)"},
            {"remedy": "re-assert", "how": "PUT /api/v1/config/rollback {\"to\": \"committed\", \"reason\": \"…\"}"},
            {"remedy": "restart", "how": "POST /api/v1/workflows/restart-bot/execute: the bot boots from the committed version"},
        ]);
        let data = json!({
            "sync": now.sync, "previous": before.sync, "running": now.running, "committed": now.committed,
            "remedies": if drifted { remedies } else { Value::Null },
        });
        self.events.publish(NewEvent::own(EventKind::Config, severity, message, data));
    }

    /// What the rules compare a document with.
    pub(super) fn facts(&self) -> Facts {
        self.bots.snapshot().report.as_deref().map(Facts::of).unwrap_or_default()
    }

    /// Remembers what the bot acknowledged.
    pub(super) fn note_running(&self, running: &VersionRef, boot_epoch: &str) {
        let known = Known { running: running.clone(), boot_epoch: boot_epoch.to_owned(), at: Instant::now() };
        self.known.store(Some(Arc::new(known)));
    }

    /// Looks up the last change that was refused.
    pub(super) async fn load_last_rejected(&self) -> Result<(), Error> {
        let recent = self
            .store
            .read(|connection| Ok(operations_log::newest(connection, OperationKind::Config, None, 50)?))
            .await?;
        let last = recent.iter().filter_map(|op| super::txn::Txn::of(op).ok()).find_map(|txn| rejected(&txn));
        self.last_rejected.store(last.map(Arc::new));
        Ok(())
    }
}

/// A refused change, as it is shown.
pub(super) fn rejected(txn: &super::txn::Txn) -> Option<RejectedView> {
    let view = txn.view(trial::SAMPLES);
    (view.state == super::TxnState::Rejected).then_some(RejectedView {
        txn: view.txn,
        at: view.updated_at,
        reason: view.reason,
        error: view.error,
    })
}
