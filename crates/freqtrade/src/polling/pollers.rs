//! The loops that ask. Each asks one kind of question at a time; the slow ones wait while `ping` is not answered.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use botops_core::tasks::Tasks;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::account_names::AccountNames;
use super::bot_life::{BotLife, LifeReading, RING};
use super::error_lines::ErrorLines;
use super::picture::{ConfigAnswer, PictureCell, PolledPart, UpstreamPicture, UpstreamRound};
use super::trade_puller::pull_trades;
use super::wake_socket::follow_messages;
use crate::credentials::UpstreamCredentials;
use crate::trades::ClosedTradeLog;
use crate::upstream::{
    ConfigEcho, FreqtradeClient, HealthAnswer, HideSecrets, LogLine, LogsAnswer, UpstreamFailure,
};

/// With an answer in 3 s at the latest, silence is told 4 s after the last answer.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Account, locks, pairs and closed trades change with a trade, which wakes this loop.
const SLOW_EVERY: Duration = Duration::from_secs(30);

/// Failures are told within this time.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What was read in one round takes 0.1 s; a busy freqtrade may need longer.
const ROUND_LIMIT: Duration = Duration::from_secs(5);

/// Lines of the log that are read each time.
const LOG_LINES: usize = 100;

/// However often it is woken, a round does not begin sooner after the last one.
const LEAST_PAUSE: Duration = Duration::from_millis(200);

/// freqtrade's limits are of requests in a minute.
const TOO_OFTEN_PAUSE: Duration = Duration::from_secs(15);

/// What the loops need.
#[derive(Debug, Clone)]
pub(crate) struct PollersOptions {
    pub client: FreqtradeClient,
    pub credentials: Arc<UpstreamCredentials>,
    pub cell: PictureCell,
    pub trades: ClosedTradeLog,
    pub names: AccountNames,
    /// How often config, health and open trades are read.
    pub poll_interval: Duration,
    /// The start of freqtrade that an earlier run of the adapter saw.
    pub known_life: Option<BotLife>,
}

/// The loops that ask freqtrade.
#[derive(Debug, Clone)]
pub(crate) struct Pollers {
    options: PollersOptions,
}

impl Pollers {
    /// Starts the loops; they end with the tasks.
    pub(crate) fn start(options: PollersOptions, tasks: &Tasks) {
        let pollers = Self { options };
        pollers.clone().supervise("ping", tasks, async |pollers| pollers.ping().await);
        pollers.clone().supervise("round", tasks, async |pollers| pollers.read_rounds().await);
        pollers.clone().supervise("slow", tasks, async |pollers| pollers.read_slow_parts().await);
        pollers.clone().supervise("log", tasks, async |pollers| pollers.read_log().await);
        pollers.supervise("messages", tasks, async |pollers| {
            follow_messages(&pollers.options.client, &pollers.options.credentials, &pollers.options.cell)
                .await;
        });
    }

    async fn ping(&self) {
        let cell = &self.options.cell;
        loop {
            let asked = Instant::now();
            cell.update_facts(|facts| facts.asking_since = Some(asked));
            let answer = self.options.client.ping().await;
            self.note_ping(asked, answer);
            let left = PING_EVERY.saturating_sub(asked.elapsed());
            tokio::time::sleep(left.max(LEAST_PAUSE)).await;
        }
    }

    fn note_ping(&self, asked: Instant, answer: Result<(), UpstreamFailure>) {
        let cell = &self.options.cell;
        let is_answered = answer.is_ok();
        let mut ended: Option<Instant> = None;
        let mut begun: Option<UpstreamFailure> = None;
        cell.update_facts(|facts| {
            facts.asking_since = None;
            match answer {
                Ok(()) => {
                    facts.ever_answered = true;
                    ended = facts.ping_failing.take().map(|(since, _)| since);
                }
                Err(failure) => {
                    let since = facts.ping_failing.as_ref().map_or(asked, |(since, _)| *since);
                    if facts.ping_failing.is_none() {
                        begun = Some(failure.clone());
                    }
                    facts.ping_failing = Some((since, failure));
                }
            }
        });
        cell.set_ping(is_answered);
        if let Some(failure) = begun {
            tracing::warn!("freqtrade does not answer: {failure}");
        }
        if let Some(since) = ended {
            tracing::info!("freqtrade answers again after {:.1} s", since.elapsed().as_secs_f64());
            let to = Utc::now();
            let from = to - chrono::TimeDelta::from_std(since.elapsed()).unwrap_or_default();
            cell.update(|picture| picture.last_silence = Some((from, to)));
            cell.wake_pollers();
            // It may be another start of freqtrade.
            cell.wake_log_poller();
        }
    }

    /// Config, health and open trades, one after the other. They are shown together: a state beside the health of the
    /// round before would be a change that never was.
    async fn read_rounds(&self) {
        let cell = &self.options.cell;
        loop {
            cell.wait_for_ping().await;
            let config = self.read_config().await;
            let (health, clock) = match self.read_health().await {
                Ok((health, clock)) => (Ok(health), clock),
                Err(failure) => (Err(failure), None),
            };
            let trades = self.read_part("status").await;
            let asked_too_often = [config.as_ref().err(), health.as_ref().err(), trades.as_ref().err()]
                .contains(&Some(&UpstreamFailure::TooOften));
            self.note_config(config.as_ref());
            let was = cell.load();
            let database = health.as_ref().ok().map(|(health, _)| health.database);
            let account = match &config {
                Ok((echo, ..)) => self.options.names.name(echo, database, was.last_account()),
                // The parts of before stay, and so does what they are of.
                Err(_) => was.account_id(),
            };
            let round = UpstreamRound { account, config, health, clock, open_trades: trades };
            cell.update(|picture| picture.take_round(round, Utc::now()));
            let is = cell.load();
            let is_other = was.last_account().is_some_and(|was| is.account_id().is_some_and(|is| is != was))
                || was.account_id().is_none() && is.account_id().is_some();
            if is_other || !is.left_trades.is_subset(&was.left_trades) {
                cell.wake_slow_poller();
            }
            self.note_state();
            if asked_too_often {
                tokio::time::sleep(TOO_OFTEN_PAUSE).await;
            }
            pause(self.options.poll_interval, cell.round_woken()).await;
        }
    }

    async fn read_config(&self) -> Result<ConfigAnswer, UpstreamFailure> {
        let answer = self.options.client.get("show_config", ROUND_LIMIT).await?;
        Ok((answer.read::<ConfigEcho>()?, answer.read_shown_config()?, answer.at))
    }

    /// Health, when it came, and freqtrade's clock then.
    async fn read_health(
        &self,
    ) -> Result<((HealthAnswer, DateTime<Utc>), Option<DateTime<Utc>>), UpstreamFailure> {
        let answer = self.options.client.get("health", ROUND_LIMIT).await?;
        Ok(((answer.read()?, answer.at), answer.clock))
    }

    fn note_config(&self, config: Result<&ConfigAnswer, &UpstreamFailure>) {
        let is_trading = |mode: &&String| matches!(mode.as_str(), "live" | "dry_run");
        self.options.cell.update_facts(|facts| match config {
            Ok((echo, ..)) => {
                facts.config_failing = None;
                facts.wrong_mode = echo.runmode.as_ref().filter(|mode| !is_trading(mode)).cloned();
            }
            Err(failure) => {
                let since = facts.config_failing.as_ref().map_or_else(Instant::now, |(since, _)| *since);
                facts.config_failing = Some((since, failure.clone()));
            }
        });
    }

    /// The state can be told once a round and the log were read: the log names the process.
    fn note_state(&self) {
        let has_state = self.options.cell.load().has_state();
        self.options.cell.update_facts(|facts| facts.has_state = has_state);
    }

    /// Balance, locks, pairs, closed trades.
    async fn read_slow_parts(&self) {
        let cell = &self.options.cell;
        loop {
            cell.wait_for_ping().await;
            self.read_slow_part("balance", |picture| &mut picture.balance).await;
            self.read_slow_part("locks", |picture| &mut picture.locks).await;
            self.read_slow_part("whitelist", |picture| &mut picture.whitelist).await;
            pause(self.read_trades().await, cell.slow_woken()).await;
        }
    }

    /// Reads one part. What was asked before freqtrade traded another account is not of that one.
    async fn read_slow_part<T: DeserializeOwned + HideSecrets>(
        &self,
        path: &str,
        part: impl Fn(&mut UpstreamPicture) -> &mut PolledPart<T>,
    ) {
        let cell = &self.options.cell;
        let account = cell.load().account_id();
        let answer = self.read_part(path).await;
        cell.update(|picture| {
            // At the start the account may be learnt while this is asked.
            if account.is_none() || picture.account_id() == account {
                part(picture).set(answer, Utc::now());
            }
        });
    }

    /// Reads the closed trades, and says when to do it again.
    async fn read_trades(&self) -> Duration {
        let cell = &self.options.cell;
        let before = cell.load();
        if before.account_id().is_none() {
            // The first round, which names the account, comes at once; later, whoever learns of another one wakes this.
            return if before.last_account().is_none() { LEAST_PAUSE } else { SLOW_EVERY };
        }
        let PollersOptions { client, trades, names, .. } = &self.options;
        match pull_trades(client, trades, names, before.last_account()).await {
            Ok((account, new)) => {
                // A trade that had left and did not close was deleted; one that left since may still be found.
                let is_same = before.account_id() == Some(account);
                if is_same && (new > 0 || !before.left_trades.is_empty()) {
                    cell.update(|picture| {
                        picture.left_trades.retain(|key| !before.left_trades.contains(key));
                    });
                }
                SLOW_EVERY
            }
            Err(failure) => {
                tracing::debug!("closed trades were not read: {failure}");
                SLOW_EVERY / 3
            }
        }
    }

    async fn read_log(&self) {
        let cell = &self.options.cell;
        let mut errors = ErrorLines::default();
        let mut known = self.options.known_life.clone();
        loop {
            cell.wait_for_ping().await;
            // The first time, all that freqtrade has: failures of the last hour are counted in it.
            let first_limit = if errors.read_at.is_some() { LOG_LINES } else { RING };
            match self.read_life(known.as_ref(), first_limit).await {
                Ok((life, lines, at)) => {
                    errors.add_lines(&lines, at);
                    known = Some(life.clone());
                    let errors = Arc::new(errors.clone());
                    cell.update(|picture| {
                        picture.life = Some(Arc::new(life));
                        picture.errors = errors;
                    });
                }
                Err(failure) => {
                    tracing::debug!("the log of freqtrade was not read: {failure}");
                    cell.update(|picture| {
                        picture.life.get_or_insert_with(|| Arc::new(BotLife::unknown()));
                    });
                }
            }
            self.note_state();
            pause(LOG_EVERY, cell.log_woken()).await;
        }
    }

    async fn read_life(
        &self,
        before: Option<&BotLife>,
        mut limit: usize,
    ) -> Result<(BotLife, Vec<LogLine>, DateTime<Utc>), UpstreamFailure> {
        loop {
            let (answer, at) = self.read_part::<LogsAnswer>(&format!("logs?limit={limit}")).await?;
            let lines = answer.logs.items;
            let is_ring = limit >= RING || lines.len() + answer.logs.unreadable < limit;
            match BotLife::after(before, &lines, is_ring) {
                LifeReading::Known(life) => return Ok((life, lines, at)),
                LifeReading::NeedsWholeRing => limit = RING,
            }
        }
    }

    async fn read_part<T: DeserializeOwned + HideSecrets>(
        &self,
        path: &str,
    ) -> Result<(T, DateTime<Utc>), UpstreamFailure> {
        let answer = self.options.client.get(path, ROUND_LIMIT).await?;
        Ok((answer.read()?, answer.at))
    }

    /// Runs one loop until the stop, and again after a panic in it.
    fn supervise<F, W>(self, name: &'static str, tasks: &Tasks, work: F)
    where
        F: Fn(Self) -> W + Clone + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let stopping = tasks.stopping();
        tasks.supervise(name, move || run_until_stop(work(self.clone()), stopping.clone()));
    }
}

async fn run_until_stop(work: impl Future<Output = ()>, stopping: CancellationToken) {
    tokio::select! {
        () = work => {}
        () = stopping.cancelled() => {}
    }
}

/// Waits for the interval, or until woken, but never less than the least pause.
async fn pause(interval: Duration, woken: impl Future<Output = ()>) {
    tokio::time::sleep(LEAST_PAUSE).await;
    // Too late is as good as woken.
    let _ = tokio::time::timeout(interval.saturating_sub(LEAST_PAUSE), woken).await;
}
