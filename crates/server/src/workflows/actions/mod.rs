//! Actions: the closed list of what a step can do.
//!
//! Each has typed input and output (their JSON schemas are what references are checked against when a file is read),
//! a class, a rule for repeating it after a crash, a revision, and a prediction for dry runs. Hidden from the engine:
//! which handle does the work. Deliberately absent: a shell, an HTTP call, a path from a parameter. Adding an action
//! is a change of this file, with review.

mod bot;
mod config;
mod health;
mod logs;
mod other;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::artifacts::Artifacts;
use super::definition::FailureClass;
use crate::bots::{Bots, Supervisor};
use crate::configs::Configs;
use crate::events::Events;
use crate::operations_log::StoredActor;
use botops_core::error::{Code, Effect, Error};

/// What an action touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ActionClass)]
pub enum Class {
    /// It looks.
    Read,
    /// It changes the bot.
    Mutate,
    /// It writes files of botops' own.
    LocalWrite,
    /// It computes.
    Compute,
    /// It tells.
    Event,
    /// It waits.
    Timer,
}

/// How an attempt that was cut off may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ActionRepeat)]
pub enum Repeat {
    /// As often as wanted: it changes nothing.
    Pure,
    /// With the same key: the other side acts once.
    Keyed,
    /// It looks first whether it has happened already.
    CompareAndSet,
}

/// What is said about an action.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub name: &'static str,
    pub class: Class,
    pub repeat: Repeat,
    /// Grows with each change of meaning; a run that was cut off under another one is in doubt.
    pub revision: u32,
    /// One attempt, unless the step says otherwise.
    pub timeout_s: u64,
    pub says: &'static str,
}

/// The closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum Action {
    #[serde(rename = "bot.status")]
    BotStatus,
    #[serde(rename = "bot.pause_trading")]
    BotPause,
    #[serde(rename = "bot.resume_trading")]
    BotResume,
    #[serde(rename = "bot.cancel_orders")]
    BotCancelOrders,
    #[serde(rename = "bot.restart")]
    BotRestart,
    #[serde(rename = "config.plan")]
    ConfigPlan,
    #[serde(rename = "config.apply")]
    ConfigApply,
    #[serde(rename = "config.confirm")]
    ConfigConfirm,
    #[serde(rename = "config.revert")]
    ConfigRevert,
    #[serde(rename = "health.probe")]
    HealthProbe,
    #[serde(rename = "health.verdict")]
    HealthVerdict,
    #[serde(rename = "logs.collect")]
    LogsCollect,
    #[serde(rename = "artifact.verify")]
    ArtifactVerify,
    #[serde(rename = "artifact.delete")]
    ArtifactDelete,
    #[serde(rename = "note.raise")]
    NoteRaise,
    #[serde(rename = "wait.for")]
    WaitFor,
}

impl Action {
    pub const ALL: [Self; 16] = [
        Self::BotStatus,
        Self::BotPause,
        Self::BotResume,
        Self::BotCancelOrders,
        Self::BotRestart,
        Self::ConfigPlan,
        Self::ConfigApply,
        Self::ConfigConfirm,
        Self::ConfigRevert,
        Self::HealthProbe,
        Self::HealthVerdict,
        Self::LogsCollect,
        Self::ArtifactVerify,
        Self::ArtifactDelete,
        Self::NoteRaise,
        Self::WaitFor,
    ];

    /// The table.
    pub fn spec(self) -> Spec {
        use Class::{Compute, Event, LocalWrite, Mutate, Read, Timer};
        use Repeat::{CompareAndSet, Keyed, Pure};
        let row =
            |name, class, repeat, timeout_s, says| Spec { name, class, repeat, revision: 1, timeout_s, says };
        match self {
            Self::BotStatus => row("bot.status", Read, Pure, 5, "what the bot does now"),
            Self::BotPause => row("bot.pause_trading", Mutate, Keyed, 10, "no new positions"),
            Self::BotResume => row("bot.resume_trading", Mutate, Keyed, 10, "new positions again"),
            Self::BotCancelOrders => row("bot.cancel_orders", Mutate, Keyed, 15, "cancel resting orders"),
            Self::BotRestart => row("bot.restart", Mutate, CompareAndSet, 120, "replace the bot's process"),
            Self::ConfigPlan => row("config.plan", Read, Pure, 15, "what a config change would do"),
            Self::ConfigApply => row("config.apply", Mutate, Keyed, 30, "begin a config trial"),
            Self::ConfigConfirm => row("config.confirm", Mutate, Keyed, 15, "keep what the trial runs"),
            Self::ConfigRevert => row("config.revert", Mutate, Keyed, 15, "end the trial"),
            Self::HealthProbe => row("health.probe", Read, Pure, 45, "named checks with values and limits"),
            Self::HealthVerdict => row("health.verdict", Compute, Pure, 5, "one word for what was found"),
            Self::LogsCollect => row("logs.collect", LocalWrite, Keyed, 240, "bundle redacted log lines"),
            Self::ArtifactVerify => {
                row("artifact.verify", Read, Pure, 120, "read a bundle back, look for secrets")
            }
            Self::ArtifactDelete => row("artifact.delete", LocalWrite, Keyed, 15, "delete this run's bundle"),
            Self::NoteRaise => row("note.raise", Event, Keyed, 5, "put an event into the journal"),
            Self::WaitFor => row("wait.for", Timer, Pure, 310, "wait"),
        }
    }

    pub fn name(self) -> &'static str {
        self.spec().name
    }

    pub fn input_schema(self) -> &'static Value {
        self.schemas().0
    }

    pub fn output_schema(self) -> &'static Value {
        self.schemas().1
    }

    fn schemas(self) -> (&'static Value, &'static Value) {
        static SCHEMAS: LazyLock<BTreeMap<Action, (Value, Value)>> =
            LazyLock::new(|| Action::ALL.into_iter().map(|action| (action, action.make_schemas())).collect());
        let (input, output) = SCHEMAS.get(&self).expect("every action is in ALL");
        (input, output)
    }

    fn make_schemas(self) -> (Value, Value) {
        match self {
            Self::BotStatus => pair::<bot::Look, bot::Status>(),
            Self::BotPause | Self::BotResume => pair::<bot::Say, bot::Trading>(),
            Self::BotCancelOrders => pair::<bot::Cancel, bot::Cancelled>(),
            Self::BotRestart => pair::<bot::Restart, bot::Restarted>(),
            Self::ConfigPlan => pair::<config::Plan, config::Planned>(),
            Self::ConfigApply => pair::<config::Apply, config::Trial>(),
            Self::ConfigConfirm | Self::ConfigRevert => pair::<config::Settle, config::Trial>(),
            Self::HealthProbe => pair::<health::Probe, health::Probed>(),
            Self::HealthVerdict => pair::<health::Weigh, health::Verdict>(),
            Self::LogsCollect => pair::<logs::Collect, logs::Collected>(),
            Self::ArtifactVerify => pair::<logs::Verify, logs::Verified>(),
            Self::ArtifactDelete => pair::<logs::Delete, logs::Deleted>(),
            Self::NoteRaise => pair::<other::Note, other::Raised>(),
            Self::WaitFor => pair::<other::Wait, other::Waited>(),
        }
    }

    /// Whether `until` can look again at what the action reports, without acting again.
    pub fn is_observable(self) -> bool {
        let looks = matches!(self.spec().class, Class::Read | Class::Compute);
        looks || matches!(self, Self::BotCancelOrders | Self::BotPause | Self::BotResume)
    }

    /// Whether it leaves something behind that an undo could concern.
    pub fn changes(self) -> bool {
        matches!(self.spec().class, Class::Mutate | Class::LocalWrite | Class::Event)
    }

    /// Does it, once as far as the world can tell: `call.key` is the same for every repetition.
    pub async fn perform(self, world: &World, input: &Value, call: &Call) -> Result<Value, Failure> {
        match self {
            Self::BotStatus => put(bot::status(world, &take(input)?, call).await),
            Self::BotPause => put(bot::pause(world, take(input)?, call).await),
            Self::BotResume => put(bot::resume(world, take(input)?, call).await),
            Self::BotCancelOrders => put(bot::cancel_orders(world, take(input)?, call).await),
            Self::BotRestart => put(bot::restart(world, take(input)?, call).await),
            Self::ConfigPlan => put(config::plan(world, take(input)?, call).await),
            Self::ConfigApply => put(config::apply(world, take(input)?, call).await),
            Self::ConfigConfirm => put(config::confirm(world, take(input)?, call).await),
            Self::ConfigRevert => put(config::revert(world, take(input)?, call).await),
            Self::HealthProbe => put(health::probe(world, &take(input)?, call).await),
            Self::HealthVerdict => put(Ok(health::verdict(take(input)?))),
            Self::LogsCollect => put(logs::collect(world, take(input)?, call).await),
            Self::ArtifactVerify => put(logs::verify(world, take(input)?).await),
            Self::ArtifactDelete => put(logs::delete(world, take(input)?, call).await),
            Self::NoteRaise => put(Ok(other::raise(world, &take(input)?, call))),
            Self::WaitFor => put(other::wait(&take(input)?, call).await),
        }
    }

    /// Looks again at what the action reported, without acting.
    pub async fn observe(
        self,
        world: &World,
        input: &Value,
        first: &Value,
        call: &Call,
    ) -> Result<Value, Failure> {
        match self {
            Self::BotPause | Self::BotResume => put(bot::trading_now(world, call).await),
            Self::BotCancelOrders => put(bot::cancelled_now(world, take(first)?, call).await),
            _ => self.perform(world, input, call).await,
        }
    }

    /// What it would put out. Reads really look; changes ask the bot for a dry run where it has one.
    pub async fn predict(
        self,
        world: &World,
        input: &Value,
        call: &Call,
        assumed: &mut Assumed,
    ) -> Result<Value, Failure> {
        match self {
            Self::BotStatus => {
                put(bot::status(world, &take(input)?, call).await.map(|status| assumed.over(status)))
            }
            Self::BotPause => put(bot::predict_pause(world, take(input)?, call, assumed).await),
            Self::BotResume => put(bot::predict_resume(world, take(input)?, call, assumed).await),
            Self::BotCancelOrders => put(bot::predict_cancel(world, take(input)?, call, assumed).await),
            Self::BotRestart => put(bot::predict_restart(world, take(input)?, assumed)),
            Self::ConfigApply => put(config::predict_apply(world, &take(input)?)),
            Self::ConfigConfirm => put(Ok(config::predict_settled(world, take(input)?, "committed"))),
            Self::ConfigRevert => put(Ok(config::predict_settled(world, take(input)?, "rolled_back"))),
            Self::LogsCollect => put(logs::predict_collect(world, take(input)?, call).await),
            Self::ArtifactVerify => put(Ok(logs::predict_verify())),
            Self::ArtifactDelete => put(Ok(logs::Deleted { deleted: true })),
            Self::NoteRaise => put(Ok(other::Raised { seq: None })),
            Self::WaitFor => put(Ok(other::predict_wait(&take(input)?))),
            Self::HealthProbe => put(health::probe(world, &take::<health::Probe>(input)?.once(), call).await),
            Self::ConfigPlan | Self::HealthVerdict => self.perform(world, input, call).await,
        }
    }
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    pub class: FailureClass,
    /// The catalogue's code.
    pub code: &'static str,
    pub message: String,
    /// Whether it may have happened all the same.
    pub in_doubt: bool,
}

impl Failure {
    pub fn new(class: FailureClass, code: Code, message: impl Into<String>) -> Self {
        let in_doubt = class == FailureClass::Unknown;
        Self { class, code: code.row().code, message: message.into(), in_doubt }
    }

    pub fn precondition(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Precondition, Code::WorkflowStepFailed, message)
    }

    pub fn io(what: &str, error: &std::io::Error) -> Self {
        Self::new(FailureClass::Io, Code::StoreUnavailable, format!("{what} ({})", error.kind()))
    }

    pub fn timeout(message: impl Into<String>, in_doubt: bool) -> Self {
        Self { in_doubt, ..Self::new(FailureClass::Timeout, Code::WorkflowStepFailed, message) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        use FailureClass::{Busy, Invalid, Io, Precondition, Rejected, Timeout, Transport, Unknown};
        let problem = error.problem("", chrono::Utc::now());
        let class = match error.code() {
            Code::BotOffline | Code::BotAnswerInvalid => Transport,
            Code::BotTimeout | Code::DeadlineExceeded => Timeout,
            Code::StoreUnavailable => Io,
            Code::BotRefused => Rejected,
            Code::ConfigBusy => Busy,
            Code::BotNotCapable | Code::SupervisorMissing => Precondition,
            Code::Internal => Unknown,
            _ => match problem.status {
                400 | 404 | 422 => Invalid,
                429 => Busy,
                503 => Transport,
                504 => Timeout,
                _ => Rejected,
            },
        };
        let in_doubt = matches!(problem.effect, Effect::Unknown | Effect::Partial);
        Self { class, code: error.code().row().code, message: problem.cause, in_doubt }
    }
}

/// What actions work on.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub bots: Bots,
    pub configs: Configs,
    pub supervisor: Supervisor,
    pub events: Events,
    pub artifacts: Artifacts,
    pub data_dir: PathBuf,
}

/// The circumstances of one attempt.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub run: String,
    pub workflow: String,
    /// The step that acts; for an undo, the step that is undone.
    pub step: String,
    /// The same for every repetition of one effect, and for no other.
    pub key: String,
    /// For the bot's own record.
    pub reason: String,
    /// Who asked for the run.
    pub actor: StoredActor,
    pub deadline: Instant,
}

impl Call {
    /// Time left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What a dry run assumes to have happened before.
#[derive(Debug, Default)]
pub(super) struct Assumed {
    boot_epoch: Option<String>,
    trading_enabled: Option<bool>,
    resting_orders: Option<u32>,
}

impl Assumed {
    fn over(&self, mut status: bot::Status) -> bot::Status {
        if let Some(epoch) = &self.boot_epoch {
            status.boot_epoch.clone_from(epoch);
        }
        status.trading_enabled = self.trading_enabled.unwrap_or(status.trading_enabled);
        status.resting_orders = self.resting_orders.unwrap_or(status.resting_orders);
        status
    }
}

fn take<T: DeserializeOwned>(input: &Value) -> Result<T, Failure> {
    serde_path_to_error::deserialize(input).map_err(|error| {
        let (path, what) = (error.path().to_string(), error.into_inner().to_string());
        let message = format!("the input does not fit at `{path}`: {}", botops_core::text::clean(&what, 200));
        Failure::new(FailureClass::Invalid, Code::WorkflowStepFailed, message)
    })
}

fn put<T: Serialize>(output: Result<T, Failure>) -> Result<Value, Failure> {
    serde_json::to_value(output?).map_err(|error| {
        Failure::new(FailureClass::Unknown, Code::Internal, format!("the output is no JSON ({error})"))
    })
}

fn pair<I: JsonSchema, O: JsonSchema>() -> (Value, Value) {
    (schema::<I>(), schema::<O>())
}

/// Without `$ref`s, so that a path into it can be followed directly.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    serde_json::to_value(settings.into_generator().into_root_schema_for::<T>()).expect("a schema is JSON")
}
