//! `config.confirm`: commits the version that the trial runs.

use super::action::WorkflowAction;
use super::config_trial::{ConfigTrialOutput, EndTrialInput};
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use crate::configs::TransactionState;

pub(crate) struct ConfirmConfig;

impl WorkflowAction for ConfirmConfig {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 15,
        needs_config: true,
        summary: "keep what the trial runs",
        ..ActionSpec::new("config.confirm", ActionClass::Mutate, ActionRepeat::Keyed)
    };
    type Input = EndTrialInput;
    type Output = ConfigTrialOutput;

    async fn perform(
        world: &ActionServices,
        input: EndTrialInput,
        call: &ActionCall,
    ) -> Result<ConfigTrialOutput, ActionFailure> {
        let Some(txn) = input.find_txn(world, call) else {
            return Err(ActionFailure::precondition("this run has no trial to confirm"));
        };
        match world.configs.confirm(&txn, call.actor.clone()).await {
            Ok(view) => Ok(ConfigTrialOutput::of(&view)),
            Err(error) => {
                ConfigTrialOutput::accept_ended(world, &txn, TransactionState::Committed, error).await
            }
        }
    }

    async fn predict(
        world: &ActionServices,
        input: EndTrialInput,
        _call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<ConfigTrialOutput, ActionFailure> {
        Ok(ConfigTrialOutput::predict_end(world, input, TransactionState::Committed))
    }
}
