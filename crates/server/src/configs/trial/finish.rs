//! How a transaction ends: made permanent (D5 to D7) or undone (R1, R2). The table of these steps is in `mod.rs`.
//!
//! What the bot reports decides. Whenever it boots, its timer fires or it is in doubt, it loads `HEAD`; so a bot that
//! is gone runs `HEAD` when it comes back, and that is known without asking it.

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;

use super::live::{LiveTrial, RECORD_AGAIN, RECORD_WAIT};
use super::services::TrialServices;
use crate::bots::{CallError, Presence};
use crate::configs::head::VersionHead;
use crate::configs::transaction::{EndedBy, StoredError, TransactionState};
use botops_contract::{ConfigAck, EndTrialRequest, VersionRef};
use botops_core::error::{Code, Error};
use botops_core::failpoints;

/// Drives the one live transaction to its end.
#[derive(Debug)]
pub(super) struct TrialDriver {
    pub services: Arc<TrialServices>,
    pub live: Option<LiveTrial>,
    /// When the lines that the audit's file could not take are tried again; `None` when it has them all.
    pub audit_again: Option<Instant>,
}

impl TrialDriver {
    pub(crate) fn new(services: Arc<TrialServices>) -> Self {
        // What an earlier process left queued is tried at once.
        Self { services, live: None, audit_again: Some(Instant::now()) }
    }

    /// Ends the live transaction; when that cannot be recorded now, it is tried again.
    pub(crate) async fn end(&mut self, state: TransactionState, by: EndedBy, outcome: &str) {
        let Some(mut live) = self.live.take() else { return };
        live.txn.progress.by = (state != TransactionState::Committed).then_some(by);
        live.txn.progress.outcome = Some(outcome.to_owned());
        if let Err(error) = self.services.recorder.record(&mut live, state).await {
            tracing::error!("the end of config change {} cannot be recorded yet: {error}", live.txn.id);
            let shown = if state == TransactionState::RolledBack {
                TransactionState::Reverting
            } else {
                live.txn.state
            };
            self.services.recorder.go_on_unrecorded(&mut live, shown);
            live.ending = Some((state, by, outcome.to_owned()));
            live.retry_at = Instant::now() + RECORD_AGAIN;
            self.live = Some(live);
            return;
        }
        failpoints::point(if state == TransactionState::Committed { "config.d7" } else { "config.r2" });
        self.services.current.end_live(&live.txn);
        self.flush_audit().await;
    }

    /// Brings what is queued into the audit's file; what it cannot take is tried again.
    pub(crate) async fn flush_audit(&mut self) {
        let failed = self.services.audit.flush().await.err();
        if let Some(error) = failed.as_ref().filter(|_| self.audit_again.is_none()) {
            tracing::error!("the audit file waits for its last lines: {error}");
        }
        self.audit_again = failed.map(|_| Instant::now() + RECORD_AGAIN);
    }

    /// Ends a change that the bot never ran. Returns the error for whoever asked.
    pub(crate) async fn reject(&mut self, mut live: LiveTrial, error: Error) -> Error {
        let problem = error.problem("", Utc::now());
        live.txn.progress.error = Some(StoredError {
            error_code: problem.error_code,
            cause: problem.cause,
            errors: problem.errors,
        });
        let by = match error.code() {
            Code::ConfigBotRejected
            | Code::BotRefused
            | Code::BotOffline
            | Code::BotTimeout
            | Code::BotNotCapable => EndedBy::Bot,
            _ => EndedBy::Server,
        };
        let id = live.txn.id.clone();
        self.live = Some(live);
        self.end(TransactionState::Rejected, by, &error.to_string()).await;
        error.context("txn", id)
    }

    /// D5, then D6 (`HEAD`), then the bot's commit, then D7.
    pub(crate) async fn make_permanent(&mut self) {
        self.record_begin().await;
        let Some(live) = &mut self.live else { return };
        let recorded = self.services.recorder.record_and_flush(live, TransactionState::Confirming).await;
        failpoints::point("config.d5");
        if let Err(error) = recorded {
            let id = &live.txn.id;
            tracing::error!("config change {id} cannot be confirmed, since it cannot be recorded: {error}");
            return self.roll_back_trial(EndedBy::Server, "the confirmation could not be recorded").await;
        }
        if live.is_over() {
            // By now the bot may have gone back by its own timer: `HEAD` must not name what nobody runs.
            let text = "the confirmation could not be recorded in time";
            return self.roll_back_trial(EndedBy::Deadline, text).await;
        }
        self.move_head_and_commit().await;
    }

    /// Records that the trial began, where that could not be done when it did.
    pub(crate) async fn record_begin(&mut self) {
        let Some(live) = self.live.as_mut().filter(|live| live.unrecorded) else { return };
        live.unrecorded = self.services.recorder.record(live, TransactionState::Trial).await.is_err();
        live.retry_at = Instant::now() + RECORD_AGAIN;
    }

    /// D6 and what follows. When `HEAD` cannot be moved, the trial is undone.
    pub(super) async fn move_head_and_commit(&mut self) {
        if self.move_head().await {
            failpoints::point("config.d6");
            self.send_commit().await;
        }
    }

    /// D6: `HEAD` names the candidate. False when it could not be moved, and the trial is being undone.
    async fn move_head(&mut self) -> bool {
        let Some(live) = &self.live else { return false };
        let candidate = live.txn.plan.candidate.clone();
        let head = VersionHead::naming(&candidate, &live.txn.id);
        let files = self.services.versions.files();
        let moved = match files.load(&candidate) {
            Ok(document) => {
                let (files, head_there, document_there) = (files.clone(), head.clone(), document.clone());
                let done =
                    tokio::task::spawn_blocking(move || files.commit(&head_there, &document_there)).await;
                done.map_err(|error| error.to_string())
                    .and_then(|done| done.map_err(|error| error.to_string()))
                    .map(|()| document)
            }
            Err(problem) => Err(problem),
        };
        match moved {
            Ok(document) => {
                self.services.current.set_committed(head, document);
                true
            }
            Err(problem) => {
                tracing::error!("HEAD could not be moved: {problem}");
                self.restore_base();
                if self.head_was_moved(&candidate) {
                    return true;
                }
                self.roll_back_trial(EndedBy::Server, "HEAD could not be written").await;
                false
            }
        }
    }

    /// Whether `HEAD` names the candidate although moving it failed and it could not be put back either.
    ///
    /// That happens when the disk fails right after the rename. What the bot would boot from counts, so the change is
    /// committed then.
    fn head_was_moved(&self, candidate: &VersionRef) -> bool {
        match self.services.versions.files().head() {
            Ok(Some((head, document))) if head.version_ref() == *candidate => {
                tracing::error!("HEAD names version {} and stays so", head.version);
                self.services.current.set_committed(head, document);
                true
            }
            _ => false,
        }
    }

    /// Makes `HEAD` name the base again: the trial ended before it was moved, or moving it failed halfway. False when that
    /// cannot be done now. Nothing of the store is needed for it.
    pub(crate) fn restore_base(&mut self) -> bool {
        let Some(live) = &self.live else { return false };
        let base = live.txn.plan.base.clone();
        let files = self.services.versions.files();
        let document = match files.load(&base) {
            Ok(document) => document,
            Err(error) => {
                tracing::error!("the base of a config change cannot be read: {error}");
                return false;
            }
        };
        let head = VersionHead::naming(&base, "restored");
        match files.put_back(&head, &document) {
            Ok(()) => {
                self.services.current.set_committed(head, document);
                true
            }
            Err(error) => {
                tracing::error!("HEAD could not be put back: {error}");
                false
            }
        }
    }

    /// Tells the bot that its trial is permanent. `HEAD` says so already.
    pub(crate) async fn send_commit(&mut self) {
        let Some(message) = self.end_message() else { return };
        let Some(live) = &self.live else { return };
        let candidate = live.txn.plan.candidate.clone();
        let answer = self.services.bots.config_commit(&message).await;
        failpoints::point("config.commit_acked");
        match &answer {
            Ok(ack) if ack.txn == message.txn && ack.running.sha256 == candidate.sha256 => {
                self.services.current.record_acknowledged(&ack.running, &ack.boot_epoch);
                self.end_committed().await;
            }
            Ok(_) | Err(CallError::Refused(_) | CallError::NotCapable(_)) => {
                self.mark_answer_unproven(&answer);
            }
            Err(_) => self.mark_commit_unproven().await,
        }
    }

    /// What ends the live trial at the bot.
    pub(crate) fn end_message(&self) -> Option<EndTrialRequest> {
        let generation = self.services.recorder.generation();
        self.live.as_ref().map(|live| EndTrialRequest { txn: live.txn.id.clone(), generation })
    }

    /// The bot's answer leaves open what it runs: it is asked that at once.
    fn mark_answer_unproven(&mut self, answer: &Result<ConfigAck, CallError>) {
        if let Some(live) = &mut self.live {
            live.refused = Some(match answer {
                Ok(ack) => format!("it acknowledged transaction {} running {}", ack.txn, ack.running.sha256),
                Err(CallError::Refused(refusal)) => format!("{}: {}", refusal.code, refusal.message),
                Err(error) => Error::from(error.clone()).problem("", Utc::now()).cause,
            });
            live.mark_unproven_now();
        }
    }

    /// D7: the bot keeps the candidate.
    pub(crate) async fn end_committed(&mut self) {
        let asked = self.live.as_ref().and_then(|live| live.txn.progress.settled_by.as_ref());
        let text = match asked {
            Some(actor) => format!("confirmed by {}", actor.key_id),
            None => "confirmed by itself: all criteria held".to_owned(),
        };
        self.end(TransactionState::Committed, EndedBy::Operator, &text).await;
    }

    /// The bot's commit got no answer. `HEAD` decides: the bot keeps the candidate, or boots it.
    async fn mark_commit_unproven(&mut self) {
        let Some(live) = &mut self.live else { return };
        let is_gone = self.services.bots.snapshot().presence == Presence::Exited;
        if is_gone || live.silence_needs_a_person() {
            let text = "confirmed; the bot boots it from HEAD";
            return self.end(TransactionState::Committed, EndedBy::Operator, text).await;
        }
        live.in_doubt = true;
        live.wait_for_an_answer();
    }

    /// R1: the trial is to be undone. Works although nothing can be recorded.
    pub(crate) async fn roll_back_trial(&mut self, by: EndedBy, outcome: &str) {
        let Some(live) = &mut self.live else { return };
        live.txn.progress.by = Some(by);
        live.txn.progress.outcome = Some(outcome.to_owned());
        (live.in_doubt, live.unrecorded) = (false, false);
        let recorder = &self.services.recorder;
        // A record that comes later than this is written in its place all the same: the store keeps the order.
        let recorded = tokio::time::timeout(RECORD_WAIT, recorder.record(live, TransactionState::Reverting));
        let unrecorded = match recorded.await {
            Ok(recorded) => recorded.err().map(|error| error.to_string()),
            Err(_) => Some(format!("the store does not take it within {RECORD_WAIT:?}")),
        };
        if let Some(why) = unrecorded {
            tracing::error!("config change {} is undone without a record for now: {why}", live.txn.id);
            recorder.go_on_unrecorded(live, TransactionState::Reverting);
        }
        failpoints::point("config.r1");
        self.send_revert().await;
    }

    /// Tells the bot to go back to `HEAD`. R2 when it did.
    pub(crate) async fn send_revert(&mut self) {
        let Some(message) = self.end_message() else { return };
        let answer = self.services.bots.config_revert(&message).await;
        failpoints::point("config.revert_acked");
        let head = self.services.current.head().map(|committed| committed.head.sha256.clone());
        let Some(live) = &mut self.live else { return };
        match &answer {
            Ok(ack) if ack.txn == message.txn && Some(&ack.running.sha256) == head.as_ref() => {
                self.services.current.record_acknowledged(&ack.running, &ack.boot_epoch);
                let (by, outcome) = live.ending_as(&ack.boot_epoch);
                self.end_rolled_back(by, &outcome).await;
            }
            Ok(_) | Err(CallError::Refused(_) | CallError::NotCapable(_)) => {
                self.mark_answer_unproven(&answer);
            }
            Err(_) if self.services.bots.snapshot().presence == Presence::Exited => {
                self.treat_bot_as_exited().await;
            }
            Err(_) => self.ask_again_later().await,
        }
    }

    /// The bot took the change back. It must also run what is committed before the end is recorded, so a bot that still
    /// holds what it read at its start, or that was asked to end, is started once more.
    pub(crate) async fn end_rolled_back(&mut self, by: EndedBy, outcome: &str) {
        let Some(live) = self.live.as_ref() else { return };
        if !live.txn.plan.boot_once {
            return self.end(TransactionState::RolledBack, by, outcome).await;
        }
        let (id, ending_boot_epoch) = (live.txn.id.clone(), live.txn.progress.ending_boot_epoch.clone());
        let Ok(state) = self.services.bots.config_state().await else {
            return self.ask_again_later().await;
        };
        let was_asked_to_end = ending_boot_epoch.as_deref() == Some(&state.boot_epoch);
        if state.pending_restart.is_empty() && !was_asked_to_end {
            return self.end(TransactionState::RolledBack, by, outcome).await;
        }
        if let Err(error) = self.record_ended_process(&state.boot_epoch).await {
            tracing::error!("the bot is started with the committed config without a record: {error}");
        }
        // The same command for the same process: one that heard it before does not act on it twice.
        let command_id = format!("config-{id}-end-{}", state.boot_epoch);
        let outcome = match self.services.restart.restart(command_id, &state.boot_epoch).await {
            Ok(()) => format!("{outcome}; the bot was started again with the committed config"),
            Err(problem) => {
                self.services.bots.expect_no_restart();
                tracing::error!("the bot could not be started again with the committed config: {problem}");
                format!("{outcome}; the bot still has to be started again ({problem})")
            }
        };
        self.end(TransactionState::RolledBack, by, &outcome).await;
    }
}
