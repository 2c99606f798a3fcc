//! One step of a run: its attempts, and its output against the expectations.
//!
//! The intent is stored, the action performed, the outcome stored.

use std::time::Duration;

use serde_json::{Value, json};

use super::context::{RunContext, RunHalt, StepInterrupt};
use super::facts::RunFact;
use super::failure::{describe_unmet, journal_input, own_run_error, refusal_of, to_run_error};
use super::missing_needs::{code_of_missing, describe_missing_needs, find_missing_needs};
use super::progress::StepProgress;
use super::retry::RetrySchedule;
use super::state::{WorkflowRunError, WorkflowStepState};
use super::until::{UntilOutcome, UntilWait};
use crate::workflows::actions::{ActionClass, ActionFailure, StepFailureClass};
use crate::workflows::definition::{
    UntilCondition, WorkflowCriterion, WorkflowStep, all_met, evaluate_conditions,
};
use botops_core::durable_deadline::DurableDeadline;
use botops_core::error::Code;
use botops_core::failpoints;

/// How large the output of a step may be, in bytes of JSON.
const OUTPUT_MAX: usize = 64 * 1024;

/// A step that begins or continues.
pub(crate) struct StepRun<'a> {
    pub(crate) run: &'a mut RunContext,
    pub(crate) index: usize,
    pub(crate) step: &'a WorkflowStep,
}

impl StepRun<'_> {
    /// Makes one attempt, with the wait before it and the wait for its condition.
    pub(crate) async fn run_step(mut self) -> Result<(), RunHalt> {
        if let Some(why) = self.recovery_refusal() {
            let failure = own_run_error(StepFailureClass::Precondition, Code::RecoveryRefused, why);
            return self.finish_step(WorkflowStepState::Failed, None, Vec::new(), Some(failure)).await;
        }
        let is_new = self.run.progress.steps[self.index].attempts == 0;
        if is_new && !self.step.when.is_empty() {
            let criteria = evaluate_conditions(&self.step.when, &self.run.values(), &Value::Null);
            if !all_met(&criteria) {
                return self.finish_step(WorkflowStepState::Skipped, None, criteria, None).await;
            }
        }
        if let Some(failure) = self.missing_needs() {
            return self.finish_step(WorkflowStepState::Failed, None, Vec::new(), Some(failure)).await;
        }
        if let Some(due) = &self.run.progress.steps[self.index].retry {
            failpoints::point("wf:retry_wait");
            if let Err(interrupt) = self.run.sleep_for(due.left_at_most()).await {
                return self.end_interrupted(interrupt, None).await;
            }
        }
        self.begin_attempt().await
    }

    async fn begin_attempt(mut self) -> Result<(), RunHalt> {
        let spec = self.step.uses.spec();
        let input = self.run.values().resolve_input(&self.step.with);
        let key = self.effect_key();
        let attempt = self.run.progress.steps[self.index].attempts + 1;
        failpoints::point("wf:step_starting");
        let started = RunFact::StepStarted {
            step: self.step.id.clone(),
            attempt,
            action: spec.name.to_owned(),
            revision: spec.revision,
            key: key.clone(),
            input: journal_input(&input),
        };
        self.run.record_fact(started).await?;
        failpoints::point("wf:step_started");
        let is_pivot = self.run.workflow.pivot_index() == Some(self.index);
        if attempt == 1 && self.run.progress.cancel_by.is_some() && !is_pivot {
            return self.end_interrupted(StepInterrupt::Cancelled, None).await;
        }
        if let Some(until) = self.step.until.as_ref().filter(|_| spec.class == ActionClass::Read) {
            // A read with `until` is repeated anyway, so it needs no first attempt.
            return self.wait_until(until, input, None).await;
        }
        let limit = self.attempt_limit();
        let call = self.run.action_call(&self.step.id, key, limit);
        let work = self.step.uses.perform(&self.run.world, &input, &call);
        let acted = self.run.run_limited(work, limit, spec.changes()).await;
        failpoints::point("wf:acted");
        match acted {
            Err(interrupt) => self.end_interrupted(interrupt, None).await,
            Ok(Ok(output)) => match &self.step.until {
                Some(until) => self.wait_until(until, input, Some(output)).await,
                None => self.finish_with_output(output).await,
            },
            Ok(Err(failure)) => self.end_attempt(&failure).await,
        }
    }

    /// The idempotency key: the same for every repetition of the step's effect.
    fn effect_key(&self) -> String {
        format!("{}/{}", self.run.op.op_id, self.step.id)
    }

    fn attempt_limit(&self) -> Duration {
        Duration::from_secs(self.step.timeout_s.unwrap_or(self.step.uses.spec().timeout_s))
    }

    /// Why a run of automatic recovery must not change the bot (any further); `None` when it may.
    ///
    /// It would restart a bot that is not proven dead, or that has come back. Past the pivot the bot is stopping
    /// already.
    fn recovery_refusal(&self) -> Option<String> {
        let run = &self.run;
        let is_held = run.op.actor.is_recovery() && run.workflow.restarts_bot() && !run.is_past_pivot();
        let restart = is_held.then(|| run.world.bots.snapshot().unasked_restart.clone())?;
        (!restart.is_allowed()).then(|| restart.sentence.clone())
    }

    /// Before the run's first effect on the bot: why it could not come to its end, from here on; `None` when nothing is
    /// known to be missing. The bot may offer less than when the run was admitted, and more is known of it by now.
    fn missing_needs(&self) -> Option<WorkflowRunError> {
        let run = &self.run;
        let has_begun = |(step, of_step): (&WorkflowStep, &StepProgress)| {
            step.uses.spec().class == ActionClass::Mutate && of_step.attempts > 0
        };
        let mut before = run.workflow.definition.steps.iter().zip(&run.progress.steps).take(self.index + 1);
        if self.step.uses.spec().class != ActionClass::Mutate || before.any(has_begun) {
            return None;
        }
        let mut values = run.values();
        let skipped = run.progress.steps.iter().filter(|step| step.state == WorkflowStepState::Skipped);
        values.outputs.extend(skipped.map(|step| (step.id.clone(), Value::Null)));
        let missing = find_missing_needs(&run.workflow, self.index, values, &run.world);
        let (code, id) = (code_of_missing(&missing), &run.op.name);
        (!missing.is_empty()).then(|| {
            own_run_error(StepFailureClass::Precondition, code, describe_missing_needs(id, &missing))
        })
    }

    /// Records a failed attempt: another one follows, or the step has failed.
    async fn end_attempt(&mut self, failure: &ActionFailure) -> Result<(), RunHalt> {
        let progress = &self.run.progress.steps[self.index];
        let (failures, attempt) = (progress.failures + 1, progress.attempts);
        let in_doubt = (failure.in_doubt && self.step.uses.spec().changes()) || progress.in_doubt;
        let schedule = RetrySchedule::new(self.step.uses, self.step.retry.as_ref(), false);
        let error = to_run_error(failure);
        let stops = self.run.progress.cancel_by.is_some() || self.run.time_left().is_zero();
        if let Some(wait) = schedule.next_wait(failures, failure.class).filter(|_| !stops) {
            let (step, due) = (self.step.id.clone(), DurableDeadline::after(wait));
            let (retry_at_ms, retry) = (due.wall_ms, Some(due));
            let failed = RunFact::AttemptFailed { step, attempt, error, in_doubt, retry_at_ms, retry };
            return self.run.record_fact(failed).await;
        }
        let state = if in_doubt { WorkflowStepState::Unknown } else { WorkflowStepState::Failed };
        self.finish_step(state, None, Vec::new(), Some(error)).await
    }

    async fn wait_until(
        &mut self,
        until: &UntilCondition,
        input: Value,
        first: Option<Value>,
    ) -> Result<(), RunHalt> {
        let ends = UntilWait::begin_wait(self.run, self.index, self.step, until).await?;
        let (key, limit) = (self.effect_key(), self.attempt_limit());
        let wait = UntilWait { run: self.run, step: self.step, until, ends, input, first, key, limit };
        match wait.poll_until_met().await {
            UntilOutcome::Met(output) => self.finish_with_output(output).await,
            UntilOutcome::Interrupted { interrupt, first } => self.end_interrupted(interrupt, first).await,
            UntilOutcome::NotMet { latest, failure: Some(failure) } => {
                let output = (!latest.is_null()).then_some(latest);
                let error = Some(to_run_error(&failure));
                self.finish_step(WorkflowStepState::Failed, output, Vec::new(), error).await
            }
            UntilOutcome::NotMet { latest, failure: None } => {
                let criteria = evaluate_conditions(&until.expect, &self.run.values(), &latest);
                let why = describe_unmet(&criteria, &latest, &format!("within {} s", until.for_s));
                self.finish_unexpected(latest, criteria, why).await
            }
        }
    }

    /// Checks the output against the expectations and ends the step.
    async fn finish_with_output(&mut self, output: Value) -> Result<(), RunHalt> {
        if output.to_string().len() > OUTPUT_MAX {
            let message = format!("the output is larger than {} KiB", OUTPUT_MAX / 1024);
            let failure = own_run_error(StepFailureClass::Invalid, Code::WorkflowStepFailed, message);
            let note = Some(json!({"omitted": "too large"}));
            return self.finish_step(WorkflowStepState::Failed, note, Vec::new(), Some(failure)).await;
        }
        let criteria = evaluate_conditions(&self.step.expect, &self.run.values(), &output);
        if all_met(&criteria) {
            return self.finish_step(WorkflowStepState::Succeeded, Some(output), criteria, None).await;
        }
        // A plan that is refused says why, in words, and nothing was done yet: the run is refused, and has not failed.
        if let Some(why) = refusal_of(&output) {
            let failure = own_run_error(StepFailureClass::Precondition, Code::WorkflowStepFailed, why);
            return self.finish_step(WorkflowStepState::Failed, Some(output), criteria, Some(failure)).await;
        }
        let why = describe_unmet(&criteria, &output, "after the step");
        self.finish_unexpected(output, criteria, why).await
    }

    async fn finish_unexpected(
        &mut self,
        output: Value,
        criteria: Vec<WorkflowCriterion>,
        why: String,
    ) -> Result<(), RunHalt> {
        let failure = own_run_error(StepFailureClass::Expectation, Code::WorkflowStepFailed, why);
        self.finish_step(WorkflowStepState::Failed, Some(output), criteria, Some(failure)).await
    }

    /// Ends a step that was interrupted before its action could have (more) effect. Its output, if any, is kept.
    async fn end_interrupted(
        &mut self,
        interrupt: StepInterrupt,
        output: Option<Value>,
    ) -> Result<(), RunHalt> {
        let (class, message) = match interrupt {
            StepInterrupt::Stopping => return Err(RunHalt::Stopping),
            StepInterrupt::Cancelled => (StepFailureClass::Precondition, "the run was cancelled"),
            StepInterrupt::Deadline => (StepFailureClass::Timeout, "the run's time is over"),
        };
        let failure = own_run_error(class, Code::WorkflowStepFailed, message);
        let in_doubt = self.run.progress.steps[self.index].in_doubt;
        let state = if in_doubt { WorkflowStepState::Unknown } else { WorkflowStepState::Failed };
        self.finish_step(state, output, Vec::new(), Some(failure)).await
    }

    async fn finish_step(
        &mut self,
        state: WorkflowStepState,
        output: Option<Value>,
        criteria: Vec<WorkflowCriterion>,
        error: Option<WorkflowRunError>,
    ) -> Result<(), RunHalt> {
        let step = self.step.id.clone();
        self.run.record_fact(RunFact::StepFinished { step, state, output, criteria, error }).await?;
        failpoints::point("wf:step_finished");
        Ok(())
    }
}
