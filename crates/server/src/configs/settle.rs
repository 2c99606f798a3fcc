//! How a transaction ends: made permanent, undone, or looked into after a lost answer, a crash or a restart.
//!
//! The bot's word decides. Whenever it boots, its timer fires or it is in doubt, it loads `HEAD`; so a bot that is
//! gone runs `HEAD` when it comes back, and that is known without asking it.

use std::time::{Duration, Instant};

use chrono::Utc;

use super::snapshot::Committed;
use super::trial::{BOT_GRACE, Desk, GIVE_UP, Live, REFUSALS_END, TOO_LATE};
use super::txn::{By, Txn, TxnState};
use crate::bots::{CallError, Presence};
use crate::operations_log::{self, OperationKind};
use botops_contract::{ConfigAck, ConfigState, Settle, VersionRef};
use botops_core::error::Error;
use botops_core::failpoints;

impl Desk {
    /// Takes up what an earlier process left live.
    pub(super) async fn take_up(&mut self) -> Result<(), Error> {
        if self.live.is_some() {
            return Ok(());
        }
        let left = self
            .shared
            .store
            .write(|connection| {
                let rows = operations_log::live(connection, OperationKind::Config)?;
                for row in &rows {
                    operations_log::count_recovery(connection, &row.op_id)?;
                }
                Ok(rows)
            })
            .await?;
        for op in left {
            let txn = match Txn::of(&op) {
                Ok(txn) => txn,
                Err(error) => {
                    tracing::error!("config change {} is not readable and is left alone: {error}", op.op_id);
                    continue;
                }
            };
            tracing::warn!(config.txn = %txn.id, "config change {} was {} when botops ended", txn.id, txn.state.as_str());
            let never_sent = matches!(txn.state, TxnState::Prepared | TxnState::Checked);
            self.show(&txn);
            self.live = Some(Live::new(txn, true));
            if never_sent {
                let text = "botops was restarted before the bot heard of it";
                self.end(TxnState::Rejected, By::Recovery, text).await;
            }
            if self.live.is_some() {
                // One at a time, by the lock; a second one would be looked at after the next start.
                break;
            }
        }
        Ok(())
    }

    /// D5, then `HEAD`, then the bot's commit, then D7.
    pub(super) async fn make_permanent(&mut self) {
        let Some(mut live) = self.live.take() else { return };
        let noted = match self.record(&mut live, TxnState::Confirming).await {
            Ok(()) => self.shared.audit.flush().await,
            Err(error) => Err(error),
        };
        failpoints::point("config.d5");
        let id = live.txn.id.clone();
        self.live = Some(live);
        if let Err(error) = noted {
            tracing::error!("config change {id} cannot be confirmed, since it cannot be recorded: {error}");
            return self.undo(By::Server, "the confirmation could not be recorded").await;
        }
        if self.move_head().await {
            failpoints::point("config.d6");
            self.send_commit().await;
        }
    }

    /// D6: `HEAD` names the candidate. False when it could not be moved, and the trial is being undone.
    async fn move_head(&mut self) -> bool {
        let Some(live) = &self.live else { return false };
        let candidate = live.txn.plan.candidate.clone();
        let head = self.shared.head_of(&candidate, &live.txn.id);
        let moved = match self.shared.history.load(&candidate) {
            Ok(document) => {
                let (history, for_thread) = (self.shared.history.clone(), (head.clone(), document.clone()));
                let (head_there, document_there) = for_thread;
                let done =
                    tokio::task::spawn_blocking(move || history.commit(&head_there, &document_there)).await;
                done.map_err(|error| error.to_string())
                    .and_then(|done| done.map_err(|error| error.to_string()))
                    .map(|()| document)
            }
            Err(problem) => Err(problem),
        };
        match moved {
            Ok(document) => {
                self.shared.show_head(head, document);
                true
            }
            Err(problem) => {
                tracing::error!("HEAD could not be moved: {problem}");
                self.restore_base().await;
                if self.head_was_moved(&candidate) {
                    return true;
                }
                self.undo(By::Server, "HEAD could not be written").await;
                false
            }
        }
    }

    /// Whether `HEAD` names the candidate although moving it failed and it could not be put back either, as when the
    /// disk fails right after the rename. What the bot would boot from counts, so the change is committed then.
    fn head_was_moved(&self, candidate: &VersionRef) -> bool {
        match self.shared.history.head() {
            Ok(Some((head, document))) if head.as_ref() == *candidate => {
                tracing::error!("HEAD names version {} and stays so", head.version);
                self.shared.show_head(head, document);
                true
            }
            _ => false,
        }
    }

    /// `HEAD` names the base again: the trial ended before it was moved, or moving it failed halfway.
    async fn restore_base(&mut self) {
        let Some(live) = &self.live else { return };
        let base = live.txn.plan.base.clone();
        let document = match self.shared.load_version(base.version).await {
            Ok(document) => document,
            Err(error) => return tracing::error!("the base of a config change cannot be read: {error}"),
        };
        let head = self.shared.head_of(&base, "restored");
        match self.shared.history.put_back(&head, &document) {
            Ok(()) => self.shared.show_head(head, document),
            Err(error) => tracing::error!("HEAD could not be put back: {error}"),
        }
    }

    /// Tells the bot that its trial is permanent. `HEAD` says so already.
    pub(super) async fn send_commit(&mut self) {
        let Some(live) = &self.live else { return };
        let message = Settle { txn: live.txn.id.clone(), generation: self.generation() };
        let candidate = live.txn.plan.candidate.clone();
        let answer = self.shared.bots.config_commit(&message).await;
        failpoints::point("config.commit_acked");
        match &answer {
            Ok(ack) if ack.txn == message.txn && ack.running.sha256 == candidate.sha256 => {
                self.shared.note_running(&ack.running, &ack.boot_epoch);
                self.committed_for_good().await;
            }
            Ok(_) | Err(CallError::Refused(_) | CallError::NotCapable(_)) => self.doubt(&answer),
            Err(_) => self.doubt_commit().await,
        }
    }

    /// The bot's answer needs a closer look, at once.
    fn doubt(&mut self, answer: &Result<ConfigAck, CallError>) {
        if let Some(live) = &mut self.live {
            live.refused = Some(match answer {
                Ok(ack) => format!("it acknowledged transaction {} running {}", ack.txn, ack.running.sha256),
                Err(CallError::Refused(refusal)) => format!("{}: {}", refusal.code, refusal.message),
                Err(error) => Error::from(error.clone()).problem("", Utc::now()).cause,
            });
            live.in_doubt = true;
            live.retry_at = Instant::now();
        }
    }

    /// The bot answers, and does not end the trial: once more after a longer wait, or it needs a person.
    async fn insist(&mut self) {
        let Some(live) = &self.live else { return };
        if Instant::now() < live.ends_at + BOT_GRACE + REFUSALS_END {
            return self.wait_after_refusal();
        }
        let why = live.refused.as_deref().unwrap_or("it gives no reason");
        let (candidate, base) = (live.txn.plan.candidate.version, live.txn.plan.base.version);
        let text = if live.txn.state == TxnState::Confirming {
            format!(
                "the bot refuses to keep it for good ({why}). Version {candidate} is committed, and is what the bot \
                 boots; it still runs it as a trial. A person has to read the bot's log and start the bot again"
            )
        } else {
            format!(
                "the bot refuses to go back ({why}). It runs version {candidate}, which is not confirmed; version \
                 {base} is committed. A person has to read the bot's log and start the bot again: it boots version \
                 {base}"
            )
        };
        self.end(TxnState::FailedAttention, By::Bot, &text).await;
    }

    async fn committed_for_good(&mut self) {
        let asked = self.live.as_ref().and_then(|live| live.txn.progress.settled_by.as_ref());
        let text = match asked {
            Some(actor) => format!("confirmed by {}", actor.key_id),
            None => "confirmed by itself: all criteria held".to_owned(),
        };
        self.end(TxnState::Committed, By::Operator, &text).await;
    }

    /// The bot's commit got no answer. `HEAD` decides: the bot keeps the candidate, or boots it.
    async fn doubt_commit(&mut self) {
        let Some(live) = &mut self.live else { return };
        let gone = self.shared.bots.snapshot().presence == Presence::Exited;
        let waited_enough = Instant::now() >= live.ends_at + BOT_GRACE + GIVE_UP;
        if gone || waited_enough {
            let text = "confirmed; the bot boots it from HEAD";
            return self.end(TxnState::Committed, By::Operator, text).await;
        }
        live.in_doubt = true;
        self.wait_a_little();
    }

    /// R1: it is to be undone. Works although nothing can be recorded.
    pub(super) async fn undo(&mut self, by: By, outcome: &str) {
        let Some(mut live) = self.live.take() else { return };
        live.txn.progress.by = Some(by);
        live.txn.progress.outcome = Some(outcome.to_owned());
        live.in_doubt = false;
        if let Err(error) = self.record(&mut live, TxnState::Reverting).await {
            tracing::error!("config change {} is undone without a record for now: {error}", live.txn.id);
        }
        failpoints::point("config.r1");
        self.live = Some(live);
        self.send_revert().await;
    }

    /// Tells the bot to go back to `HEAD`. R2 when it did.
    pub(super) async fn send_revert(&mut self) {
        let Some(live) = &mut self.live else { return };
        let message = Settle { txn: live.txn.id.clone(), generation: self.generation() };
        let answer = self.shared.bots.config_revert(&message).await;
        failpoints::point("config.revert_acked");
        let head = self.shared.head.load_full().map(|head| head.head.sha256.clone());
        match &answer {
            Ok(ack) if ack.txn == message.txn && Some(&ack.running.sha256) == head.as_ref() => {
                self.shared.note_running(&ack.running, &ack.boot_epoch);
                let (by, outcome) = self.ending_in(&ack.boot_epoch);
                self.undone(by, &outcome).await;
            }
            Ok(_) | Err(CallError::Refused(_) | CallError::NotCapable(_)) => self.doubt(&answer),
            Err(_) if self.shared.bots.snapshot().presence == Presence::Exited => self.bot_is_gone().await,
            Err(_) => self.keep_asking().await,
        }
    }

    /// On whose account it is undone, as noted before.
    fn ending(&self) -> (By, String) {
        let progress = self.live.as_ref().map(|live| &live.txn.progress);
        let by = progress.and_then(|progress| progress.by).unwrap_or(By::Recovery);
        let outcome = progress.and_then(|progress| progress.outcome.clone());
        (by, outcome.unwrap_or_else(|| "undone after a restart of botops".to_owned()))
    }

    /// The same, now that the bot is in this life: one that was missed and begins another had died.
    fn ending_in(&self, boot_epoch: &str) -> (By, String) {
        let missed = self.live.as_ref().filter(|live| live.fell_silent());
        let before = missed.and_then(|live| live.txn.progress.boot_epoch.as_deref());
        if before.is_some_and(|before| before != boot_epoch) {
            let text = "the bot died during the trial; it runs the committed config";
            return (By::BotCrash, text.to_owned());
        }
        self.ending()
    }

    /// Asks again soon, or calls for a person when that was tried for long.
    pub(super) async fn keep_asking(&mut self) {
        let Some(live) = &mut self.live else { return };
        if Instant::now() < live.ends_at + BOT_GRACE + GIVE_UP {
            return self.wait_a_little();
        }
        let text = "the bot did not say what it runs; its own timer should have brought it back to HEAD";
        self.end(TxnState::FailedAttention, By::Recovery, text).await;
    }

    /// Asks the bot what it runs and goes on from there.
    pub(super) async fn look_into(&mut self) {
        if self.live.is_none() {
            return;
        }
        match self.shared.bots.config_state().await {
            Ok(state) => self.go_on(&state).await,
            Err(_) if self.shared.bots.snapshot().presence == Presence::Exited => self.bot_is_gone().await,
            Err(_) => {
                if let Some(live) = &mut self.live {
                    live.in_doubt = true;
                }
                self.keep_asking().await;
            }
        }
    }

    /// A bot that is gone boots from `HEAD`.
    async fn bot_is_gone(&mut self) {
        let over = self.live.as_ref().is_none_or(|live| Instant::now() >= live.ends_at + BOT_GRACE + GIVE_UP);
        if !over && self.begin_life().await {
            // Whatever it boots, it says so.
            return;
        }
        let Some(live) = &self.live else { return };
        if self.head_is_candidate(&live.txn) {
            let text = "confirmed; the bot boots it from HEAD";
            return self.end(TxnState::Committed, By::Operator, text).await;
        }
        let (by, text) = match live.txn.state {
            TxnState::Reverting if !live.fell_silent() => self.ending(),
            _ => (By::BotCrash, "the bot died; it starts from the committed config".to_owned()),
        };
        self.end(TxnState::RolledBack, by, &text).await;
    }

    pub(super) fn head_is_candidate(&self, txn: &Txn) -> bool {
        let head = self.shared.head.load_full();
        head.is_some_and(|head: std::sync::Arc<Committed>| {
            head.head.sha256 == txn.plan.candidate.sha256 && head.head.version == txn.plan.candidate.version
        })
    }

    /// What the bot says decides.
    async fn go_on(&mut self, state: &ConfigState) {
        self.outrun(state.generation);
        let Some(live) = &mut self.live else { return };
        let id = live.txn.id.clone();
        let candidate = live.txn.plan.candidate.sha256.clone();
        let on_trial = state.trial.as_ref().is_some_and(|trial| trial.txn == id);
        let runs_candidate = state.running.sha256 == candidate;
        let moved = {
            let head = self.shared.head.load_full();
            head.is_some_and(|head| {
                head.head.sha256 == candidate && head.head.version == live.txn.plan.candidate.version
            })
        };
        self.shared.note_running(&state.running, &state.boot_epoch);
        if on_trial && runs_candidate {
            return self.still_on_trial(state, moved).await;
        }
        if moved && runs_candidate {
            return self.committed_for_good().await;
        }
        if moved {
            // Its timer went off before HEAD was moved: the trial is over, and HEAD goes back.
            self.restore_base().await;
            let text = "the bot went back by its own timer before the confirmation reached it";
            return self.end(TxnState::RolledBack, By::BotTimer, text).await;
        }
        self.not_on_trial(state).await;
    }

    /// The bot runs the candidate and waits for a word.
    async fn still_on_trial(&mut self, state: &ConfigState, moved: bool) {
        let Some(live) = &mut self.live else { return };
        live.in_doubt = false;
        live.txn.progress.boot_epoch = Some(state.boot_epoch.clone());
        let left = live.ends_at.saturating_duration_since(Instant::now());
        match live.txn.state {
            TxnState::Reverting => self.insist().await,
            TxnState::Confirming if moved => self.insist().await,
            TxnState::Confirming if left >= TOO_LATE => {
                let moved = self.move_head().await;
                if moved {
                    self.send_commit().await;
                }
            }
            TxnState::Confirming => {
                self.undo(
                    By::Recovery,
                    "botops was restarted while confirming, and too little time was left",
                )
                .await;
            }
            _ if left == Duration::ZERO => {
                self.undo(By::Deadline, "nobody confirmed it in time").await;
            }
            TxnState::Activating => {
                let Some(mut live) = self.live.take() else { return };
                if live.txn.plan.boot_once {
                    live.begins(state);
                    live.txn.progress.ends_life = None;
                }
                // Known by now: it runs.
                live.txn.progress.outcome = None;
                live.in_doubt = self.record(&mut live, TxnState::Trial).await.is_err();
                self.live = Some(live);
                self.wait_a_little();
            }
            _ => {}
        }
    }

    /// The bot does not run this trial (any more), and `HEAD` was not moved.
    async fn not_on_trial(&mut self, state: &ConfigState) {
        let Some(live) = &self.live else { return };
        let id = live.txn.id.clone();
        let head = self.shared.head.load_full().map(|head| head.head.sha256.clone());
        if Some(&state.running.sha256) != head.as_ref() {
            let text = "the bot runs neither the committed config nor this trial";
            return self.end(TxnState::FailedAttention, By::Recovery, text).await;
        }
        let expired = state
            .last_outcome
            .as_ref()
            .is_some_and(|(txn, outcome)| *txn == id && outcome == "trial_expired");
        let new_life = live.txn.progress.boot_epoch.as_ref().is_some_and(|epoch| *epoch != state.boot_epoch);
        match live.txn.state {
            TxnState::Reverting => {
                let (by, outcome) = self.ending_in(&state.boot_epoch);
                self.undone(by, &outcome).await;
            }
            TxnState::Activating => {
                // An activation that is still on its way must not start it any more: the bot remembers a revert.
                let message = Settle { txn: id, generation: self.generation() };
                if self.shared.bots.config_revert(&message).await.is_err() {
                    return self.keep_asking().await;
                }
                let (by, text) = if new_life {
                    (By::BotCrash, "the bot died while it took the change; it runs the committed config")
                } else {
                    (By::Recovery, "the change did not reach the bot; it runs the committed config")
                };
                self.undone(by, text).await;
            }
            _ if new_life => {
                let text = "the bot died during the trial; it runs the committed config";
                self.undone(By::BotCrash, text).await;
            }
            _ if expired => {
                let text = "the bot went back by its own timer";
                self.undone(By::BotTimer, text).await;
            }
            _ => {
                let text = "the bot runs the committed config again";
                self.undone(By::Recovery, text).await;
            }
        }
    }
}
