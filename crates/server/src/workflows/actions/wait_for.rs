//! `wait.for`: waits for a fixed time.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::WorkflowAction;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};

pub(super) struct WaitFor;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitForInput {
    #[schemars(range(min = 1, max = 300))]
    seconds: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct WaitForOutput {
    seconds: u64,
}

impl WorkflowAction for WaitFor {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 310,
        summary: "wait",
        ..ActionSpec::new("wait.for", ActionClass::Timer, ActionRepeat::Pure)
    };
    type Input = WaitForInput;
    type Output = WaitForOutput;

    async fn perform(
        _world: &ActionServices,
        input: WaitForInput,
        call: &ActionCall,
    ) -> Result<WaitForOutput, ActionFailure> {
        let until = Instant::now() + Duration::from_secs(input.seconds);
        if until > call.deadline {
            return Err(ActionFailure::precondition("the wait is longer than the step may take"));
        }
        tokio::time::sleep_until(until.into()).await;
        Ok(WaitForOutput { seconds: input.seconds })
    }

    async fn predict(
        _world: &ActionServices,
        input: WaitForInput,
        _call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<WaitForOutput, ActionFailure> {
        Ok(WaitForOutput { seconds: input.seconds })
    }
}
