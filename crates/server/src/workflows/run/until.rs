//! Waiting for a condition: a step's output is read again and again, without acting again.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::context::{RunContext, RunHalt, StepInterrupt};
use super::facts::RunFact;
use crate::workflows::actions::{ActionFailure, StepFailureClass};
use crate::workflows::definition::{UntilCondition, WorkflowStep, all_met, evaluate_conditions};
use botops_core::durable_deadline::DurableDeadline;
use botops_core::failpoints;

/// The result of waiting for a condition.
pub(crate) enum UntilOutcome {
    /// The condition held often enough; the output of the last sample.
    Met(Value),
    /// The time is over: the last output, and why the last sample failed if it did.
    NotMet { latest: Value, failure: Option<ActionFailure> },
    /// The wait was interrupted; the output of the step's action.
    Interrupted { interrupt: StepInterrupt, first: Option<Value> },
}

/// One wait for a condition.
pub(crate) struct UntilWait<'a> {
    pub(crate) run: &'a RunContext,
    pub(crate) step: &'a WorkflowStep,
    pub(crate) until: &'a UntilCondition,
    pub(crate) ends: DurableDeadline,
    pub(crate) input: Value,
    /// The output of the step's action; `None` for a step that only reads.
    pub(crate) first: Option<Value>,
    pub(crate) key: String,
    /// How long one sample may take.
    pub(crate) limit: Duration,
}

impl UntilWait<'_> {
    /// Determines when the wait ends; the time is stored, so that it stays the same after a crash.
    pub(crate) async fn begin_wait(
        run: &mut RunContext,
        index: usize,
        step: &WorkflowStep,
        until: &UntilCondition,
    ) -> Result<DurableDeadline, RunHalt> {
        if let Some(stored) = &run.progress.steps[index].until {
            return Ok(stored.clone());
        }
        let ends = DurableDeadline::after(Duration::from_secs(until.for_s));
        let (step, until_ms, until) = (step.id.clone(), ends.wall_ms, Some(ends.clone()));
        run.record_fact(RunFact::UntilBegun { step, until_ms, until }).await?;
        Ok(ends)
    }

    /// Takes samples until the condition holds often enough or the time is over.
    pub(crate) async fn poll_until_met(self) -> UntilOutcome {
        failpoints::point("wf:until");
        let every = Duration::from_millis(self.until.every_ms);
        let mut latest = self.first.clone().unwrap_or_default();
        let mut failure = None;
        let mut good = 0;
        let mut looked = self.first.is_some();
        loop {
            let look_began = Instant::now();
            if looked {
                let met = all_met(&evaluate_conditions(&self.until.expect, &self.run.values(), &latest));
                good = if met { good + 1 } else { 0 };
                if good >= self.until.stable {
                    return UntilOutcome::Met(latest);
                }
            }
            if self.ends.left_at_most().is_zero() {
                return UntilOutcome::NotMet { latest, failure };
            }
            if looked && let Err(interrupt) = self.run.sleep_for(every).await {
                return self.end_interrupted(interrupt);
            }
            let left = self.ends.left_at_most();
            match self.poll_once(left).await {
                Err(interrupt) => return self.end_interrupted(interrupt),
                Ok(Ok(output)) => {
                    (latest, failure, looked) = (output, None, true);
                }
                // The end of the wait cut this sample short, so the ones before it decide.
                Ok(Err(cut_short))
                    if left < self.limit
                        && cut_short.class == StepFailureClass::Timeout
                        && (failure.is_some() || !latest.is_null()) =>
                {
                    return UntilOutcome::NotMet { latest, failure };
                }
                Ok(Err(failed)) => {
                    (failure, looked, good) = (Some(failed), false, 0);
                    let pause = every.saturating_sub(look_began.elapsed());
                    if let Err(interrupt) = self.run.sleep_for(pause).await {
                        return self.end_interrupted(interrupt);
                    }
                }
            }
        }
    }

    async fn poll_once(&self, left: Duration) -> Result<Result<Value, ActionFailure>, StepInterrupt> {
        let limit = self.limit.min(left);
        let call = self.run.action_call(&self.step.id, self.key.clone(), limit);
        let world = &self.run.world;
        let look = async {
            match &self.first {
                Some(first) => self.step.uses.observe(world, &self.input, first, &call).await,
                None => self.step.uses.perform(world, &self.input, &call).await,
            }
        };
        self.run.run_limited(look, limit, false).await
    }

    fn end_interrupted(self, interrupt: StepInterrupt) -> UntilOutcome {
        UntilOutcome::Interrupted { interrupt, first: self.first }
    }
}
