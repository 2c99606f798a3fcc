//! Trying a change that the bot only reads at its start: it is started again, boots the candidate once, and boots what is
//! committed at any start after that, unless the change was made permanent.
//!
//! The bot keeps the promise of "once" by itself (it spends the try on disk before it loads the candidate), so a kill of
//! either side at any moment leads back to `HEAD`. Kept from users: asking the bot to end, making sure that it ended,
//! starting it, waiting for it. Deliberately absent: pausing trade. What the bot holds, its ledger keeps.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Shared;
use super::trial::{BOT_GRACE, Desk, Live};
use super::txn::{By, Deadline};
use crate::contract::{BOOT_ONCE, CommandRequest, ConfigState, Verb};
use crate::kill;

/// How long the bot may take to end, start and answer.
pub(super) const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// How long it may take to end when it was asked to.
const DRAIN: Duration = Duration::from_secs(20);

/// How long it may take to end when it was told to.
const GRACE: Duration = Duration::from_secs(10);

/// How long its broker session may take to be as it was.
const SIGN_IN: Duration = Duration::from_secs(15);

/// How often it is started again when it ends at once.
const MORE_STARTS: u32 = 3;

/// How long a life that ended may still hold its lock.
const LET_GO: Duration = Duration::from_secs(2);

/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(50);

impl Live {
    /// The bot has booted the candidate: the trial's time counts from now, and ends before the bot's own.
    pub(super) fn begins(&mut self, state: &ConfigState) {
        let window = Duration::from_millis(self.txn.plan.confirm_within_ms);
        let of_bot = state.trial.as_ref().map(|trial| Duration::from_millis(trial.ttl_left_ms));
        let left = of_bot.map_or(window, |left| left.saturating_sub(BOT_GRACE)).min(window);
        self.txn.progress.deadline = Some(Deadline::after(left));
        self.began = Instant::now();
        self.ends_at = self.began + left;
    }
}

impl Shared {
    /// Whether the bot can try a change from its start, and somebody can start it.
    pub(super) fn can_boot_once(&self) -> bool {
        let seen = self.bots.seen();
        let capable =
            seen.hello.as_ref().is_some_and(|hello| hello.capabilities.iter().any(|one| one == BOOT_ONCE));
        capable && self.options.supervisor.can_start()
    }

    fn still_runs(&self, old: &str) -> bool {
        if let Some(alive) = self.options.supervisor.adopt() {
            return alive.boot_epoch.is_some_and(|epoch| epoch == old);
        }
        let seen = self.bots.seen();
        seen.presence.answers() && seen.report.as_ref().is_some_and(|report| report.boot_epoch == old)
    }

    /// Ends the life `old` and waits until another one answers.
    async fn restart_bot(&self, command_id: String, old: &str) -> Result<(), String> {
        let supervisor = &self.options.supervisor;
        let end = Instant::now() + BOOT_LIMIT;
        self.bots.expect_restart(BOOT_LIMIT);
        let reason = "a config change that is read at the start".to_owned();
        let request = CommandRequest { command_id, reason, args: Value::Null, dry_run: false };
        if self.still_runs(old) && self.bots.command(Verb::Shutdown, request).await.is_ok() {
            let drained = Instant::now() + DRAIN;
            while self.still_runs(old) && Instant::now() < drained {
                tokio::time::sleep(LOOK).await;
            }
        }
        kill::point("config.boot.asked");
        if self.still_runs(old) && !supervisor.stop(GRACE).await.map_err(|error| error.to_string())? {
            return Err("its process does not end".to_owned());
        }
        kill::point("config.boot.stopped");
        // The old life lets go of its lock a moment after its pid file: a start in between ends at once.
        let mut started = self.start_bot(old, end).await;
        for _ in 0..MORE_STARTS {
            if started.is_ok() || Instant::now() + LET_GO >= end {
                break;
            }
            tokio::time::sleep(LET_GO).await;
            started = self.start_bot(old, end).await;
        }
        started
    }

    async fn start_bot(&self, old: &str, end: Instant) -> Result<(), String> {
        self.options.supervisor.start().await.map_err(|error| error.to_string())?;
        kill::point("config.boot.started");
        self.new_life(old, end).await
    }

    async fn new_life(&self, old: &str, end: Instant) -> Result<(), String> {
        let supervisor = &self.options.supervisor;
        let mut changes = self.bots.watch();
        let mut signed_in_by = None;
        loop {
            let seen = self.bots.seen();
            let report = seen.report.as_ref().filter(|_| seen.presence.answers());
            if let Some(report) = report.filter(|report| report.boot_epoch != old) {
                let by = *signed_in_by.get_or_insert_with(|| Instant::now() + SIGN_IN);
                if report.session.as_ref().is_none_or(|session| session.is_healthy) || Instant::now() >= by {
                    return Ok(());
                }
            }
            if supervisor.sees_process() && supervisor.adopt().is_none() {
                return Err("it was started and ended again at once; its output file says why".to_owned());
            }
            if Instant::now() >= end {
                return Err(format!("it does not answer: {}", seen.presence_reason));
            }
            // Either way, look again.
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
        }
    }
}

impl Desk {
    /// Starts the bot again, so that it boots the candidate, and goes on from what it says then.
    pub(super) async fn boot(&mut self) {
        let Some(live) = &mut self.live else { return };
        live.boots = false;
        let old = live.txn.progress.boot_epoch.clone().unwrap_or_default();
        let command_id = format!("config-{}-try", live.txn.id);
        let restarted = self.shared.restart_bot(command_id, &old).await;
        if let Err(problem) = restarted {
            tracing::error!("the bot could not be started with a config change: {problem}");
            // Its one try is spent, or is taken back below: it boots what is committed.
            if self.shared.options.supervisor.start().await.is_ok() {
                let end = Instant::now() + BOOT_LIMIT;
                if let Err(also) = self.shared.new_life(&old, end).await {
                    tracing::error!("nor with the committed config: {also}");
                }
            }
            return self.undo(By::BotCrash, &format!("the bot did not start with it: {problem}")).await;
        }
        if let Some(live) = &mut self.live {
            live.in_doubt = true;
            live.retry_at = Instant::now();
        }
        self.look_into().await;
    }

    /// After a trial from the start was undone: the bot is started once more where it still holds what it read then.
    /// Returns how the change ended.
    pub(super) async fn boot_committed(&self, outcome: String) -> String {
        let Some(live) = self.live.as_ref().filter(|live| live.txn.plan.boot_once) else { return outcome };
        let Ok(state) = self.shared.bots.config_state().await else { return outcome };
        if state.pending_restart.is_empty() {
            return outcome;
        }
        let command_id = format!("config-{}-back", live.txn.id);
        match self.shared.restart_bot(command_id, &state.boot_epoch).await {
            Ok(()) => format!("{outcome}; the bot was started again with the committed config"),
            Err(problem) => {
                tracing::error!("the bot could not be started again with the committed config: {problem}");
                format!("{outcome}; the bot still has to be started again ({problem})")
            }
        }
    }
}
