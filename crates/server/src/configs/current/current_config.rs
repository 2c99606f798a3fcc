//! What is known of the config now: rendered after every change, read without waiting.
//!
//! Kept from users: putting together the bot's last report, its last acknowledgement (which may be newer), `HEAD` and
//! the live transaction. A drift is published as an event with its remedies; nothing is ever changed because of one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::sync::{SyncFacts, evaluate_sync};
use super::view::{CommittedConfigView, CurrentConfigView, RejectedChangeView, RunningConfigView, SyncState};
use crate::bots::{BotSnapshot, Bots};
use crate::configs::audit::ConfigAudit;
use crate::configs::bot_schema::{BotSchema, SchemaNews};
use crate::configs::document::{ConfigDocument, mask_document, short_hash};
use crate::configs::head::{CommittedConfig, VersionHead};
use crate::configs::support::{ConfigSupport, echoed_config, not_known, not_offered};
use crate::configs::transaction::{ConfigTransaction, TransactionView, newest_transactions};
use crate::events::{Events, NewEvent};
use crate::operations_log::StoredActor;
use crate::store::Store;
use botops_contract::{EventKind, Severity, VersionRef};
use botops_core::error::{Code, Error};
use botops_http::RenderedDocument as Page;

/// A report that was on its way when the bot acknowledged something arrives within this time.
pub(crate) const REPORT_IN_FLIGHT: Duration = Duration::from_millis(200);

/// What the bot acknowledged, and when.
#[derive(Debug, Clone)]
struct AcknowledgedConfig {
    running: VersionRef,
    boot_epoch: String,
    at: Instant,
}

/// What is known of the config now. Shared by the handle, the trial task and the sync task.
#[derive(Debug)]
pub(crate) struct CurrentConfig {
    bots: Bots,
    events: Events,
    audit: ConfigAudit,
    schema: Arc<BotSchema>,
    /// The version that `HEAD` names; `None` when it does not hold, and when none was ever made.
    committed: ArcSwapOption<CommittedConfig>,
    /// What was committed cannot be read.
    /// Why the committed config cannot be read; `None` when it can.
    damage: ArcSwapOption<String>,
    /// Why the first version could not be made.
    first_version_problem: ArcSwapOption<String>,
    live: ArcSwapOption<TransactionView>,
    last_rejected: ArcSwapOption<RejectedChangeView>,
    /// What the bot acknowledged last, which may be newer than its last report.
    acknowledged: ArcSwapOption<AcknowledgedConfig>,
    view: ArcSwap<CurrentConfigView>,
    changes: watch::Sender<Arc<CurrentConfigView>>,
    refreshing: Mutex<()>,
}

impl CurrentConfig {
    /// The config before anything is known.
    pub(crate) fn new(bots: Bots, events: Events, audit: ConfigAudit, schema: Arc<BotSchema>) -> Self {
        let view = Arc::new(CurrentConfigView::empty(bots.id().clone()));
        Self {
            bots,
            events,
            audit,
            schema,
            committed: ArcSwapOption::empty(),
            damage: ArcSwapOption::empty(),
            first_version_problem: ArcSwapOption::empty(),
            live: ArcSwapOption::empty(),
            last_rejected: ArcSwapOption::empty(),
            acknowledged: ArcSwapOption::empty(),
            view: ArcSwap::new(view.clone()),
            changes: watch::Sender::new(view),
            refreshing: Mutex::new(()),
        }
    }

    /// The view as it was rendered last.
    pub(crate) fn view(&self) -> Arc<CurrentConfigView> {
        self.view.load_full()
    }

    /// Changes when the committed version, the sync or the live transaction does.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<CurrentConfigView>> {
        self.changes.subscribe()
    }

    /// The version that `HEAD` names, if it holds.
    pub(crate) fn head(&self) -> Option<Arc<CommittedConfig>> {
        self.committed.load_full()
    }

    /// The version that `HEAD` names.
    ///
    /// # Errors
    /// [`Code::ConfigDamaged`] when it does not hold; [`Code::BotNotCapable`] and [`Code::BotOffline`] when there is
    /// none.
    pub(crate) fn committed(&self) -> Result<Arc<CommittedConfig>, Error> {
        if let Some(committed) = self.head() {
            return Ok(committed);
        }
        self.require_offered()?;
        Err(Error::new(Code::ConfigDamaged))
    }

    /// Whether the bot has a config that is kept here.
    pub(crate) fn support(&self) -> ConfigSupport {
        ConfigSupport::of(&self.bots.snapshot())
    }

    /// The refusal of what needs a config, for a bot that offers none.
    pub(crate) fn refusal_without_config(&self) -> Error {
        not_offered(&self.bots.snapshot())
    }

    /// Refuses where the bot does not offer a config, or where it is not known and none was ever kept.
    ///
    /// # Errors
    /// [`Code::BotNotCapable`], [`Code::BotOffline`].
    pub(crate) fn require_offered(&self) -> Result<(), Error> {
        let seen = self.bots.snapshot();
        match ConfigSupport::of(&seen) {
            support if support.takes_no_change() => Err(not_offered(&seen)),
            ConfigSupport::Unknown if !self.was_ever_made() => Err(not_known(&seen)),
            _ => Ok(()),
        }
    }

    /// Whether a version was ever committed, be it readable or not.
    pub(crate) fn was_ever_made(&self) -> bool {
        self.damage.load().is_some() || self.committed.load().is_some()
    }

    /// What was committed cannot be read. Shown with the next [`Self::refresh`].
    pub(crate) fn set_damaged(&self, problem: String) {
        self.damage.store(Some(Arc::new(problem)));
    }

    /// Changes when the bot's report does.
    pub(crate) fn watch_bot(&self) -> watch::Receiver<Arc<BotSnapshot>> {
        self.bots.watch()
    }

    /// Why changes could not be recorded or based on anything; `None` when nothing is wrong with what is kept.
    pub(crate) fn record_fault(&self) -> Option<String> {
        if let Some(damage) = self.audit.damage() {
            return Some(format!(
                "line {} of the audit does not hold: {}",
                damage.first_bad_seq, damage.reason
            ));
        }
        self.damage.load().as_ref().map(|problem| {
            format!("the committed config cannot be read: {problem}; restore the folder config from a backup and restart botops")
        })
    }

    /// Whether `HEAD` names this very version.
    pub(crate) fn is_committed(&self, version: &VersionRef) -> bool {
        self.head().is_some_and(|committed| {
            committed.head.sha256 == version.sha256 && committed.head.version == version.version
        })
    }

    /// `HEAD` names this document now. Shown with the next [`Self::refresh`].
    pub(crate) fn set_committed(&self, head: VersionHead, document: ConfigDocument) {
        let findings = self.schema.known().map(|schema| schema.check(&document.value).len());
        if let Some(findings) = findings.filter(|findings| *findings > 0) {
            tracing::warn!("the committed config does not fit the bot's schema in {findings} places");
        }
        let shown = mask_document(&self.schema.of_reads(), &document.written);
        self.committed.store(Some(Arc::new(CommittedConfig { head, document, shown, findings })));
    }

    /// Goes by what reading the schema brought, and tells of it.
    pub(crate) fn take_in_schema(&self, news: &SchemaNews) {
        if *news == SchemaNews::Nothing {
            return;
        }
        if let Some(committed) = self.head() {
            let committed = CommittedConfig::clone(&committed);
            self.set_committed(committed.head, committed.document);
        }
        self.publish_schema(news);
        self.refresh();
    }

    /// Why the first version could not be made; `None` when nothing is in its way.
    pub(crate) fn set_first_version_problem(&self, problem: Option<String>) {
        self.first_version_problem.store(problem.map(Arc::new));
    }

    fn publish_schema(&self, news: &SchemaNews) {
        let data = json!({"schema": self.schema.view()});
        match news {
            SchemaNews::Nothing | SchemaNews::First => {}
            SchemaNews::Changed(before) => {
                let fits = match self.head().and_then(|committed| committed.findings) {
                    Some(0) => "the committed version fits it",
                    Some(_) => {
                        "the committed version does not fit it and runs on; the next change has to put it right"
                    }
                    None => "nothing is committed",
                };
                let from = short_hash(before);
                let message = format!("the bot brought another config schema than before ({from}): {fits}");
                tracing::warn!("{message}");
                self.events.publish(NewEvent::own(EventKind::Config, Severity::Medium, message, data));
            }
            SchemaNews::Usable => {
                let message = "the config schema that the bot brings can be used again".to_owned();
                tracing::info!("{message}");
                self.events.publish(NewEvent::own(EventKind::Config, Severity::Low, message, data));
            }
            SchemaNews::Faulty(fault) => {
                let Err(error) = self.schema.refuse_fault() else { return };
                let message = format!("the config schema that the bot brought cannot be used {fault}");
                tracing::warn!(error.code = error.code().row().code, "{message}");
                let event = NewEvent::own_failure(EventKind::Config, Severity::High, message, &error, data);
                self.events.publish(event);
            }
        }
    }

    /// The live transaction, as it was recorded last.
    pub(crate) fn live(&self) -> Option<Arc<TransactionView>> {
        self.live.load_full()
    }

    /// Shows the live transaction to readers.
    pub(crate) fn show_live(&self, txn: &ConfigTransaction) {
        self.live.store(Some(Arc::new(TransactionView::of(txn))));
        self.refresh();
    }

    /// No transaction is live any more; this one was the last.
    pub(crate) fn end_live(&self, txn: &ConfigTransaction) {
        if let Some(last) = RejectedChangeView::of(txn) {
            self.last_rejected.store(Some(Arc::new(last)));
        }
        self.live.store(None);
        self.refresh();
    }

    /// Remembers a change that was refused before it was admitted. One that the bot refused is told by its transaction.
    pub(crate) fn note_refusal(&self, error: &Error, reason: String, actor: &StoredActor) {
        let newest = self.last_rejected.load_full();
        let Some(refused) = RejectedChangeView::of_refusal(error, reason, actor) else { return };
        // The same refusal ended a transaction a moment ago.
        let is_told = newest.is_some_and(|known| {
            known.txn.is_some()
                && known.reason == refused.reason
                && refused.at - known.at < TimeDelta::seconds(1)
        });
        if !is_told {
            self.last_rejected.store(Some(Arc::new(refused)));
            self.refresh();
        }
    }

    /// Looks up the last change that was refused.
    pub(crate) async fn load_last_rejected(&self, store: &Store) -> Result<(), Error> {
        let recent = newest_transactions(store).await?;
        self.last_rejected.store(recent.iter().find_map(RejectedChangeView::of).map(Arc::new));
        Ok(())
    }

    /// Remembers what the bot acknowledged.
    pub(crate) fn record_acknowledged(&self, running: &VersionRef, boot_epoch: &str) {
        let acknowledged = AcknowledgedConfig {
            running: running.clone(),
            boot_epoch: boot_epoch.to_owned(),
            at: Instant::now(),
        };
        self.acknowledged.store(Some(Arc::new(acknowledged)));
    }

    /// What the bot runs, by its last report or its last acknowledgement, whichever is newer.
    pub(crate) fn running(&self) -> Option<RunningConfigView> {
        let seen = self.bots.snapshot();
        let reported = seen.report.as_ref().and_then(|report| {
            let config = report.config.as_ref()?;
            Some(RunningConfigView {
                version: config.running.version,
                sha256: config.running.sha256.clone(),
                boot_epoch: report.boot_epoch.clone().unwrap_or_default(),
                as_of: report.as_of,
                pending_restart: config.pending_restart.clone(),
            })
        });
        let acknowledged = self.acknowledged.load_full().filter(|acknowledged| {
            // A report that was asked for before the acknowledgement may arrive after it.
            let is_newer =
                seen.received.is_some_and(|received| received > acknowledged.at + REPORT_IN_FLIGHT);
            let same_process =
                reported.as_ref().is_none_or(|running| running.boot_epoch == acknowledged.boot_epoch);
            same_process && !is_newer
        });
        match acknowledged {
            Some(acknowledged) => Some(RunningConfigView {
                version: acknowledged.running.version,
                sha256: acknowledged.running.sha256.clone(),
                boot_epoch: acknowledged.boot_epoch.clone(),
                as_of: None,
                pending_restart: reported.map(|running| running.pending_restart).unwrap_or_default(),
            }),
            None => reported,
        }
    }

    /// Renders what is known now. Called after every change; cheap, and never waits.
    pub(crate) fn refresh(&self) {
        let _one_at_a_time = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.view.load_full();
        let mut view = self.read_now();
        view.page = Page::of_json(&view).ok();
        let view = Arc::new(view);
        self.view.store(view.clone());
        if before.sync != view.sync {
            self.publish_support(&before, &view);
            self.publish_drift(&before, &view);
        }
        let key = |view: &CurrentConfigView| {
            let trial = view.trial.as_ref().map(|trial| (trial.txn.clone(), trial.state, trial.samples));
            (view.version, view.sync, trial, view.writable)
        };
        self.changes.send_if_modified(|shown| {
            let changed = key(shown) != key(&view);
            *shown = view.clone();
            changed
        });
    }

    fn read_now(&self) -> CurrentConfigView {
        let seen = self.bots.snapshot();
        let head = self.head();
        let live = self.live();
        let support = ConfigSupport::of(&seen);
        // Of what a bot without the capability says it runs, nothing is known here.
        let running = self.running().filter(|_| support != ConfigSupport::Missing);
        // A bot that runs the first version from its own start has never been told the number of it.
        let running = running.map(|running| match head.as_deref().map(|committed| &committed.head) {
            Some(head) if head.sha256 == running.sha256 => {
                RunningConfigView { version: head.version, ..running }
            }
            _ => running,
        });
        let is_damaged = self.damage.load().is_some();
        let first_version_problem = self.first_version_problem.load_full();
        let (sync, sync_reason) = evaluate_sync(&SyncFacts {
            seen: &seen,
            support,
            is_damaged,
            head: head.as_deref().map(|committed| &committed.head),
            first_version_problem: first_version_problem.as_deref().map(String::as_str),
            running: running.as_ref(),
            live: live.as_deref(),
            was_acknowledged: self.acknowledged.load().is_some(),
        });
        let committed = head.as_deref().map(CommittedConfigView::of);
        // A version that cannot be read is not the same as none.
        let unreadable = is_damaged && committed.is_none();
        CurrentConfigView {
            bot_id: seen.id.clone(),
            version: committed.as_ref().map(|committed| committed.version).or(unreadable.then_some(0)),
            etag: committed.as_ref().map(|committed| committed.etag.clone()).or(unreadable.then(String::new)),
            config: head.as_ref().map(|head| head.shown.clone()),
            sync,
            sync_reason,
            running,
            committed,
            trial: live.map(|live| TransactionView::clone(&live)),
            last_rejected: self.last_rejected.load_full().map(|last| RejectedChangeView::clone(&last)),
            echoed: echoed_config(&seen).filter(|_| support == ConfigSupport::Missing).cloned(),
            schema: self.schema.view(),
            writable: head.is_some()
                && self.audit.damage().is_none()
                && !support.takes_no_change()
                && !self.schema.is_faulty(),
            page: None,
        }
    }

    /// Tells when a bot whose config was kept here no longer offers one, and when it does again.
    fn publish_support(&self, before: &CurrentConfigView, now: &CurrentConfigView) {
        let Some(version) = now.committed.as_ref().map(|committed| committed.version) else { return };
        let (was, is) = (before.sync == SyncState::NotApplicable, now.sync == SyncState::NotApplicable);
        let (severity, message) = match (was, is) {
            (false, true) => {
                let kept = "stays readable and is not changed";
                (Severity::Medium, format!("the bot no longer lists `config`: version {version} {kept}"))
            }
            (true, false) => {
                (Severity::Low, format!("the bot lists `config` again; version {version} is committed"))
            }
            _ => return,
        };
        tracing::warn!(config.sync = now.sync.as_str(), "{message}");
        let data = json!({"sync": now.sync, "previous": before.sync, "committed": now.committed});
        self.events.publish(NewEvent::own(EventKind::Config, severity, message, data));
    }

    fn publish_drift(&self, before: &CurrentConfigView, now: &CurrentConfigView) {
        let drifted = now.sync == SyncState::Drifted;
        let is_over = before.sync == SyncState::Drifted && now.sync != SyncState::NotApplicable;
        if !drifted && !is_over {
            return;
        }
        let remedies = json!([
            {"remedy": "adopt", "how": "PUT /api/v1/config/apply with what the bot runs (GET /api/v1/config/diff?from=committed&to=running)"},
            {"remedy": "re-assert", "how": "PUT /api/v1/config/rollback {\"to\": \"committed\", \"reason\": \"…\"}"},
            {"remedy": "restart", "how": "POST /api/v1/workflows/restart-bot/execute, for a bot that boots from `HEAD`: one that keeps its config itself, as one of an SDK does, runs the same as now"},
        ]);
        let data = json!({
            "sync": now.sync, "previous": before.sync, "running": now.running, "committed": now.committed,
            "remedies": if drifted { remedies } else { Value::Null },
        });
        if !drifted {
            let message = format!("config drift is over: {}", now.sync_reason);
            tracing::info!(config.sync = now.sync.as_str(), "{message}");
            self.events.publish(NewEvent::own(EventKind::Config, Severity::Low, message, data));
            return;
        }
        let message = format!("config drift: {}", now.sync_reason);
        let error = Error::new(Code::ConfigDrifted).detail(now.sync_reason.clone());
        tracing::warn!(config.sync = now.sync.as_str(), error.code = error.code().row().code, "{message}");
        let event = NewEvent::own_failure(EventKind::Config, Severity::High, message, &error, data);
        self.events.publish(event);
    }
}
