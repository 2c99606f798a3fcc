//! `bot.restart`: replaces the bot's process.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::WorkflowAction;
use super::bot_command::BotCommand;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::{ActionFailure, StepFailureClass};
use super::needs::ActionNeed;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use botops_contract::Verb;
use botops_core::error::{Code, Effect};
use botops_core::failpoints;

/// How long a bot that got SIGTERM may take before it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

pub(super) struct RestartBot;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RestartInput {
    /// How to end the process: ask the bot to stop, or send a signal.
    #[serde(default)]
    mode: RestartMode,
    /// Seconds that a bot which was asked to stop may take.
    #[serde(default = "one_minute_s")]
    #[schemars(range(min = 1, max = 300))]
    drain_s: u64,
    /// The boot epoch of the process that should end. When the bot has another one, the process has ended already.
    expect_epoch: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RestartMode {
    #[default]
    Graceful,
    Immediate,
}

fn one_minute_s() -> u64 {
    60
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct RestartOutput {
    /// The boot epoch of the new process.
    boot_epoch: String,
    /// The boot epoch of the process before it.
    old_epoch: String,
    /// The id of the new process, where it is known.
    pid: Option<u32>,
    /// Whether the bot had been restarted before it was asked to stop.
    already: bool,
}

impl WorkflowAction for RestartBot {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 120,
        restarts_bot: true,
        needs: &[ActionNeed::BootEpoch, ActionNeed::Supervisor],
        summary: "replace the bot's process",
        ..ActionSpec::new("bot.restart", ActionClass::Mutate, ActionRepeat::CompareAndSet)
    };
    type Input = RestartInput;
    type Output = RestartOutput;

    /// Ends the old process and starts a new one. Every part checks first what was done already, so it can be
    /// repeated.
    async fn perform(
        world: &ActionServices,
        input: RestartInput,
        call: &ActionCall,
    ) -> Result<RestartOutput, ActionFailure> {
        let old = input.expect_epoch;
        if let Some((epoch, pid)) = find_newer_process(world, &old) {
            wait_for_epoch(world, &epoch, call).await?;
            return Ok(RestartOutput { boot_epoch: epoch, old_epoch: old, pid, already: true });
        }
        if !world.supervisor.can_start() {
            return Err(ActionFailure::from(world.bots.nobody_restarts()));
        }
        if let Err(error) = world.bots.check_identity() {
            let message = error.problem("", chrono::Utc::now()).cause;
            return Err(ActionFailure::new(StepFailureClass::Precondition, Code::BotNotStarted, message));
        }
        world.bots.expect_restart(call.time_left());
        world.bots.forget_pause_of_run(&call.run);
        failpoints::point("wf:restart:begin");
        let drain = Duration::from_secs(input.drain_s).min(call.time_left());
        let answers = world.bots.snapshot().presence.answers();
        if answers {
            world.supervisor.note_wanted_end();
        }
        if input.mode == RestartMode::Graceful && answers && world.bots.still_runs(&old) {
            match ask_to_end(world, call).await {
                EndAnswer::Ends => world.bots.wait_for_end(&old, drain).await,
                // The supervisor ends the process instead.
                EndAnswer::Cannot => {}
                EndAnswer::Refuses(failure) => {
                    world.bots.expect_no_restart();
                    return Err(failure);
                }
            }
        }
        failpoints::point("wf:restart:asked");
        replace_process_and_wait(world, old, call).await.map_err(|failure| {
            world.bots.expect_no_restart();
            ActionFailure { in_doubt: true, ..failure }
        })
    }

    async fn predict(
        world: &ActionServices,
        input: RestartInput,
        _call: &ActionCall,
        assumed: &mut AssumedChanges,
    ) -> Result<RestartOutput, ActionFailure> {
        if !world.supervisor.can_start() {
            return Err(ActionFailure::from(world.bots.nobody_restarts()));
        }
        let epoch = "a new boot".to_owned();
        assumed.assume_restart(&epoch, &world.bots.snapshot());
        Ok(RestartOutput { boot_epoch: epoch, old_epoch: input.expect_epoch, pid: None, already: false })
    }
}

/// The bot's answer to a request to stop.
enum EndAnswer {
    /// It stops, or may be stopping already.
    Ends,
    /// It has no such verb, or its loop does not take the request.
    Cannot,
    /// It refuses, for the given reason.
    Refuses(ActionFailure),
}

async fn ask_to_end(world: &ActionServices, call: &ActionCall) -> EndAnswer {
    let Err(error) = BotCommand::new(Verb::Shutdown, None).give_command(world, call).await else {
        return EndAnswer::Ends;
    };
    let problem = error.problem("", chrono::Utc::now());
    let reason = problem.context.get("reason_code").and_then(Value::as_str);
    if problem.effect == Effect::Unknown || error.code() == Code::BotOffline || reason == Some("stopping") {
        return EndAnswer::Ends;
    }
    let cannot = error.code() == Code::BotNotCapable || matches!(reason, Some("expired" | "busy"));
    if cannot { EndAnswer::Cannot } else { EndAnswer::Refuses(ActionFailure::from(error)) }
}

/// From here on the old process has ended or will end, so every failure comes after an effect.
async fn replace_process_and_wait(
    world: &ActionServices,
    old: String,
    call: &ActionCall,
) -> Result<RestartOutput, ActionFailure> {
    let pid = world.bots.replace_process(&old, GRACE.min(call.time_left())).await?;
    failpoints::point("wf:restart:started");
    let mut changes = world.bots.watch();
    loop {
        let seen = world.bots.snapshot();
        let report = seen.report.as_ref().filter(|_| seen.presence.answers());
        if let Some(report) =
            report.filter(|report| report.boot_epoch.as_ref().is_some_and(|epoch| *epoch != old))
        {
            let pid = world.bots.pid().or(pid);
            return Ok(RestartOutput {
                boot_epoch: report.boot_epoch.clone().unwrap_or_default(),
                old_epoch: old,
                pid,
                already: false,
            });
        }
        if world.supervisor.sees_process() && world.supervisor.started_processes().is_empty() {
            let message = format!("the bot {}", world.supervisor.describe_early_end().await);
            return Err(ActionFailure::new(StepFailureClass::Transport, Code::BotNotStarted, message));
        }
        if call.time_left().is_zero() {
            let message = format!("the bot was started but does not answer: {}", seen.presence_reason);
            return Err(ActionFailure::timeout(message, true));
        }
        let pause = call.time_left().min(Duration::from_millis(200));
        // The loop checks again after a change and after the pause alike.
        let _ = tokio::time::timeout(pause, changes.changed()).await;
    }
}

/// The process that was started after `old`: from the bot's pid file where there is one, otherwise from its last
/// answer.
fn find_newer_process(world: &ActionServices, old: &str) -> Option<(String, Option<u32>)> {
    let by_file =
        world.supervisor.adopt().and_then(|alive| Some((alive.boot_epoch?, Some(alive.process.pid))));
    let answering = || {
        let seen = world.bots.snapshot();
        let report = seen.report.as_ref().filter(|_| seen.presence.answers())?;
        Some((report.boot_epoch.clone()?, world.bots.pid()))
    };
    by_file.or_else(answering).filter(|(epoch, _)| epoch != old)
}

/// Waits until the connection to the bot has reached the process with this boot epoch.
async fn wait_for_epoch(world: &ActionServices, epoch: &str, call: &ActionCall) -> Result<(), ActionFailure> {
    let mut changes = world.bots.watch();
    loop {
        let seen = world.bots.snapshot();
        let is_it = seen.report.as_ref().is_some_and(|report| report.boot_epoch.as_deref() == Some(epoch));
        if is_it && seen.presence.answers() {
            return Ok(());
        }
        if tokio::time::timeout(call.time_left(), changes.changed()).await.is_err() {
            return Err(ActionFailure::timeout("the bot started again but does not answer", true));
        }
    }
}
