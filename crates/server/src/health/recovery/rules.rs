//! The recovery of all components: when a handler starts, how it ended, and what operators do about it.
//!
//! Keyed by component, beside the status engine, which it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use botops_contract::Severity;
use botops_core::error::NextAction;
use botops_core::text::clean;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::machine::{
    AttemptRun, DELAY, HandlerEnd, PER_HOUR, PER_INCIDENT, RecoveryBudget, RecoveryInput, RecoveryMachine,
    RecoveryPhase, RecoveryStep, VERIFY,
};
use super::person::{EXHAUSTED, PersonMust, attempts_used_up, leave_living_bot, person_must};
use super::runner::WorkflowFact;
use crate::bots::{LoopRemedy, UnaskedRestart, immediate_restart};
use crate::health::changes::{HealthChanges, HealthRow};
use crate::health::limit_rules::LimitRuleView;
use crate::health::model::{ClockReading, RecoveryHandler};
use crate::health::status::{MonitoringConfig, StatusEngine, WatchedComponent};

/// The limit for a workflow whose own limit is not known, in milliseconds.
const UNKNOWN_RUN: i64 = 3_600_000;

/// How long folding the store's log may take, in milliseconds.
pub(crate) const CHECKPOINT_MS: i64 = 30_000;

/// Characters that the reason of a run has at most; workflows take this many.
const RUN_REASON: usize = 280;

/// The limits of this file.
pub(crate) fn handler_rules() -> Vec<LimitRuleView> {
    let unknown = "how long a run is waited for whose own deadline is not known";
    vec![
        LimitRuleView::fixed_ms("recovery_checkpoint", CHECKPOINT_MS, "how long mending the store may take"),
        LimitRuleView::fixed_ms("recovery_unknown_run", UNKNOWN_RUN, unknown),
        LimitRuleView::fixed("recovery_reason", RUN_REASON, "characters", "a longer reason of a run is cut"),
    ]
}

/// An operator's action on a component's recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecoveryAction {
    /// Start an attempt now; waits and the limit per incident do not apply.
    Run,
    /// Make no automatic attempts until `release`.
    Hold,
    /// Allow automatic attempts again.
    Release,
    /// Forget all attempts and end a pause.
    Reset,
}

impl RecoveryAction {
    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Reset => "reset",
        }
    }
}

/// An attempt whose handler must be run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecoveryAttempt {
    pub(crate) component: String,
    pub(crate) handler: RecoveryHandler,
    /// The workflow run of the attempt; `None` for a handler that is no workflow.
    pub(crate) run: Option<AttemptRun>,
}

/// The recovery of one component, with its message to operators.
#[derive(Debug, Default)]
pub(crate) struct ComponentRecovery {
    pub(crate) machine: RecoveryMachine,
    /// Why botops does not act and what a person must do; `None` while botops may act.
    pub(crate) left_to_person: Option<PersonMust>,
    /// Whether nothing else tells that: the attempts are used up, or the workflow is known not to run.
    pub(crate) is_told_nowhere_else: bool,
    /// Calls with which a person does it.
    pub(crate) next_actions: Vec<NextAction>,
}

/// The recovery of all components, and the budget they share.
#[derive(Debug)]
pub(crate) struct RecoveryBook {
    components: BTreeMap<String, ComponentRecovery>,
    budget: RecoveryBudget,
    /// Whether a runner for workflows is set.
    pub(crate) has_runner: bool,
    /// The properties of workflows that recover components, by workflow id.
    pub(crate) workflow_facts: BTreeMap<String, WorkflowFact>,
    /// Whether recovery may start or restart the bot without an operator's request.
    pub(crate) unasked_restart: Arc<UnaskedRestart>,
    dice: u64,
    /// Attempts whose handlers must be started; taken when changes are published.
    pub(crate) attempts: Vec<RecoveryAttempt>,
}

impl Default for RecoveryBook {
    fn default() -> Self {
        Self {
            components: BTreeMap::new(),
            budget: RecoveryBudget::default(),
            has_runner: false,
            workflow_facts: BTreeMap::new(),
            unasked_restart: Arc::new(UnaskedRestart::not_asked_yet()),
            dice: 0x9E37_79B9_7F4A_7C15,
            attempts: Vec::new(),
        }
    }
}

impl RecoveryBook {
    /// The recovery of a component; `None` while nothing has happened to it.
    pub(crate) fn of(&self, id: &str) -> Option<&ComponentRecovery> {
        self.components.get(id)
    }

    /// Whether the component's attempts are used up.
    pub(crate) fn is_exhausted(&self, id: &str) -> bool {
        self.of(id).is_some_and(|recovery| recovery.machine.is_exhausted())
    }

    /// What a person must do about components whose attempts are used up, or whose workflow is known not to run.
    pub(crate) fn hindered(&self) -> Vec<PersonMust> {
        let hindered = self
            .components
            .values()
            .filter(|recovery| recovery.is_told_nowhere_else && recovery.machine.bad_since.is_some());
        hindered.filter_map(|recovery| recovery.left_to_person.clone()).collect()
    }

    /// Workflows that may soon be needed, so that their properties are asked for ahead.
    pub(crate) fn workflows_in_demand(&self, status: &StatusEngine) -> BTreeSet<String> {
        let bad = self.components.iter().filter(|(_, recovery)| recovery.machine.bad_since.is_some());
        let handlers = bad.filter_map(|(id, _)| status.components.get(id)?.spec.recovery.as_ref());
        handlers.filter_map(RecoveryHandler::workflow).map(str::to_owned).collect()
    }

    /// Decides whether the component needs an attempt, and whether a running one ended.
    pub(crate) fn evaluate(
        &mut self,
        id: &str,
        status: &StatusEngine,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) {
        let Some(component) = status.components.get(id) else { return };
        let Some(handler) = component.spec.recovery.clone() else { return };
        let mut recovery = self.components.remove(id).unwrap_or_default();
        let blocked = self.blocking_reason(component, &handler, status, now);
        self.leave_to_person(&mut recovery, component, blocked, now, changes);
        let input = RecoveryInput {
            confirmed: component.confirmed_status(&status.config, now),
            blocked,
            handler_ms: self.limit_ms(&handler),
            jitter: self.roll(),
        };
        let before = recovery.machine.at;
        let step = recovery.machine.advance(&input, &mut self.budget, now.mono);
        if let Some(RecoveryStep::Start { .. }) = step {
            let reason = component.reason_of(input.confirmed).unwrap_or("it is not working").to_owned();
            self.begin_attempt(&mut recovery, id, handler, &reason, None, changes);
        }
        if step.is_some() || (recovery.machine.at != before && before != RecoveryPhase::Idle) {
            self.store(id, &recovery, now, changes);
        }
        if let Some(step) = step {
            publish_step(id, &step, changes);
        }
        self.components.insert(id.to_owned(), recovery);
    }

    /// Why no attempt may start automatically; `None` when one may.
    fn blocking_reason(
        &self,
        component: &WatchedComponent,
        handler: &RecoveryHandler,
        status: &StatusEngine,
        now: ClockReading,
    ) -> Option<&'static str> {
        if !self.can_run(handler) {
            Some("no_handler")
        } else if !status.config.enable_recovery {
            Some("disabled")
        } else if component.in_maintenance || !status.config.enable_monitoring {
            Some("suspended")
        } else if component.tracker.is_flapping() {
            Some("flapping")
        } else if status.is_parent_down(&component.spec.id, now) {
            Some("parent_down")
        } else if component.current_wait(now).is_some_and(|wait| wait.until - now.mono > VERIFY) {
            // Whether an attempt helped could not be seen in time.
            Some("target_waits")
        } else if self.restarts_bot(handler) && !self.unasked_restart.is_allowed() {
            Some(BOT_NOT_PROVEN_DEAD)
        } else if self.hindrance(handler).is_some() {
            Some(CANNOT_RUN)
        } else {
            None
        }
    }

    /// Why the handler's workflow could not be run, as far as that is known.
    fn hindrance(&self, handler: &RecoveryHandler) -> Option<&str> {
        self.workflow_facts.get(handler.workflow()?)?.hindrance.as_deref()
    }

    /// Records that a person has to act, where botops may not (the bot is not proven dead), cannot (the workflow does
    /// not run) or has tried often enough. Each reason is published once, as one plain sentence.
    fn leave_to_person(
        &self,
        recovery: &mut ComponentRecovery,
        component: &WatchedComponent,
        blocked: Option<&'static str>,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) {
        let restart = &self.unasked_restart;
        let machine = &mut recovery.machine;
        let hindrance = component.spec.recovery.as_ref().and_then(|handler| self.hindrance(handler));
        let id = &component.spec.id;
        let left = match (blocked, hindrance, machine.at) {
            _ if machine.held_by.is_some() => None,
            // What it does about the component is under way: it says who must act when it has not helped.
            (.., RecoveryPhase::Running { .. } | RecoveryPhase::Verifying { .. }) => None,
            (Some(BOT_NOT_PROVEN_DEAD), ..) => leave_living_bot(id, restart),
            (Some(CANNOT_RUN), Some(why), _) => Some((CANNOT_RUN, person_must(id, why))),
            (None, _, RecoveryPhase::Exhausted { until }) => {
                Some((EXHAUSTED, attempts_used_up(id, machine.attempts, until + now.offset())))
            }
            _ => None,
        };
        recovery.is_told_nowhere_else =
            left.as_ref().is_some_and(|(reason, _)| [CANNOT_RUN, EXHAUSTED].contains(reason));
        recovery.next_actions = match restart.loop_remedy {
            Some(LoopRemedy::ImmediateRestart) if left.is_some() && blocked == Some(BOT_NOT_PROVEN_DEAD) => {
                vec![immediate_restart()]
            }
            _ => Vec::new(),
        };
        let reason = left.as_ref().map(|(reason, _)| *reason);
        recovery.left_to_person = left.map(|(_, must)| must);
        let (Some(reason), Some(sentence)) = (reason, &recovery.left_to_person) else { return };
        if !machine.is_due(now.mono) || machine.announced_hold.as_deref() == Some(reason) {
            return;
        }
        machine.announced_hold = Some(reason.to_owned());
        let message = format!("recovery of {id} is left to a person: {sentence}");
        let data = json!({"event_type": "recovery.left_to_person", "component_id": id,
            "reason": machine.announced_hold});
        changes.publish(Severity::High, message, data);
        self.store(id, recovery, now, changes);
    }

    /// Passes the attempt that has just begun to the loop that runs handlers. It is not published again when it is a
    /// retry of an attempt that could not begin.
    fn begin_attempt(
        &mut self,
        recovery: &mut ComponentRecovery,
        id: &str,
        handler: RecoveryHandler,
        reason: &str,
        asked_by: Option<String>,
        changes: &mut HealthChanges,
    ) {
        let attempt = recovery.machine.attempts;
        if recovery.machine.untried == 0 {
            let message = format!("recovery of {id}: attempt {attempt} runs {}", handler.name());
            let data = json!({"event_type": "recovery.started", "component_id": id, "attempt": attempt,
                "handler": handler.name(), "reason": reason});
            changes.publish(Severity::High, message, data);
        }
        let run = || AttemptRun {
            key: format!("recovery-{id}-{}", uuid::Uuid::now_v7()),
            reason: clean(&format!("recovery of {id}: {reason}"), RUN_REASON),
            asked_by,
        };
        recovery.machine.run = handler.workflow().is_some().then(run);
        let (component, run) = (id.to_owned(), recovery.machine.run.clone());
        self.attempts.push(RecoveryAttempt { component, handler, run });
    }

    /// Takes the result of a handler. The caller should have the component checked soon.
    pub(crate) fn end_attempt(
        &mut self,
        attempt: &RecoveryAttempt,
        end: &HandlerEnd,
        took_ms: u64,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) {
        let id = attempt.component.as_str();
        let Some(recovery) = self.components.get_mut(id) else {
            self.budget.is_busy = false;
            return;
        };
        let is_over = !matches!(recovery.machine.at, RecoveryPhase::Running { .. });
        if is_over || recovery.machine.run != attempt.run {
            // It was given up before it came back; what runs now is another attempt.
            return;
        }
        let step = recovery.machine.end_attempt(end, &mut self.budget, now.mono);
        let attempt = recovery.machine.attempts;
        if let HandlerEnd::Done(words) | HandlerEnd::Failed(words) = end {
            let said_ok = matches!(end, HandlerEnd::Done(_));
            let ended = if said_ok { "ended; its check decides" } else { "failed" };
            let message = format!("recovery of {id}: the handler {ended} ({words})");
            let data = json!({"event_type": "recovery.handler_ended", "component_id": id, "ok": said_ok,
                "detail": words, "attempt": attempt, "duration_ms": took_ms});
            changes.publish(Severity::Medium, message, data);
        }
        if let Some(recovery) = self.components.get(id) {
            self.store(id, recovery, now, changes);
        }
        publish_step(id, &step, changes);
    }

    /// Performs an operator's action on a component's recovery.
    ///
    /// # Errors
    /// The reason for which the action is not possible.
    pub(crate) fn act(
        &mut self,
        component: &WatchedComponent,
        action: RecoveryAction,
        by: &str,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) -> Result<(), String> {
        let id = &component.spec.id;
        let mut recovery = self.components.remove(id).unwrap_or_default();
        let acted = match action {
            RecoveryAction::Run => self.run_now(&mut recovery, component, by, now, changes),
            RecoveryAction::Hold => {
                recovery.machine.held_by = Some(by.to_owned());
                Ok(())
            }
            RecoveryAction::Release => {
                recovery.machine.held_by = None;
                Ok(())
            }
            RecoveryAction::Reset => {
                recovery.machine.reset();
                Ok(())
            }
        };
        self.store(id, &recovery, now, changes);
        self.components.insert(id.clone(), recovery);
        acted?;
        let action = action.as_str();
        let message = format!("recovery of {id}: {action} by {by}");
        let data = json!({"event_type": format!("recovery.{action}"), "component_id": id, "by": by});
        changes.publish(Severity::Medium, message, data);
        Ok(())
    }

    fn run_now(
        &mut self,
        recovery: &mut ComponentRecovery,
        component: &WatchedComponent,
        by: &str,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) -> Result<(), String> {
        let handler = component.spec.recovery.clone().filter(|handler| self.can_run(handler));
        let Some(handler) = handler else {
            return Err("the component has no handler that can run".to_owned());
        };
        if let Some(why) = self.hindrance(&handler) {
            return Err(person_must(&component.spec.id, why).to_string());
        }
        let limit_ms = self.limit_ms(&handler);
        recovery.machine.run_now(limit_ms, &mut self.budget, now.mono)?;
        let (id, reason) = (&component.spec.id, format!("started by {by}"));
        self.begin_attempt(recovery, id, handler, &reason, Some(by.to_owned()), changes);
        Ok(())
    }

    /// Removes the recovery of a component that is no longer watched.
    pub(crate) fn remove(&mut self, id: &str, changes: &mut HealthChanges) {
        self.components.remove(id);
        changes.store(HealthRow::Thing { kind: "recovery", id: id.to_owned(), body: None });
    }

    /// Restores the budget of an earlier run, whose monotonic clock was `by` milliseconds off.
    pub(crate) fn restore_budget(&mut self, mut budget: RecoveryBudget, by: i64) {
        budget.recent.iter_mut().for_each(|at| *at += by);
        self.budget = RecoveryBudget { is_busy: false, ..budget };
    }

    /// Restores a component's recovery from an earlier run, whose monotonic clock was `by` milliseconds off.
    pub(crate) fn restore_machine(
        &mut self,
        id: &str,
        mut machine: RecoveryMachine,
        by: i64,
        now: ClockReading,
    ) {
        machine.resume(by, now.mono);
        let recovery = ComponentRecovery { machine, ..ComponentRecovery::default() };
        self.components.insert(id.to_owned(), recovery);
    }

    /// Resumes attempts that are workflow runs and were running when botops ended.
    pub(crate) fn resume_attempts(&mut self, status: &StatusEngine) {
        for (id, recovery) in &self.components {
            let machine = &recovery.machine;
            let (RecoveryPhase::Running { .. }, Some(run)) = (machine.at, &machine.run) else { continue };
            let handler = status.components.get(id).and_then(|component| component.spec.recovery.clone());
            let Some(handler) = handler else { continue };
            self.budget.is_busy = true;
            let component = id.clone();
            self.attempts.push(RecoveryAttempt { component, handler, run: Some(run.clone()) });
        }
    }

    fn store(&self, id: &str, recovery: &ComponentRecovery, now: ClockReading, changes: &mut HealthChanges) {
        let body = json!({"offset": now.offset(), "recovery": recovery.machine});
        let id = id.to_owned();
        changes.store(HealthRow::Thing { kind: "recovery", id, body: Some(body.to_string()) });
        let body = json!({"offset": now.offset(), "budget": self.budget});
        let id = "process".to_owned();
        changes.store(HealthRow::Thing { kind: "recovery_budget", id, body: Some(body.to_string()) });
    }

    /// How long the handler may take, in milliseconds. A workflow has its own deadline; this covers one that never
    /// returns.
    fn limit_ms(&self, handler: &RecoveryHandler) -> i64 {
        match handler {
            RecoveryHandler::Workflow(id) => {
                let longest = self.workflow_facts.get(id).map(|fact| fact.longest.as_millis());
                longest.map_or(UNKNOWN_RUN, |longest| i64::try_from(longest).unwrap_or(i64::MAX / 4))
            }
            RecoveryHandler::CheckpointStore => CHECKPOINT_MS,
        }
    }

    /// Whether the handler restarts the bot; a workflow whose properties are not known yet counts as one that does.
    fn restarts_bot(&self, handler: &RecoveryHandler) -> bool {
        let facts = |id| self.workflow_facts.get(id).is_none_or(|fact| fact.restarts_bot);
        handler.workflow().is_some_and(facts)
    }

    /// What would be done if the component failed now, in one sentence.
    pub(crate) fn outlook(&self, component: &WatchedComponent, config: &MonitoringConfig) -> String {
        let Some(handler) = &component.spec.recovery else {
            return "Nothing: no recovery is set for it.".to_owned();
        };
        if let Some(held_by) = self.of(&component.spec.id).and_then(|own| own.machine.held_by.as_deref()) {
            return format!("Nothing: {held_by} holds its recovery.");
        }
        if !config.enable_recovery || !config.enable_monitoring {
            return "Nothing: recovery is switched off in the monitoring config.".to_owned();
        }
        let within = format!(
            "after {} s, at most {PER_INCIDENT} times an incident and {PER_HOUR} times an hour; within {} s its check has to \
             confirm that it helped.",
            DELAY / 1_000,
            VERIFY / 1_000
        );
        match (self.restarts_bot(handler), self.unasked_restart.starter) {
            (false, _) => format!("botops runs {} {within}", handler.name()),
            (true, Some(driver)) => format!(
                "Once the bot is proven dead, botops starts it again ({}, by the supervisor `{driver}`) {within} A bot that \
                 answers is never restarted unasked.",
                handler.name()
            ),
            (true, None) => {
                "Nothing: no supervisor is set (BOT_SUPERVISOR), so a person has to start the bot.".to_owned()
            }
        }
    }

    fn can_run(&self, handler: &RecoveryHandler) -> bool {
        self.has_runner || *handler == RecoveryHandler::CheckpointStore
    }

    /// A number from 0 to 1 that spreads waits; it need not be unpredictable.
    fn roll(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        f64::from(u32::try_from(self.dice >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    /// Sets the seed of the numbers that spread waits.
    pub(crate) fn seed(&mut self, seed: u64) {
        self.dice = seed | 1;
    }
}

/// Nothing proves that the bot is gone or hung, so it is not restarted unasked.
const BOT_NOT_PROVEN_DEAD: &str = "bot_not_proven_dead";

/// The workflow is known not to run: an attempt would be wasted.
const CANNOT_RUN: &str = "workflow_cannot_run";

fn publish_step(id: &str, step: &RecoveryStep, changes: &mut HealthChanges) {
    let (severity, kind, attempt, message) = match step {
        RecoveryStep::Recovered { attempt } => (
            Severity::Low,
            "recovery.succeeded",
            *attempt,
            format!("recovery of {id}: its check confirms that it works"),
        ),
        RecoveryStep::Failed { attempt, why } => (
            Severity::High,
            "recovery.failed",
            *attempt,
            format!("recovery of {id}: attempt {attempt} did not help, {why}"),
        ),
        RecoveryStep::Exhausted => (
            Severity::Critical,
            "recovery.exhausted",
            0,
            format!("recovery of {id}: the attempts are used up"),
        ),
        RecoveryStep::NotTried { why, is_news: true } => (
            Severity::Medium,
            "recovery.not_tried",
            0,
            format!("recovery of {id}: no attempt could begin, {why}"),
        ),
        RecoveryStep::NotTried { .. } | RecoveryStep::Start { .. } | RecoveryStep::Planned => return,
    };
    changes.publish(severity, message, json!({"event_type": kind, "component_id": id, "attempt": attempt}));
}
