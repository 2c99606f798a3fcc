//! One run: from its first fact to its last.
//!
//! The loop asks what the facts call for next (a step, an undo, a safe posture, the end) and does that one thing:
//! intent into the store, act, outcome into the store. It holds no state of its own that a crash could lose, so taking
//! up a run after a crash is the same loop on the same facts. Hidden from its users: retries, deadlines, conditions
//! that are waited for, cancelling. Deliberately absent: steps side by side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::actions::{Action, Call, Class, Failure};
use super::definition::{FailureClass, OnCrash, OnError, Posture, Step, Undo, UndoRule, Until, Workflow};
use super::journal::{Fact, Folded, RunError, RunState, StepFold, StepState, Why, Written};
use super::outcome::{attention, error, kept, shown, unmet};
use super::tries::Tries;
use super::values::{Criterion, Values, all_met};
use crate::events::NewEvent;
use crate::operations_log::{OperationRow, now_ms};
use botops_contract::EventKind;
use botops_core::error::Code;
use botops_core::failpoints;

/// A run that was taken up this often is not taken up again: something in it kills the process.
pub(super) const RECOVERIES_MAX: u32 = 3;

/// What a step may put out.
const OUTPUT_MAX: usize = 64 * 1024;

/// How long an effect that is under way may go on after a cancel.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// The same when botops stops: inside what the process as a whole may take.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// How long a store that cannot be written is waited for before the next try.
const STORE_WAIT: Duration = Duration::from_millis(500);

/// Why the loop ends without a last fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    /// botops stops; the run goes on when it is back.
    Stopping,
    /// The run is over already.
    Over,
}

/// What the facts call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Step(usize),
    Turn(Why),
    Undo(usize),
    Posture,
    Finish(RunState),
}

/// What cut a step off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Cancelled,
    Deadline,
    Stopping,
}

/// One run and everything it needs.
pub(super) struct Run {
    shared: Arc<Shared>,
    op: OperationRow,
    workflow: Arc<Workflow>,
    folded: Folded,
    cancel: CancellationToken,
}

impl Run {
    pub fn new(
        shared: Arc<Shared>,
        op: OperationRow,
        workflow: Arc<Workflow>,
        folded: Folded,
        cancel: CancellationToken,
    ) -> Self {
        Self { shared, op, workflow, folded, cancel }
    }

    /// Goes on until the run is over, or botops stops.
    pub async fn drive(&mut self) -> Halt {
        loop {
            let done = match self.next() {
                Next::Step(index) => self.step(index).await,
                Next::Turn(why) => self.record(Fact::Undoing { why }).await,
                Next::Undo(index) => self.undo(index).await,
                Next::Posture => self.posture().await,
                Next::Finish(state) => self.finish(state).await,
            };
            if let Err(halt) = done {
                if halt == Halt::Stopping {
                    // Told so that the restart does not count as a crash.
                    self.suspend().await;
                }
                return halt;
            }
        }
    }

    /// Judges what a crash left: an attempt under another revision of its action cannot be told.
    pub async fn recover(&mut self) -> Result<(), Halt> {
        let recoveries = self.op.recoveries;
        if recoveries > RECOVERIES_MAX {
            let message = format!("the run was taken up {RECOVERIES_MAX} times and stopped botops each time");
            let error = Some(error(FailureClass::Unknown, Code::WorkflowNeedsAttention, message));
            return self
                .record(Fact::Finished { state: RunState::NeedsAttention, outputs: None, error })
                .await;
        }
        if recoveries > 0 && !self.folded.suspended {
            self.record(Fact::Recovered { recoveries }).await?;
        }
        let steps = self.workflow.definition.steps.iter().zip(&self.folded.steps);
        let stranger = steps
            .filter(|(step, fold)| {
                fold.in_flight.is_some_and(|revision| revision != step.uses.spec().revision)
            })
            .map(|(step, _)| step.id.clone())
            .next();
        let Some(step) = stranger else { return Ok(()) };
        let message = "the step was cut off under another revision of its action";
        let unknown = error(FailureClass::Unknown, Code::WorkflowNeedsAttention, message);
        let error = Some(unknown.clone());
        let fact =
            Fact::StepFinished { step, state: StepState::Unknown, output: None, criteria: Vec::new(), error };
        self.record(fact).await?;
        if self.workflow.definition.policy.on_crash == OnCrash::Halt {
            let error = Some(unknown);
            return self
                .record(Fact::Finished { state: RunState::NeedsAttention, outputs: None, error })
                .await;
        }
        Ok(())
    }

    fn next(&self) -> Next {
        let folded = &self.folded;
        let steps = &self.workflow.definition.steps;
        if folded.turned_back.is_some() {
            let last = (0..steps.len()).rev().find(|index| self.wants_undo(*index));
            return last.map_or_else(|| Next::Finish(self.end_of_turning_back()), Next::Undo);
        }
        let open = [StepState::Pending, StepState::Running, StepState::Retrying];
        let next = folded.steps.iter().position(|step| open.contains(&step.state));
        let failed = steps.iter().zip(&folded.steps).any(|(step, fold)| match fold.state {
            StepState::Failed => step.on_error == OnError::Stop,
            StepState::Unknown => true,
            _ => false,
        });
        let Some(next) = next.filter(|_| !failed) else {
            if !failed {
                return Next::Finish(RunState::Succeeded);
            }
            return self.turn(Why::Failed);
        };
        // A step that may be under way in the world is settled before anything else.
        let settled = folded.steps.get(next).is_some_and(|step| step.in_flight.is_none());
        if settled && folded.cancel_by.is_some() && !self.past_pivot() {
            return self.turn(Why::Cancelled);
        }
        if settled && self.time_left().is_zero() {
            return self.turn(Why::Deadline);
        }
        Next::Step(next)
    }

    fn turn(&self, why: Why) -> Next {
        if !self.past_pivot() {
            let why = if self.folded.cancel_by.is_some() { Why::Cancelled } else { why };
            return Next::Turn(why);
        }
        let posture = self.workflow.definition.on_failure_after_pivot.as_ref();
        if posture.is_some() && self.folded.posture.is_none() {
            return Next::Posture;
        }
        let unsure = self.unsettled().is_some() || matches!(self.folded.posture, Some(Err(_)));
        Next::Finish(if unsure { RunState::NeedsAttention } else { RunState::FailedAfterPivot })
    }

    /// Whether the point of no return is, or may be, behind.
    fn past_pivot(&self) -> bool {
        is_past_pivot(&self.workflow, &self.folded)
    }

    fn wants_undo(&self, index: usize) -> bool {
        let (Some(step), Some(fold)) =
            (self.workflow.definition.steps.get(index), self.folded.steps.get(index))
        else {
            return false;
        };
        let has_undo = matches!(step.undo, Some(UndoRule::With(_)));
        has_undo && (fold.acted() || fold.in_doubt) && !fold.undo_settled
    }

    /// A changing step whose effect cannot be told and that nothing takes back.
    fn unsettled(&self) -> Option<&StepFold> {
        let steps = self.workflow.definition.steps.iter().zip(&self.folded.steps);
        let mut unknown =
            steps.filter(|(step, fold)| step.uses.changes() && fold.state == StepState::Unknown);
        unknown.next().map(|(_, fold)| fold)
    }

    fn end_of_turning_back(&self) -> RunState {
        let any = |state: StepState| self.folded.steps.iter().any(|fold| fold.state == state);
        if any(StepState::UndoFailed) || self.unsettled().is_some_and(|fold| !fold.undo_settled) {
            return RunState::NeedsAttention;
        }
        if self.folded.turned_back == Some(Why::Cancelled) {
            return RunState::Cancelled;
        }
        if any(StepState::Undone) { RunState::RolledBack } else { RunState::Failed }
    }

    fn values(&self) -> Values {
        Values { params: self.op.params.clone(), outputs: self.folded.step_outputs() }
    }

    fn time_left(&self) -> Duration {
        let left = self.folded.deadline_ms.map_or(i64::MAX, |deadline| deadline - now_ms());
        Duration::from_millis(u64::try_from(left).unwrap_or_default())
    }

    fn call(&self, step: &str, key: String, limit: Duration) -> Call {
        let said = self.op.params.get("reason").and_then(Value::as_str);
        let name = &self.op.name;
        let reason =
            said.map_or_else(|| format!("workflow {name}"), |said| format!("workflow {name}: {said}"));
        Call {
            run: self.op.op_id.clone(),
            workflow: name.clone(),
            step: step.to_owned(),
            key,
            reason: botops_core::text::clean(&reason, 280),
            actor: self.op.actor.clone(),
            deadline: Instant::now() + limit,
        }
    }

    async fn step(&mut self, index: usize) -> Result<(), Halt> {
        let workflow = self.workflow.clone();
        let step = &workflow.definition.steps[index];
        if let Some(why) = self.left_alone() {
            let failure = error(FailureClass::Precondition, Code::RecoveryRefused, why);
            return self.end_step(step, StepState::Failed, None, Vec::new(), Some(failure)).await;
        }
        let is_new = self.folded.steps[index].attempts == 0;
        if is_new && !step.when.is_empty() {
            let criteria = self.values().judge(&step.when, &Value::Null);
            if !all_met(&criteria) {
                return self.end_step(step, StepState::Skipped, None, criteria, None).await;
            }
        }
        if let Some(due) = self.folded.steps[index].retry_at_ms {
            failpoints::point("wf:retry_wait");
            if let Err(cut) = self.sleep_until(due).await {
                return self.cut_off(step, cut).await;
            }
        }
        let spec = step.uses.spec();
        let input = self.values().input(&step.with);
        let key = format!("{}/{}", self.op.op_id, step.id);
        let attempt = self.folded.steps[index].attempts + 1;
        let action = spec.name.to_owned();
        let (id, revision) = (step.id.clone(), spec.revision);
        failpoints::point("wf:step_starting");
        let started =
            Fact::StepStarted { step: id, attempt, action, revision, key: key.clone(), input: shown(&input) };
        self.record(started).await?;
        failpoints::point("wf:step_started");
        let is_first = attempt == 1;
        if is_first && self.folded.cancel_by.is_some() && !spec_is_pivot(&workflow, index) {
            return self.cut_off(step, Cut::Cancelled).await;
        }
        let limit = Duration::from_secs(step.timeout_s.unwrap_or(spec.timeout_s));
        let call = self.call(&step.id, key, limit);
        let acted = match &step.until {
            // A look that is repeated until it is good needs no first look of its own.
            Some(until) if spec.class == Class::Read => {
                return self.until(index, step, until, input, None).await;
            }
            _ => {
                let world = self.shared.world.clone();
                let work = step.uses.perform(&world, &input, &call);
                self.guarded(work, limit, step.uses.changes()).await
            }
        };
        failpoints::point("wf:acted");
        match acted {
            Err(cut) => self.cut_off(step, cut).await,
            Ok(Ok(output)) => match &step.until {
                Some(until) => self.until(index, step, until, input, Some(output)).await,
                None => self.judge(step, output).await,
            },
            Ok(Err(failure)) => self.failed(index, step, &failure).await,
        }
    }

    /// Why a run that nobody asked for does not touch the bot (any further): it would restart a bot that is not proven
    /// dead, or that has come back. Past the pivot the bot is going down already.
    fn left_alone(&self) -> Option<String> {
        let is_held = self.op.actor.is_recovery() && self.workflow.restarts_bot() && !self.past_pivot();
        let restart = is_held.then(|| self.shared.world.bots.snapshot().unasked_restart.clone())?;
        (!restart.is_allowed()).then(|| restart.sentence.clone())
    }

    /// An attempt failed: once more, or that was it.
    async fn failed(&mut self, index: usize, step: &Step, failure: &Failure) -> Result<(), Halt> {
        let failures = self.folded.steps[index].failures + 1;
        let in_doubt = (failure.in_doubt && step.uses.changes()) || self.folded.steps[index].in_doubt;
        let tries = Tries::of(step.uses, step.retry.as_ref(), false);
        let error = kept(failure);
        let stops = self.folded.cancel_by.is_some() || self.time_left().is_zero();
        if let Some(retry_at_ms) = tries.next_ms(failures, failure.class).filter(|_| !stops) {
            let (step, attempt) = (step.id.clone(), self.folded.steps[index].attempts);
            return self.record(Fact::AttemptFailed { step, attempt, error, in_doubt, retry_at_ms }).await;
        }
        let state = if in_doubt { StepState::Unknown } else { StepState::Failed };
        self.end_step(step, state, None, Vec::new(), Some(error)).await
    }

    /// Looks again and again until the condition holds often enough, or its time is over.
    async fn until(
        &mut self,
        index: usize,
        step: &Step,
        until: &Until,
        input: Value,
        first: Option<Value>,
    ) -> Result<(), Halt> {
        let until_ms = match self.folded.steps[index].until_ms {
            Some(stored) => stored,
            None => {
                let until_ms = now_ms() + i64::try_from(until.for_s).unwrap_or(300) * 1_000;
                self.record(Fact::UntilBegun { step: step.id.clone(), until_ms }).await?;
                until_ms
            }
        };
        failpoints::point("wf:until");
        let world = self.shared.world.clone();
        let limit = Duration::from_secs(step.timeout_s.unwrap_or(step.uses.spec().timeout_s));
        let mut latest = first.clone().unwrap_or_default();
        let mut trouble = None;
        let mut good = 0;
        let mut looked = first.is_some();
        loop {
            let look_began = Instant::now();
            if looked {
                let met = all_met(&self.values().judge(&until.expect, &latest));
                good = if met { good + 1 } else { 0 };
                if good >= until.stable {
                    return self.judge(step, latest).await;
                }
            }
            if now_ms() >= until_ms {
                return self.never_came(step, until, latest, trouble).await;
            }
            if looked && let Err(cut) = self.sleep_until(now_ms() + wide(until.every_ms)).await {
                return self.cut_off_after(step, cut, first).await;
            }
            let left = Duration::from_millis(u64::try_from(until_ms - now_ms()).unwrap_or_default());
            let call = self.call(&step.id, format!("{}/{}", self.op.op_id, step.id), limit.min(left));
            let look = async {
                match &first {
                    Some(first) => step.uses.observe(&world, &input, first, &call).await,
                    None => step.uses.perform(&world, &input, &call).await,
                }
            };
            match self.guarded(look, limit.min(left), false).await {
                Err(cut) => return self.cut_off_after(step, cut, first).await,
                Ok(Ok(output)) => {
                    (latest, trouble, looked) = (output, None, true);
                }
                // The end of its time cut this look short: what was seen before is what counts.
                Ok(Err(failure))
                    if left < limit
                        && failure.class == FailureClass::Timeout
                        && (trouble.is_some() || !latest.is_null()) =>
                {
                    return self.never_came(step, until, latest, trouble).await;
                }
                Ok(Err(failure)) => {
                    (trouble, looked, good) = (Some(failure), false, 0);
                    let pause = wide(until.every_ms) - wide_ms(look_began.elapsed());
                    if let Err(cut) = self.sleep_until(now_ms() + pause.max(0)).await {
                        return self.cut_off_after(step, cut, first).await;
                    }
                }
            }
        }
    }

    async fn never_came(
        &mut self,
        step: &Step,
        until: &Until,
        latest: Value,
        trouble: Option<Failure>,
    ) -> Result<(), Halt> {
        if let Some(failure) = trouble {
            let output = (!latest.is_null()).then_some(latest);
            return self.end_step(step, StepState::Failed, output, Vec::new(), Some(kept(&failure))).await;
        }
        let criteria = self.values().judge(&until.expect, &latest);
        let why = unmet(&criteria, &format!("within {} s", until.for_s));
        let failure = error(FailureClass::Expectation, Code::WorkflowStepFailed, why);
        self.end_step(step, StepState::Failed, Some(latest), criteria, Some(failure)).await
    }

    /// The step put something out: is it what was expected?
    async fn judge(&mut self, step: &Step, output: Value) -> Result<(), Halt> {
        if output.to_string().len() > OUTPUT_MAX {
            let message = format!("the output is larger than {} KiB", OUTPUT_MAX / 1024);
            let failure = error(FailureClass::Invalid, Code::WorkflowStepFailed, message);
            let note = Some(json!({"omitted": "too large"}));
            return self.end_step(step, StepState::Failed, note, Vec::new(), Some(failure)).await;
        }
        let criteria = self.values().judge(&step.expect, &output);
        if all_met(&criteria) {
            return self.end_step(step, StepState::Succeeded, Some(output), criteria, None).await;
        }
        let why = unmet(&criteria, "after the step");
        let failure = error(FailureClass::Expectation, Code::WorkflowStepFailed, why);
        self.end_step(step, StepState::Failed, Some(output), criteria, Some(failure)).await
    }

    async fn end_step(
        &mut self,
        step: &Step,
        state: StepState,
        output: Option<Value>,
        criteria: Vec<Criterion>,
        error: Option<RunError>,
    ) -> Result<(), Halt> {
        let step = step.id.clone();
        self.record(Fact::StepFinished { step, state, output, criteria, error }).await?;
        failpoints::point("wf:step_finished");
        Ok(())
    }

    async fn cut_off(&mut self, step: &Step, cut: Cut) -> Result<(), Halt> {
        self.cut_off_after(step, cut, None).await
    }

    /// The step was cut off before it could do (more) harm; what it has put out stays known.
    async fn cut_off_after(&mut self, step: &Step, cut: Cut, output: Option<Value>) -> Result<(), Halt> {
        let (class, message) = match cut {
            Cut::Stopping => return Err(Halt::Stopping),
            Cut::Cancelled => (FailureClass::Precondition, "the run was cancelled"),
            Cut::Deadline => (FailureClass::Timeout, "the run's time is over"),
        };
        let failure = error(class, Code::WorkflowStepFailed, message);
        let in_doubt = self.folded.steps.iter().any(|fold| fold.id == step.id && fold.in_doubt);
        let state = if in_doubt { StepState::Unknown } else { StepState::Failed };
        self.end_step(step, state, output, Vec::new(), Some(failure)).await
    }

    async fn undo(&mut self, index: usize) -> Result<(), Halt> {
        let workflow = self.workflow.clone();
        let step = &workflow.definition.steps[index];
        let Some(UndoRule::With(undo)) = &step.undo else { return Ok(()) };
        if self.folded.steps[index].undo_attempts == 0 {
            let criteria = self.values().judge(&undo.when, &Value::Null);
            if !all_met(&criteria) {
                let (step, state) = (step.id.clone(), StepState::Skipped);
                return self.record(Fact::UndoFinished { step, state, error: None }).await;
            }
        }
        if let Some(due) = self.folded.steps[index].undo_retry_at_ms {
            self.sleep_or_stop(due).await?;
        }
        self.undo_once(index, &step.id, undo).await
    }

    async fn undo_once(&mut self, index: usize, id: &str, undo: &Undo) -> Result<(), Halt> {
        let spec = undo.uses.spec();
        let input = self.values().input(&undo.with);
        let key = format!("{}/{id}/undo", self.op.op_id);
        let attempt = self.folded.steps[index].undo_attempts + 1;
        let (step, action) = (id.to_owned(), spec.name.to_owned());
        let started = Fact::UndoStarted { step, attempt, action, key: key.clone(), input: shown(&input) };
        self.record(started).await?;
        failpoints::point("wf:undo_started");
        let limit = Duration::from_secs(undo.timeout_s.unwrap_or(spec.timeout_s));
        let call = self.call(id, key, limit);
        let world = self.shared.world.clone();
        let work = undo.uses.perform(&world, &input, &call);
        // An undo is not cancelled; only the end of botops cuts it off.
        let acted = tokio::select! {
            acted = tokio::time::timeout(limit, work) => acted,
            () = self.shared.stopping_late() => return Err(Halt::Stopping),
        };
        failpoints::point("wf:undo_acted");
        let acted = acted.unwrap_or_else(|_| Err(Failure::timeout("the undo took too long", true)));
        let step = id.to_owned();
        let fact = match acted {
            Ok(_) => Fact::UndoFinished { step, state: StepState::Undone, error: None },
            Err(failure) => {
                let tries = Tries::of(undo.uses, undo.retry.as_ref(), true);
                let error = kept(&failure);
                match tries.next_ms(attempt, failure.class) {
                    Some(retry_at_ms) => Fact::UndoAttemptFailed { step, attempt, error, retry_at_ms },
                    None => Fact::UndoFinished { step, state: StepState::UndoFailed, error: Some(error) },
                }
            }
        };
        self.record(fact).await?;
        failpoints::point("wf:undo_finished");
        Ok(())
    }

    /// Past the pivot nothing is taken back: the bot is left as safe as can be, and somebody is told.
    async fn posture(&mut self) -> Result<(), Halt> {
        let workflow = self.workflow.clone();
        let Some(after) = &workflow.definition.on_failure_after_pivot else { return Ok(()) };
        let mut missed = None;
        if after.leave == Posture::TradingPaused {
            let tries = Tries::of(Action::BotPause, None, true);
            let mut failures = 0;
            loop {
                let limit = Duration::from_secs(Action::BotPause.spec().timeout_s);
                let call = self.call("posture", format!("{}/posture", self.op.op_id), limit);
                let Err(failure) = Action::BotPause.perform(&self.shared.world, &json!({}), &call).await
                else {
                    missed = None;
                    break;
                };
                missed = Some(kept(&failure));
                failures += 1;
                let Some(due) = tries.next_ms(failures, failure.class) else { break };
                self.sleep_or_stop(due).await?;
            }
        }
        let leave = if after.leave == Posture::TradingPaused { "trading_paused" } else { "nothing" };
        if let Some(raise) = &after.raise {
            let why = self.folded.failed_step().and_then(|step| step.error.as_ref());
            let why = why.map_or("a step failed", |error| error.message.as_str());
            let message = format!("workflow {} failed past its pivot ({}): {why}", self.op.name, raise.code);
            let data = json!({
                "topic": "workflow.raise", "code": raise.code, "run_id": self.op.op_id,
                "workflow_id": self.op.name, "left": leave, "reached": missed.is_none(),
            });
            let event = NewEvent::own(EventKind::Workflow, raise.severity, message, data);
            self.shared.world.events.publish(event);
        }
        self.record(Fact::PostureReached { leave: leave.to_owned(), error: missed }).await
    }

    async fn finish(&mut self, state: RunState) -> Result<(), Halt> {
        failpoints::point("wf:finishing");
        let templates = self.workflow.definition.outputs.iter();
        let values = self.values();
        let outputs = templates.map(|(name, template)| (name.clone(), values.resolve(template)));
        let outputs: serde_json::Map<String, Value> = outputs.collect();
        let error = (state != RunState::Succeeded).then(|| self.why(state));
        self.record(Fact::Finished { state, outputs: Some(Value::Object(outputs)), error }).await?;
        Err(Halt::Over)
    }

    fn why(&self, state: RunState) -> RunError {
        if let Some(step) = self.folded.steps.iter().find(|step| step.state == StepState::UndoFailed)
            && let Some(error) = &step.error
        {
            let message = format!("step `{}` could not be taken back: {}", step.id, error.message);
            return RunError { message, ..attention(error) };
        }
        let failed = self.folded.failed_step();
        let failure = failed.and_then(|step| Some((step.id.clone(), step.error.clone()?)));
        match (self.folded.turned_back, failure) {
            (Some(Why::Cancelled), _) => {
                let by = self.folded.cancel_by.clone().unwrap_or_default();
                error(FailureClass::Precondition, Code::WorkflowCancelled, format!("cancelled by {by}"))
            }
            (Some(Why::Deadline), _) => {
                let limit = self.workflow.definition.policy.timeout_s;
                error(FailureClass::Timeout, Code::WorkflowStepFailed, format!("not done within {limit} s"))
            }
            (_, Some((_, failure))) if state == RunState::NeedsAttention => attention(&failure),
            (_, Some((id, failure))) => {
                RunError { message: format!("step `{id}`: {}", failure.message), ..failure }
            }
            (_, None) => error(FailureClass::Timeout, Code::WorkflowStepFailed, "the run's time is over"),
        }
    }

    /// Runs `work` with its limit; a cancel or a deadline lets an effect that is under way come to its end first.
    async fn guarded(
        &self,
        work: impl Future<Output = Result<Value, Failure>>,
        limit: Duration,
        changes: bool,
    ) -> Result<Result<Value, Failure>, Cut> {
        tokio::pin!(work);
        let cut = tokio::select! {
            done = tokio::time::timeout(limit, &mut work) => {
                let late = || Failure::timeout(format!("no outcome within {} s", limit.as_secs()), changes);
                return Ok(done.unwrap_or_else(|_| Err(late())));
            }
            cut = self.interrupted() => cut,
        };
        if !changes {
            return Err(cut);
        }
        let patience = if cut == Cut::Stopping { STOP_PATIENCE } else { CANCEL_PATIENCE };
        match tokio::time::timeout(patience, work).await {
            Ok(done) => Ok(done),
            // It stays under way; the next life looks what became of it.
            Err(_) if cut == Cut::Stopping => Err(cut),
            Err(_) => {
                let message = "the step was cut off while it acted";
                Ok(Err(Failure::new(FailureClass::Unknown, Code::WorkflowNeedsAttention, message)))
            }
        }
    }

    async fn interrupted(&self) -> Cut {
        tokio::select! {
            () = self.shared.stopping.cancelled() => Cut::Stopping,
            () = self.cancel.cancelled() => Cut::Cancelled,
            () = tokio::time::sleep(self.time_left()) => Cut::Deadline,
        }
    }

    async fn sleep_until(&self, due_ms: i64) -> Result<(), Cut> {
        let wait = Duration::from_millis(u64::try_from(due_ms - now_ms()).unwrap_or_default());
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            cut = self.interrupted() => Err(cut),
        }
    }

    async fn sleep_or_stop(&self, due_ms: i64) -> Result<(), Halt> {
        let wait = Duration::from_millis(u64::try_from(due_ms - now_ms()).unwrap_or_default());
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.shared.stopping.cancelled() => Err(Halt::Stopping),
        }
    }

    /// Makes a fact durable; what others wrote meanwhile (a cancel) is taken in as well.
    async fn record(&mut self, fact: Fact) -> Result<(), Halt> {
        loop {
            match self.shared.advance(&self.op.op_id, self.folded.seq, &fact).await {
                Ok(None) => return Err(Halt::Over),
                Ok(Some(Written { events, state })) => {
                    for event in &events {
                        self.folded.seq = event.seq;
                        if let Some(fact) = Fact::of(event) {
                            self.folded.apply(&fact, event.at_ms);
                        }
                    }
                    let Some(own) = events.last() else { return Ok(()) };
                    self.shared.tell(&self.op, own.seq, own.at_ms, &fact, state);
                    return if state.is_terminal() { Err(Halt::Over) } else { Ok(()) };
                }
                Err(error) => {
                    tracing::error!(
                        run.id = self.op.op_id,
                        error.cause = error.cause_for_log(),
                        "run {} waits for the store: {error}",
                        self.op.op_id
                    );
                    tokio::select! {
                        () = tokio::time::sleep(STORE_WAIT) => {}
                        () = self.shared.stopping.cancelled() => return Err(Halt::Stopping),
                    }
                }
            }
        }
    }

    async fn suspend(&mut self) {
        let written = self.shared.advance(&self.op.op_id, self.folded.seq, &Fact::Suspended).await;
        if let Ok(Some(Written { events, state })) = written
            && let Some(own) = events.last()
        {
            self.shared.tell(&self.op, own.seq, own.at_ms, &Fact::Suspended, state);
        }
    }

    /// The last word on a run whose task panicked.
    pub async fn abandon(&mut self) {
        let message = "a defect in botops stopped the run; the log has it";
        let error = Some(error(FailureClass::Unknown, Code::WorkflowNeedsAttention, message));
        // Over either way.
        let _ = self.record(Fact::Finished { state: RunState::NeedsAttention, outputs: None, error }).await;
    }
}

/// Whether the point of no return is, or may be, behind.
pub(super) fn is_past_pivot(workflow: &Workflow, folded: &Folded) -> bool {
    let pivot = workflow.pivot().and_then(|index| folded.steps.get(index));
    pivot.is_some_and(|step| step.acted() || step.in_doubt || step.in_flight.is_some())
}

fn spec_is_pivot(workflow: &Workflow, index: usize) -> bool {
    workflow.pivot() == Some(index)
}

fn wide(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 4)
}

fn wide_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
