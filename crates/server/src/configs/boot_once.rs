//! Trying a change that the bot only reads at its start: it is started again, boots the candidate once, and boots what is
//! committed at any start after that, unless the change was made permanent.
//!
//! The bot keeps the promise of "once" by itself (it spends the try on disk before it loads the candidate), so a kill of
//! either side at any moment leads back to `HEAD`. Which life was asked to end is written down before it is asked: whoever
//! takes the change up after a restart of botops begins the next one, so no bot stays down over a change. Kept from
//! users: asking the bot to end, making sure that it ended, starting it, waiting for it. Deliberately absent: pausing trade. What the bot holds, its ledger keeps.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Shared;
use super::trial::{BOT_GRACE, Desk, Live};
use super::txn::{By, Deadline, TxnState};
use crate::operations_log;
use botops_contract::{BOOT_ONCE, CommandRequest, ConfigState, Verb};
use botops_core::error::Error;
use botops_core::failpoints;

/// How long the bot may take to end, start and answer.
pub(super) const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// How long it may take to end when it was asked to.
const DRAIN: Duration = Duration::from_secs(20);

/// How long it may take to end when it was told to.
const GRACE: Duration = Duration::from_secs(10);

/// How long its broker session may take to be as it was.
const SIGN_IN: Duration = Duration::from_secs(15);

/// How soon a bot that ended again is started again.
const START_PAUSE: Duration = Duration::from_secs(5);

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
        let seen = self.bots.snapshot();
        let capable = seen.hello.as_ref().is_some_and(|hello| hello.offers(BOOT_ONCE));
        capable && self.options.supervisor.can_start()
    }

    /// Ends the life `old` and waits until another one answers. May be asked again with the same command: what is done
    /// already is not done twice.
    async fn restart_bot(&self, command_id: String, old: &str) -> Result<(), String> {
        let end = Instant::now() + BOOT_LIMIT;
        self.bots.expect_restart(BOOT_LIMIT);
        let reason = "a config change that is read at the start".to_owned();
        let request = CommandRequest {
            command_id,
            reason,
            args: Value::Null,
            dry_run: false,
            valid_for_ms: None,
            expires_at: None,
        };
        if self.bots.still_runs(old) && self.bots.command(Verb::Shutdown, request).await.is_ok() {
            self.bots.wait_for_end(old, DRAIN).await;
        }
        failpoints::point("config.boot.asked");
        self.bots.replace_process(old, GRACE).await.map_err(|error| error.to_string())?;
        failpoints::point("config.boot.started");
        self.new_life(old, end).await
    }

    async fn new_life(&self, old: &str, end: Instant) -> Result<(), String> {
        let supervisor = &self.options.supervisor;
        let mut changes = self.bots.watch();
        let mut signed_in_by = None;
        loop {
            let seen = self.bots.snapshot();
            let report = seen.report.as_ref().filter(|_| seen.presence.answers());
            if let Some(report) = report.filter(|report| report.boot_epoch != old) {
                let by = *signed_in_by.get_or_insert_with(|| Instant::now() + SIGN_IN);
                if report.session.as_ref().is_none_or(|session| session.is_healthy) || Instant::now() >= by {
                    return Ok(());
                }
            }
            if supervisor.sees_process() && supervisor.started_processes().is_empty() {
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
        let command_id = format!("config-{}-end-{old}", live.txn.id);
        if let Err(error) = self.note_end_of(&old).await {
            tracing::error!("a config change that takes a start of the bot cannot be recorded: {error}");
            return self.undo(By::Server, "the start of the bot could not be recorded").await;
        }
        let restarted = self.shared.restart_bot(command_id, &old).await;
        if let Err(problem) = restarted {
            tracing::error!("the bot could not be started with a config change: {problem}");
            // Its one try is spent, or is taken back below: it boots what is committed.
            if self.shared.bots.replace_process(&old, GRACE).await.is_ok() {
                let end = Instant::now() + BOOT_LIMIT;
                if let Err(also) = self.shared.new_life(&old, end).await {
                    self.shared.bots.expect_no_restart();
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

    /// Begins the life that is this change's to begin; false when there is none.
    pub(super) async fn begin_life(&mut self) -> bool {
        let Some(live) = &mut self.live else { return false };
        let may_boot_it = live.txn.plan.boot_once && live.txn.state == TxnState::Activating;
        if !may_boot_it && live.txn.progress.ends_life.is_none() {
            return false;
        }
        live.in_doubt = true;
        live.retry_at = Instant::now() + START_PAUSE;
        let progress = &live.txn.progress;
        let old = progress.ends_life.clone().or_else(|| progress.boot_epoch.clone()).unwrap_or_default();
        self.shared.bots.replace_process(&old, GRACE).await.is_ok()
    }

    /// Writes down which life of the bot is about to be asked to end.
    async fn note_end_of(&mut self, life: &str) -> Result<(), Error> {
        let Some(live) = &mut self.live else { return Ok(()) };
        live.txn.progress.ends_life = Some(life.to_owned());
        let (id, to) = (live.txn.id.clone(), live.txn.as_move());
        let write = move |connection: &rusqlite::Connection| {
            Ok(operations_log::advance(connection, &id, &to, "starting_bot", &Value::Null)?)
        };
        self.shared.store.write(write).await.map(|_| ())
    }

    /// The bot took the change back: it also lives with what is committed before the end is recorded, so a bot that
    /// still holds what it read at its start, or that was asked to end, is started once more.
    pub(super) async fn undone(&mut self, by: By, outcome: &str) {
        let Some(live) = self.live.as_ref() else { return };
        if !live.txn.plan.boot_once {
            return self.end(TxnState::RolledBack, by, outcome).await;
        }
        let (id, ends_life) = (live.txn.id.clone(), live.txn.progress.ends_life.clone());
        let Ok(state) = self.shared.bots.config_state().await else {
            return self.keep_asking().await;
        };
        let was_asked_to_end = ends_life.as_deref() == Some(&state.boot_epoch);
        if state.pending_restart.is_empty() && !was_asked_to_end {
            return self.end(TxnState::RolledBack, by, outcome).await;
        }
        if let Err(error) = self.note_end_of(&state.boot_epoch).await {
            tracing::error!("the bot is started with the committed config without a record: {error}");
        }
        // The same command for the same life: one that heard it before does not act on it twice.
        let command_id = format!("config-{id}-end-{}", state.boot_epoch);
        let outcome = match self.shared.restart_bot(command_id, &state.boot_epoch).await {
            Ok(()) => format!("{outcome}; the bot was started again with the committed config"),
            Err(problem) => {
                self.shared.bots.expect_no_restart();
                tracing::error!("the bot could not be started again with the committed config: {problem}");
                format!("{outcome}; the bot still has to be started again ({problem})")
            }
        };
        self.end(TxnState::RolledBack, by, &outcome).await;
    }
}
