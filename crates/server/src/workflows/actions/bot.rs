//! Actions on the bot: look, pause, resume, cancel, restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Assumed, Call, Failure, World};
use crate::bots::{BotSnapshot, CommandAsker};
use crate::workflows::definition::FailureClass;
use botops_contract::{CommandRequest, CommandResult, OrderStatus, Verb};
use botops_core::error::{Code, Effect, Error};
use botops_core::failpoints;

/// How long a bot that does not answer is waited for before a look counts as failed: the link may just have begun.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a bot that is told to end with SIGTERM gets before SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// With a bot that does not answer, put out what was last known instead of failing.
    #[serde(default)]
    last_known: bool,
}

/// What `bot.status` puts out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Status {
    /// Whether the bot answers; otherwise the rest is what was last known.
    pub answers: bool,
    /// What the loop is doing.
    #[schemars(extend("enum" = ["starting", "running", "degraded", "paused", "stopping", "offline"]))]
    pub phase: String,
    /// Why, when it is not simply running.
    pub phase_reason: Option<String>,
    /// The bot's life.
    pub boot_epoch: String,
    /// How long ago it last answered.
    pub heartbeat_age_ms: u64,
    /// Whether new positions may be opened.
    pub trading_enabled: bool,
    /// Open positions.
    pub open_positions: u32,
    /// Orders that rest in the market.
    pub resting_orders: u32,
    /// The config in force.
    pub running_config: ConfigRef,
    /// The transaction of a live config trial.
    pub config_trial: Option<String>,
    /// `paper`, `live` or `backtest`.
    #[schemars(extend("enum" = ["paper", "live", "backtest"]))]
    pub mode: String,
}

/// A config version.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct ConfigRef {
    pub version: u64,
    pub sha256: String,
}

/// A reason for the bot's record; the run's own when left out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Say {
    #[serde(default)]
    reason: Option<String>,
}

/// What pausing and resuming put out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Trading {
    pub trading_enabled: bool,
    #[schemars(extend("enum" = ["starting", "running", "degraded", "paused", "stopping"]))]
    pub phase: String,
    pub open_positions: u32,
    pub resting_orders: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    /// Which orders.
    #[serde(default)]
    scope: Scope,
    /// Only those of these instruments.
    #[serde(default)]
    symbols: Option<Vec<String>>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Scope {
    /// All that rest.
    #[default]
    Resting,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Cancelled {
    pub cancelled: u32,
    pub resting_orders: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Restart {
    /// Ask the bot to end, or end it.
    #[serde(default)]
    mode: RestartMode,
    /// How long a bot that was asked may take.
    #[serde(default = "minute")]
    #[schemars(range(min = 1, max = 300))]
    drain_s: u64,
    /// The life that is to end. Another one means that it has ended already.
    expect_epoch: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RestartMode {
    #[default]
    Graceful,
    Immediate,
}

fn minute() -> u64 {
    60
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Restarted {
    /// The new life.
    pub boot_epoch: String,
    /// The one before.
    pub old_epoch: String,
    /// The new process, where it is known.
    pub pid: Option<u32>,
    /// True when the bot had begun a new life before it was asked to.
    pub already: bool,
}

fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Status {
    fn of(seen: &BotSnapshot) -> Option<Self> {
        let report = seen.report.as_ref()?;
        let age = seen.answer_age()?;
        let rests = |status| matches!(status, OrderStatus::Pending | OrderStatus::PartiallyFilled);
        let resting = report.orders.iter().filter(|order| rests(order.status)).count();
        let answers = seen.presence.answers();
        // A bot that starts anew runs what is committed.
        let config = if answers { &report.config.running } else { &report.config.committed };
        let trial = report.config.trial.as_ref().filter(|_| answers);
        let (phase, reason) = if answers {
            (word(&report.phase), report.phase_reason.clone())
        } else {
            ("offline".to_owned(), Some(seen.presence_reason.clone()))
        };
        Some(Self {
            answers,
            phase,
            phase_reason: reason,
            boot_epoch: report.boot_epoch.clone(),
            heartbeat_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            trading_enabled: report.trading_enabled,
            open_positions: u32::try_from(report.positions.len()).unwrap_or(u32::MAX),
            resting_orders: u32::try_from(resting).unwrap_or(u32::MAX),
            running_config: ConfigRef { version: config.version, sha256: config.sha256.clone() },
            config_trial: trial.map(|trial| trial.txn.clone()),
            mode: report.mode.to_string(),
        })
    }
}

/// The first report that is younger than this call. The bot itself is not asked: its next poll is waited for.
async fn fresh(world: &World, call: &Call) -> Result<Arc<BotSnapshot>, Failure> {
    let begun = Instant::now();
    let mut changes = world.bots.watch();
    loop {
        let seen = world.bots.snapshot();
        let is_new = seen.received.is_some_and(|received| received >= begun);
        if seen.presence.answers() && is_new {
            return Ok(seen);
        }
        let limit = if seen.presence.answers() { call.left() } else { call.left().min(PATIENCE) };
        let left = (begun + limit).saturating_duration_since(Instant::now());
        if left.is_zero() || tokio::time::timeout(left, changes.changed()).await.is_err() {
            if seen.presence.answers() {
                let waited = begun.elapsed().as_secs_f64();
                return Err(Failure::timeout(
                    format!("no report of the bot came within {waited:.1} s"),
                    false,
                ));
            }
            let message = format!("the bot does not answer: {} ({})", seen.presence_reason, seen.presence);
            return Err(Failure::new(FailureClass::Transport, Code::BotOffline, message));
        }
    }
}

pub(super) async fn status(world: &World, input: &Look, call: &Call) -> Result<Status, Failure> {
    match fresh(world, call).await {
        Ok(seen) => Status::of(&seen).ok_or_else(|| {
            let message = "the bot has not reported its state yet";
            Failure::new(FailureClass::Transport, Code::BotOffline, message)
        }),
        Err(failure) if input.last_known => {
            let mut status = Status::of(&world.bots.snapshot()).ok_or(failure)?;
            // The last report may be older than the last commit; what the bot will boot is what `HEAD` names, if its
            // config is kept here.
            let keeps_config =
                world.bots.snapshot().hello.as_ref().is_some_and(|hello| hello.offers("config"));
            let head = world.configs.current().committed.clone();
            if let Some(head) = head.filter(|_| !status.answers && keeps_config) {
                status.running_config = ConfigRef { version: head.version, sha256: head.sha256 };
            }
            Ok(status)
        }
        Err(failure) => Err(failure),
    }
}

async fn now(world: &World, call: &Call) -> Result<Status, Failure> {
    status(world, &Look { last_known: false }, call).await
}

/// What distinguishes one command from another.
struct Order {
    verb: Verb,
    reason: Option<String>,
    args: Value,
}

impl Order {
    fn plain(verb: Verb, reason: Option<String>) -> Self {
        Self { verb, reason, args: Value::Null }
    }

    fn cancel(input: Cancel) -> Self {
        let Scope::Resting = input.scope;
        let args = input.symbols.map_or(Value::Null, |symbols| json!({"symbols": symbols}));
        Self { verb: Verb::CancelOrders, reason: input.reason, args }
    }

    async fn give(self, world: &World, call: &Call) -> Result<CommandResult, Failure> {
        self.send(world, call, call.key.clone(), false).await
    }

    /// A prediction must not take the place of the answer under the real key.
    async fn predict(self, world: &World, call: &Call) -> Result<CommandResult, Failure> {
        let key = format!("{}/dry", uuid::Uuid::now_v7());
        self.send(world, call, key, true).await
    }

    async fn send(
        self,
        world: &World,
        call: &Call,
        key: String,
        dry_run: bool,
    ) -> Result<CommandResult, Failure> {
        Ok(self.ask(world, call, key, dry_run).await?)
    }

    async fn ask(
        self,
        world: &World,
        call: &Call,
        key: String,
        dry_run: bool,
    ) -> Result<CommandResult, Error> {
        let reason = self.reason.unwrap_or_else(|| call.reason.clone());
        let (valid_for_ms, expires_at) = (None, None);
        let asker = CommandAsker {
            actor: call.actor.key_id.clone(),
            command_id: key.clone(),
            run_id: Some(call.run.clone()),
            step: Some(call.step.clone()),
        };
        let request =
            CommandRequest { command_id: key, reason, args: self.args, dry_run, valid_for_ms, expires_at };
        world.bots.command_for(self.verb, request, asker).await
    }
}

fn trading(result: &CommandResult) -> Trading {
    Trading {
        trading_enabled: result.trading_enabled,
        phase: word(&result.phase),
        open_positions: result.exposure.positions_left,
        resting_orders: result.exposure.orders_left,
    }
}

pub(super) async fn pause(world: &World, input: Say, call: &Call) -> Result<Trading, Failure> {
    Order::plain(Verb::Pause, input.reason).give(world, call).await.map(|result| trading(&result))
}

pub(super) async fn resume(world: &World, input: Say, call: &Call) -> Result<Trading, Failure> {
    Order::plain(Verb::Resume, input.reason).give(world, call).await.map(|result| trading(&result))
}

pub(super) async fn trading_now(world: &World, call: &Call) -> Result<Trading, Failure> {
    let Status { trading_enabled, phase, open_positions, resting_orders, .. } = now(world, call).await?;
    Ok(Trading { trading_enabled, phase, open_positions, resting_orders })
}

pub(super) async fn cancel_orders(world: &World, input: Cancel, call: &Call) -> Result<Cancelled, Failure> {
    let exposure = Order::cancel(input).give(world, call).await?.exposure;
    Ok(Cancelled { cancelled: exposure.orders_cancelled, resting_orders: exposure.orders_left })
}

pub(super) async fn cancelled_now(
    world: &World,
    first: Cancelled,
    call: &Call,
) -> Result<Cancelled, Failure> {
    let status = now(world, call).await?;
    Ok(Cancelled { resting_orders: status.resting_orders, ..first })
}

/// Ends the old life and begins a new one. Every part may be repeated: each looks first.
pub(super) async fn restart(world: &World, input: Restart, call: &Call) -> Result<Restarted, Failure> {
    let old = input.expect_epoch;
    if let Some((epoch, pid)) = newer_life(world, &old) {
        answers_as(world, &epoch, call).await?;
        return Ok(Restarted { boot_epoch: epoch, old_epoch: old, pid, already: true });
    }
    if !world.supervisor.can_start() {
        return Err(Failure::from(Error::new(Code::SupervisorMissing)));
    }
    if let Err(error) = world.bots.check_identity() {
        let message = error.problem("", chrono::Utc::now()).cause;
        return Err(Failure::new(FailureClass::Precondition, Code::BotNotStarted, message));
    }
    world.bots.expect_restart(call.left());
    failpoints::point("wf:restart:begin");
    let drain = Duration::from_secs(input.drain_s).min(call.left());
    let answers = world.bots.snapshot().presence.answers();
    if input.mode == RestartMode::Graceful && answers && world.bots.still_runs(&old) {
        match ask_to_end(world, call).await {
            Asked::Ends => world.bots.wait_for_end(&old, drain).await,
            // Its supervisor ends it.
            Asked::Cannot => {}
            Asked::Refuses(failure) => {
                world.bots.expect_no_restart();
                return Err(failure);
            }
        }
    }
    failpoints::point("wf:restart:asked");
    replace(world, old, call).await.map_err(|failure| {
        world.bots.expect_no_restart();
        Failure { in_doubt: true, ..failure }
    })
}

/// What a bot that was asked to end came to.
enum Asked {
    /// It ends, or may be on its way out.
    Ends,
    /// It has no such verb, or its loop does not take it.
    Cannot,
    /// It has a reason not to.
    Refuses(Failure),
}

async fn ask_to_end(world: &World, call: &Call) -> Asked {
    let Err(error) = Order::plain(Verb::Shutdown, None).ask(world, call, call.key.clone(), false).await
    else {
        return Asked::Ends;
    };
    let problem = error.problem("", chrono::Utc::now());
    let reason = problem.context.get("reason_code").and_then(Value::as_str);
    if problem.effect == Effect::Unknown || error.code() == Code::BotOffline || reason == Some("stopping") {
        return Asked::Ends;
    }
    let cannot = error.code() == Code::BotNotCapable || matches!(reason, Some("expired" | "busy"));
    if cannot { Asked::Cannot } else { Asked::Refuses(Failure::from(error)) }
}

/// From here on the old life is over or will be: whatever fails, the bot is not as it was.
async fn replace(world: &World, old: String, call: &Call) -> Result<Restarted, Failure> {
    let pid = world.bots.replace_process(&old, GRACE.min(call.left())).await?;
    failpoints::point("wf:restart:started");
    let mut changes = world.bots.watch();
    loop {
        let seen = world.bots.snapshot();
        let report = seen.report.as_ref().filter(|_| seen.presence.answers());
        if let Some(report) = report.filter(|report| report.boot_epoch != old) {
            let pid = world.bots.pid().or(pid);
            return Ok(Restarted {
                boot_epoch: report.boot_epoch.clone(),
                old_epoch: old,
                pid,
                already: false,
            });
        }
        if world.supervisor.sees_process() && world.supervisor.started_processes().is_empty() {
            let message = "the bot was started and ended again at once; its output file says why";
            return Err(Failure::new(FailureClass::Transport, Code::BotNotStarted, message));
        }
        if call.left().is_zero() {
            let message = format!("the bot was started but does not answer: {}", seen.presence_reason);
            return Err(Failure::timeout(message, true));
        }
        let pause = call.left().min(Duration::from_millis(200));
        // Either way, look again.
        let _ = tokio::time::timeout(pause, changes.changed()).await;
    }
}

/// A life that began after `old`: by the bot's pid file where there is one, else as it last answered.
fn newer_life(world: &World, old: &str) -> Option<(String, Option<u32>)> {
    let by_file =
        world.supervisor.adopt().and_then(|alive| Some((alive.boot_epoch?, Some(alive.process.pid))));
    let answering = || {
        let seen = world.bots.snapshot();
        let report = seen.report.as_ref().filter(|_| seen.presence.answers())?;
        Some((report.boot_epoch.clone(), world.bots.pid()))
    };
    by_file.or_else(answering).filter(|(epoch, _)| epoch != old)
}

/// Waits until the link has seen this life.
async fn answers_as(world: &World, epoch: &str, call: &Call) -> Result<(), Failure> {
    let mut changes = world.bots.watch();
    loop {
        let seen = world.bots.snapshot();
        let is_it = seen.report.as_ref().is_some_and(|report| report.boot_epoch == epoch);
        if is_it && seen.presence.answers() {
            return Ok(());
        }
        if tokio::time::timeout(call.left(), changes.changed()).await.is_err() {
            return Err(Failure::timeout("the bot began a new life but does not answer", true));
        }
    }
}

pub(super) async fn predict_pause(
    world: &World,
    input: Say,
    call: &Call,
    assumed: &mut Assumed,
) -> Result<Trading, Failure> {
    let mut trading = trading(&Order::plain(Verb::Pause, input.reason).predict(world, call).await?);
    trading.trading_enabled = false;
    "paused".clone_into(&mut trading.phase);
    (assumed.trading_enabled, assumed.resting_orders) = (Some(false), Some(trading.resting_orders));
    Ok(trading)
}

pub(super) async fn predict_resume(
    world: &World,
    input: Say,
    call: &Call,
    assumed: &mut Assumed,
) -> Result<Trading, Failure> {
    let mut trading = trading(&Order::plain(Verb::Resume, input.reason).predict(world, call).await?);
    trading.trading_enabled = true;
    "running".clone_into(&mut trading.phase);
    assumed.trading_enabled = Some(true);
    Ok(trading)
}

pub(super) async fn predict_cancel(
    world: &World,
    input: Cancel,
    call: &Call,
    assumed: &mut Assumed,
) -> Result<Cancelled, Failure> {
    let exposure = Order::cancel(input).predict(world, call).await?.exposure;
    assumed.resting_orders = Some(exposure.orders_left);
    Ok(Cancelled { cancelled: exposure.orders_cancelled, resting_orders: exposure.orders_left })
}

pub(super) fn predict_restart(
    world: &World,
    input: Restart,
    assumed: &mut Assumed,
) -> Result<Restarted, Failure> {
    if !world.supervisor.can_start() {
        return Err(Failure::from(Error::new(Code::SupervisorMissing)));
    }
    let epoch = "a new life".to_owned();
    assumed.boot_epoch = Some(epoch.clone());
    Ok(Restarted { boot_epoch: epoch, old_epoch: input.expect_epoch, pid: None, already: false })
}
