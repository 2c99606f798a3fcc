//! Goes on with a transaction after a lost answer, a crash of either side, or a start of the bot.
//!
//! The bot is asked what it runs, and its answer decides.
//!
//! Which process of the bot was asked to end is written down before it is asked: whoever takes the change up after a
//! restart of botops starts the next one, so no bot stays down over a change.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::finish::TrialDriver;
use super::live::{LiveTrial, TOO_LATE};
use super::restart::START_PAUSE;
use crate::bots::{CallError, Presence};
use crate::configs::transaction::{ConfigTransaction, EndedBy, TransactionState};
use crate::operations_log::{self, OperationKind};
use botops_contract::ConfigState;
use botops_core::error::Error;

impl TrialDriver {
    /// Continues the transaction that an earlier process of botops left live.
    pub(crate) async fn resume_transaction(&mut self) -> Result<(), Error> {
        if self.live.is_some() {
            return Ok(());
        }
        // Only read: a trial that runs is led to its end also while nothing can be written.
        let store = &self.services.store;
        let left =
            store.read(|connection| Ok(operations_log::live(connection, OperationKind::Config)?)).await?;
        let ids: Vec<String> = left.iter().map(|op| op.op_id.clone()).collect();
        store.post("that config changes were taken up", move |connection| {
            for id in &ids {
                operations_log::count_recovery(connection, id)?;
            }
            Ok(())
        });
        for op in left {
            let txn = match ConfigTransaction::of(&op) {
                Ok(txn) => txn,
                Err(error) => {
                    tracing::error!("config change {} is not readable and is left alone: {error}", op.op_id);
                    continue;
                }
            };
            tracing::warn!(config.txn = %txn.id, "config change {} was {} when botops ended", txn.id, txn.state.as_str());
            let never_sent = matches!(txn.state, TransactionState::Prepared | TransactionState::Checked);
            self.services.current.show_live(&txn);
            self.live = Some(LiveTrial::new(txn, true));
            if never_sent {
                let text = "botops was restarted before the bot heard of it";
                self.end(TransactionState::Rejected, EndedBy::Recovery, text).await;
            }
            if self.live.is_some() {
                // One at a time, by the lock; a second one would be taken up by the next start.
                break;
            }
        }
        Ok(())
    }

    /// Asks the bot what it runs and goes on from there.
    pub(crate) async fn ask_bot_what_it_runs(&mut self) {
        if self.live.is_none() {
            return;
        }
        match self.services.bots.config_state().await {
            Ok(state) => self.reconcile_with_bot(&state).await,
            Err(_) if self.services.bots.snapshot().presence == Presence::Exited => {
                self.treat_bot_as_exited().await;
            }
            Err(CallError::NotCapable(_)) => self.end_without_capability().await,
            Err(_) => {
                if let Some(live) = &mut self.live {
                    live.in_doubt = true;
                }
                self.ask_again_later().await;
            }
        }
    }

    /// A bot that does not list `config` any more cannot be asked what it runs, now or later.
    async fn end_without_capability(&mut self) {
        let text = "the bot does not list `config` any more, so it is not known what it runs. A person has to see what \
                    the bot runs; the committed version is not changed";
        self.end(TransactionState::FailedAttention, EndedBy::Bot, text).await;
    }

    /// Asks again soon, or calls for a person when that was tried for long.
    pub(crate) async fn ask_again_later(&mut self) {
        let Some(live) = &mut self.live else { return };
        if !live.silence_needs_a_person() {
            return live.wait_for_an_answer();
        }
        let text = "the bot did not say what it runs; its own timer should have brought it back to HEAD";
        self.end(TransactionState::FailedAttention, EndedBy::Recovery, text).await;
    }

    /// A bot that is gone boots from `HEAD`, unless it still has a candidate that it boots once.
    pub(crate) async fn treat_bot_as_exited(&mut self) {
        let Some(live) = &self.live else { return };
        let (over, owed_a_start) = (live.silence_needs_a_person(), live.is_owed_a_start());
        if owed_a_start && !over {
            // Whatever it boots, it says so.
            return self.start_next_process().await;
        }
        if self.services.current.is_committed(&live.txn.plan.candidate) {
            let text = "confirmed; the bot boots it from HEAD";
            return self.end(TransactionState::Committed, EndedBy::Operator, text).await;
        }
        if owed_a_start {
            let (by, outcome) = live.recorded_ending();
            let (candidate, base) = (live.txn.plan.candidate.version, live.txn.plan.base.version);
            let text = format!(
                "{outcome}; the bot does not start. A person has to start it: its next start may still try version \
                 {candidate}, once and until its own timer ends that; any other one runs version {base}"
            );
            return self.end(TransactionState::FailedAttention, by, &text).await;
        }
        let (by, text) = match live.txn.state {
            TransactionState::Reverting if !live.is_undone_for_heartbeat() => live.recorded_ending(),
            _ => (EndedBy::BotCrash, "the bot died; it starts from the committed config".to_owned()),
        };
        self.end(TransactionState::RolledBack, by, &text).await;
    }

    /// What the bot says decides.
    async fn reconcile_with_bot(&mut self, state: &ConfigState) {
        self.services.recorder.exceed_generation(state.generation);
        let Some(live) = &self.live else { return };
        let candidate = &live.txn.plan.candidate;
        let on_trial = state.trial.as_ref().is_some_and(|trial| trial.txn == live.txn.id);
        let runs_candidate = state.running.sha256 == candidate.sha256;
        let head_is_moved = self.services.current.is_committed(candidate);
        self.services.current.record_acknowledged(&state.running, &state.boot_epoch);
        if on_trial && runs_candidate {
            return self.reconcile_in_trial(state, head_is_moved).await;
        }
        if head_is_moved && runs_candidate {
            return self.end_committed().await;
        }
        if head_is_moved {
            return self.take_head_back().await;
        }
        self.reconcile_without_trial(state).await;
    }

    /// The bot's timer went off before the confirmation reached it: the trial is over, and `HEAD` goes back. Until it has,
    /// the change is not over, since the bot's next start would run it.
    async fn take_head_back(&mut self) {
        if self.restore_base() {
            let text = "the bot went back by its own timer before the confirmation reached it";
            return self.end(TransactionState::RolledBack, EndedBy::BotTimer, text).await;
        }
        let Some(live) = &mut self.live else { return };
        let (candidate, base) = (live.txn.plan.candidate.version, live.txn.plan.base.version);
        let text = format!(
            "the bot went back to version {base} by its own timer, and HEAD still names version {candidate}: the config \
             folder cannot be written"
        );
        if live.silence_needs_a_person() {
            let text = format!(
                "{text}. A person has to make room there, and then to roll back to version {base}: a bot that boots from \
                 HEAD runs version {candidate} at its next start"
            );
            return self.end(TransactionState::FailedAttention, EndedBy::BotTimer, &text).await;
        }
        live.in_doubt = true;
        live.wait_for_an_answer();
        live.txn.progress.outcome = Some(text);
        self.services.current.show_live(&live.txn);
    }

    /// The bot runs the candidate and waits to be told to keep it or to go back.
    async fn reconcile_in_trial(&mut self, state: &ConfigState, head_is_moved: bool) {
        let Some(live) = &mut self.live else { return };
        live.in_doubt = false;
        live.txn.progress.boot_epoch = Some(state.boot_epoch.clone());
        let left = live.left();
        match live.txn.state {
            TransactionState::Reverting => self.try_refusing_bot_again().await,
            TransactionState::Confirming if head_is_moved => self.try_refusing_bot_again().await,
            TransactionState::Confirming if left >= TOO_LATE => self.move_head_and_commit().await,
            TransactionState::Confirming => {
                let text = "botops was restarted while confirming, and too little time was left";
                self.roll_back_trial(EndedBy::Recovery, text).await;
            }
            _ if left == Duration::ZERO => {
                self.roll_back_trial(EndedBy::Deadline, "nobody confirmed it in time").await;
            }
            TransactionState::Activating => {
                if live.txn.plan.boot_once {
                    live.begin_now(state);
                    live.txn.progress.ending_boot_epoch = None;
                }
                // Known by now: it runs.
                live.txn.progress.outcome = None;
                let recorder = &self.services.recorder;
                if let Err(error) = recorder.record(live, TransactionState::Trial).await {
                    recorder.watch_unrecorded(live, &error);
                }
            }
            _ => {}
        }
    }

    /// The bot answers, and does not end the trial: once more after a longer wait, or it needs a person.
    async fn try_refusing_bot_again(&mut self) {
        let Some(live) = &mut self.live else { return };
        if !live.refusals_need_a_person() {
            return live.wait_after_refusal();
        }
        let why = live.refused.as_deref().unwrap_or("it gives no reason");
        let (candidate, base) = (live.txn.plan.candidate.version, live.txn.plan.base.version);
        let text = if live.txn.state == TransactionState::Confirming {
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
        self.end(TransactionState::FailedAttention, EndedBy::Bot, &text).await;
    }

    /// The bot does not run this trial (any more), and `HEAD` was not moved.
    async fn reconcile_without_trial(&mut self, state: &ConfigState) {
        let Some(live) = &self.live else { return };
        let head = self.services.current.head().map(|committed| committed.head.sha256.clone());
        if Some(&state.running.sha256) != head.as_ref() {
            let text = "the bot runs neither the committed config nor this trial";
            return self.end(TransactionState::FailedAttention, EndedBy::Recovery, text).await;
        }
        let expired = state
            .last_outcome
            .as_ref()
            .is_some_and(|(txn, outcome)| *txn == live.txn.id && outcome == "trial_expired");
        let progress = &live.txn.progress;
        let was_started = progress.ending_boot_epoch.is_some();
        let is_another_process = progress.boot_epoch.as_ref().is_some_and(|epoch| *epoch != state.boot_epoch);
        let (by, text) = match live.txn.state {
            TransactionState::Reverting => {
                let (by, outcome) = live.ending_as(&state.boot_epoch);
                return self.end_rolled_back(by, &outcome).await;
            }
            TransactionState::Activating if expired => {
                (EndedBy::BotTimer, "the bot went back by its own timer")
            }
            TransactionState::Activating => {
                // An activation that is still on its way must not start it any more: the bot remembers a revert.
                let Some(message) = self.end_message() else { return };
                if self.services.bots.config_revert(&message).await.is_err() {
                    return self.ask_again_later().await;
                }
                if is_another_process && was_started {
                    // Its one try may be spent by a start that died of it.
                    (EndedBy::BotCrash, "the bot was started for it and came up with the committed config")
                } else if is_another_process {
                    (EndedBy::BotCrash, "the bot died while it took the change; it runs the committed config")
                } else {
                    (EndedBy::Recovery, "what the bot did with it is not known; it runs the committed config")
                }
            }
            _ if is_another_process => {
                (EndedBy::BotCrash, "the bot died during the trial; it runs the committed config")
            }
            _ if expired => (EndedBy::BotTimer, "the bot went back by its own timer"),
            _ => (EndedBy::Recovery, "the bot runs the committed config again"),
        };
        self.end_rolled_back(by, text).await;
    }

    /// Starts the bot again, so that it boots the candidate, and goes on from what it says then.
    pub(crate) async fn boot_candidate(&mut self) {
        let Some(live) = &mut self.live else { return };
        live.boots = false;
        let old = live.txn.progress.boot_epoch.clone().unwrap_or_default();
        let command_id = format!("config-{}-end-{old}", live.txn.id);
        if let Err(error) = self.record_ended_process(&old).await {
            tracing::error!("a config change that takes a start of the bot cannot be recorded: {error}");
            if let Some(live) = &mut self.live {
                // Nobody asked it to end, so nobody has to start it again.
                live.txn.progress.ending_boot_epoch = None;
            }
            return self.roll_back_trial(EndedBy::Server, "the start of the bot could not be recorded").await;
        }
        if let Err(problem) = self.services.restart.restart(command_id, &old).await {
            tracing::error!("the bot could not be started with a config change: {problem}");
            // Its one try is spent, or is taken back below: it boots what is committed.
            if let Err(also) = self.services.restart.start_and_wait(&old).await {
                tracing::error!("nor with the committed config: {also}");
            }
            // A bot that is gone is called gone, and started again, without waiting for this start any longer.
            self.services.bots.expect_no_restart();
            return self
                .roll_back_trial(EndedBy::BotCrash, &format!("the bot did not start with it: {problem}"))
                .await;
        }
        if let Some(live) = &mut self.live {
            live.mark_unproven_now();
        }
        self.ask_bot_what_it_runs().await;
    }

    /// Starts the process that this change owes the bot. A start that fails is tried again after a pause.
    async fn start_next_process(&mut self) {
        let Some(live) = &mut self.live else { return };
        live.in_doubt = true;
        let progress = &live.txn.progress;
        let old =
            progress.ending_boot_epoch.clone().or_else(|| progress.boot_epoch.clone()).unwrap_or_default();
        if !self.services.restart.start_after(&old).await {
            tracing::error!(
                "the bot could not be started for a config change; it is tried again in {START_PAUSE:?}"
            );
        }
        // The start itself took its time.
        if let Some(live) = &mut self.live {
            live.retry_at = Instant::now() + START_PAUSE;
        }
    }

    /// Writes down which process of the bot is about to be asked to end.
    pub(crate) async fn record_ended_process(&mut self, boot_epoch: &str) -> Result<(), Error> {
        let Some(live) = &mut self.live else { return Ok(()) };
        live.txn.progress.ending_boot_epoch = Some(boot_epoch.to_owned());
        let (id, to) = (live.txn.id.clone(), live.txn.as_move());
        let write = move |connection: &rusqlite::Connection| {
            Ok(operations_log::advance(connection, &id, &to, "starting_bot", &Value::Null)?)
        };
        self.services.store.write(write).await.map(|_| ())
    }
}
