//! `bot.status`: reads what the bot does now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use botops_core::duration::milliseconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::WorkflowAction;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::{ActionFailure, StepFailureClass};
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use crate::bots::BotSnapshot;
use botops_core::error::Code;

/// How long a bot that does not answer is waited for before the step fails: the connection may just be starting.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct BotStatus;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BotStatusInput {
    /// When the bot does not answer, put out its last known state instead of failing.
    #[serde(default)]
    last_known: bool,
}

/// The output: the bot's state.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct BotStatusOutput {
    /// Whether the bot answers now; if not, the other members are the last known ones.
    pub(super) answers: bool,
    /// The phase of the bot's loop.
    #[schemars(extend("enum" = ["starting", "running", "degraded", "paused", "stopped", "stopping", "other", "offline"]))]
    pub(super) phase: String,
    /// Why the bot is in this phase; `null` when it is simply running.
    pub(super) phase_reason: Option<String>,
    /// The id of the bot's process, new with each start; empty when the bot does not tell its starts apart.
    pub(super) boot_epoch: String,
    /// Milliseconds since its last answer.
    pub(super) heartbeat_age_ms: u64,
    /// Whether new positions may be opened; `null` when the bot does not say.
    pub(super) trading_enabled: Option<bool>,
    /// How many positions are open; `null` when the bot does not report them.
    pub(super) open_positions: Option<u32>,
    /// How many orders rest in the market; `null` when the bot does not report them.
    pub(super) resting_orders: Option<u32>,
    /// The version of the config in force; `null` when the bot has no config that could be managed.
    pub(super) running_config: Option<ConfigVersionRef>,
    /// The transaction of a live config trial; `null` without one.
    pub(super) config_trial: Option<String>,
    /// The trading mode: `paper`, `live`, `backtest`, or `other` when the bot says none of them.
    #[schemars(extend("enum" = ["paper", "live", "backtest", "other"]))]
    pub(super) mode: String,
}

/// A reference to a config version.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct ConfigVersionRef {
    pub(super) version: u64,
    pub(super) sha256: String,
}

impl WorkflowAction for BotStatus {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 5,
        summary: "what the bot does now",
        ..ActionSpec::new("bot.status", ActionClass::Read, ActionRepeat::Pure)
    };
    type Input = BotStatusInput;
    type Output = BotStatusOutput;

    async fn perform(
        world: &ActionServices,
        input: BotStatusInput,
        call: &ActionCall,
    ) -> Result<BotStatusOutput, ActionFailure> {
        match BotStatusOutput::read_fresh(world, call).await {
            Err(failure) if input.last_known => last_known_status(world).ok_or(failure),
            fresh => fresh,
        }
    }

    async fn predict(
        world: &ActionServices,
        input: BotStatusInput,
        call: &ActionCall,
        assumed: &mut AssumedChanges,
    ) -> Result<BotStatusOutput, ActionFailure> {
        let mut status = Self::perform(world, input, call).await?;
        if let Some(epoch) = &assumed.boot_epoch {
            status.boot_epoch.clone_from(epoch);
        }
        status.trading_enabled = assumed.trading_enabled.or(status.trading_enabled);
        status.resting_orders = assumed.resting_orders.or(status.resting_orders);
        Ok(status)
    }
}

impl BotStatusOutput {
    /// The state in the first report that is younger than this call.
    pub(super) async fn read_fresh(world: &ActionServices, call: &ActionCall) -> Result<Self, ActionFailure> {
        let seen = wait_for_report(world, call).await?;
        Self::of(&seen).ok_or_else(|| {
            let message = "the bot has not reported its state yet";
            ActionFailure::new(StepFailureClass::Transport, Code::BotOffline, message)
        })
    }

    fn of(seen: &BotSnapshot) -> Option<Self> {
        let report = seen.report.as_ref()?;
        let age = seen.answer_age()?;
        let answers = seen.presence.answers();
        // A bot that does not answer will be started again, with the committed version.
        let reported = report.config.as_ref();
        let config = reported.map(|config| if answers { &config.running } else { &config.committed });
        let trial = reported.and_then(|config| config.trial.as_ref()).filter(|_| answers);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (phase, reason) = if answers {
            (wire_name(&report.phase), report.phase_reason.clone())
        } else {
            ("offline".to_owned(), Some(seen.presence_reason.clone()))
        };
        Some(Self {
            answers,
            phase,
            phase_reason: reason,
            boot_epoch: report.boot_epoch.clone().unwrap_or_default(),
            heartbeat_age_ms: milliseconds(age),
            trading_enabled: report.trading_enabled,
            open_positions: seen.position_count().map(count),
            resting_orders: seen.open_order_count().map(count),
            running_config: config
                .map(|config| ConfigVersionRef { version: config.version, sha256: config.sha256.clone() }),
            config_trial: trial.map(|trial| trial.txn.clone()),
            mode: seen.mode().unwrap_or_default().to_string(),
        })
    }
}

/// How an enum's value is written in JSON.
pub(super) fn wire_name<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The state that was last known of a bot that does not answer.
fn last_known_status(world: &ActionServices) -> Option<BotStatusOutput> {
    let mut status = BotStatusOutput::of(&world.bots.snapshot())?;
    // The last report may be older than the last commit. When the bot's config is kept here, the bot will start with
    // the version that `HEAD` names.
    let keeps_config = world.bots.snapshot().hello.as_ref().is_some_and(|hello| hello.offers("config"));
    let head = world.configs.current().committed.clone();
    if let Some(head) = head.filter(|_| !status.answers && keeps_config) {
        status.running_config = Some(ConfigVersionRef { version: head.version, sha256: head.sha256 });
    }
    Some(status)
}

/// The output of `bot.status` as far as it is known now; `None` of a bot that never answered. Waits for nothing.
pub(crate) fn read_known_status(world: &ActionServices) -> Option<Value> {
    last_known_status(world).and_then(|status| serde_json::to_value(status).ok())
}

/// The first report that is younger than this call. It comes from the regular poll; no extra request is sent to the
/// bot.
async fn wait_for_report(
    world: &ActionServices,
    call: &ActionCall,
) -> Result<Arc<BotSnapshot>, ActionFailure> {
    let begun = Instant::now();
    let mut changes = world.bots.watch();
    loop {
        let seen = world.bots.snapshot();
        let is_new = seen.received.is_some_and(|received| received >= begun);
        if seen.presence.answers() && is_new {
            return Ok(seen);
        }
        let limit = if seen.presence.answers() { call.time_left() } else { call.time_left().min(PATIENCE) };
        let left = (begun + limit).saturating_duration_since(Instant::now());
        if left.is_zero() || tokio::time::timeout(left, changes.changed()).await.is_err() {
            if seen.presence.answers() {
                let waited = begun.elapsed().as_secs_f64();
                let message = format!("no report of the bot came within {waited:.1} s");
                return Err(ActionFailure::timeout(message, false));
            }
            let message = format!("the bot does not answer: {} ({})", seen.presence_reason, seen.presence);
            return Err(ActionFailure::new(StepFailureClass::Transport, Code::BotOffline, message));
        }
    }
}
