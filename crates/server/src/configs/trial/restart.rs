//! Starting the bot again for a change that it only reads at its start.
//!
//! The bot itself ensures that a candidate is booted only once (it spends the try on disk before it loads the
//! candidate), so a kill of either side at any moment leads back to `HEAD`. Kept from users: asking the bot to end,
//! making sure that it ended, starting it, waiting for it. Trading is not paused first: positions and orders are kept
//! in the bot's ledger.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bots::{Bots, Supervisor};
use botops_contract::{BOOT_ONCE, CommandRequest, Verb};
use botops_core::failpoints;

/// How long the bot may take to end, start and answer.
pub(super) const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// How soon a bot that ended again is started again.
pub(super) const START_PAUSE: Duration = Duration::from_secs(5);

/// How long it may take to end when it was asked to.
const DRAIN: Duration = Duration::from_secs(20);

/// How long it may take to end when it was told to.
const GRACE: Duration = Duration::from_secs(10);

/// How long its broker session may take to be as usable as before.
const SIGN_IN: Duration = Duration::from_secs(15);

/// Ends the process of the bot and starts another. A process is named by its boot epoch.
#[derive(Debug)]
pub(crate) struct BotRestart {
    bots: Bots,
    supervisor: Supervisor,
}

impl BotRestart {
    /// `supervisor` is what can start the bot.
    pub(crate) fn new(bots: Bots, supervisor: Supervisor) -> Self {
        Self { bots, supervisor }
    }

    /// Whether the bot can try a change from its start, and somebody can start it.
    pub(super) fn can_boot_once(&self) -> bool {
        let seen = self.bots.snapshot();
        let capable = seen.hello.as_ref().is_some_and(|hello| hello.offers(BOOT_ONCE));
        capable && self.supervisor.can_start()
    }

    /// Ends the process `old` and waits until another one answers. May be asked again with the same command: what is
    /// done already is not done twice.
    pub(super) async fn restart(&self, command_id: String, old: &str) -> Result<(), String> {
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
        self.wait_for_another(old, end).await
    }

    /// Starts another process where `old` has ended, without waiting for it. False when that failed.
    pub(super) async fn start_after(&self, old: &str) -> bool {
        self.bots.replace_process(old, GRACE).await.is_ok()
    }

    /// As [`Self::start_after`], and waits until the new process answers. An error says why it does not.
    ///
    /// Nothing is waited for when nothing could be started.
    pub(super) async fn start_and_wait(&self, old: &str) -> Result<(), String> {
        if !self.start_after(old).await {
            return Ok(());
        }
        let end = Instant::now() + BOOT_LIMIT;
        let answered = self.wait_for_another(old, end).await;
        if answered.is_err() {
            self.bots.expect_no_restart();
        }
        answered
    }

    async fn wait_for_another(&self, old: &str, end: Instant) -> Result<(), String> {
        let mut changes = self.bots.watch();
        let mut signed_in_by = None;
        loop {
            let seen = self.bots.snapshot();
            let report = seen.report.as_ref().filter(|_| seen.presence.answers());
            if let Some(report) =
                report.filter(|report| report.boot_epoch.as_ref().is_some_and(|epoch| epoch != old))
            {
                let by = *signed_in_by.get_or_insert_with(|| Instant::now() + SIGN_IN);
                if report.session.as_ref().is_none_or(|session| session.is_healthy != Some(false))
                    || Instant::now() >= by
                {
                    return Ok(());
                }
            }
            if self.supervisor.sees_process() && self.supervisor.started_processes().is_empty() {
                return Err(format!("it {}", self.supervisor.describe_early_end().await));
            }
            if Instant::now() >= end {
                return Err(format!("it does not answer: {}", seen.presence_reason));
            }
            // Either way, the state is read again.
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
        }
    }
}
