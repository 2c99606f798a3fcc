//! `config.revert`: ends the trial and returns to the committed version.

use super::action::WorkflowAction;
use super::config_trial::{ConfigTrialOutput, EndTrialInput};
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use crate::configs::TransactionState;

pub(super) struct RevertConfig;

impl WorkflowAction for RevertConfig {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 15,
        needs_config: true,
        summary: "end the trial",
        ..ActionSpec::new("config.revert", ActionClass::Mutate, ActionRepeat::Keyed)
    };
    type Input = EndTrialInput;
    type Output = ConfigTrialOutput;

    async fn perform(
        world: &ActionServices,
        input: EndTrialInput,
        call: &ActionCall,
    ) -> Result<ConfigTrialOutput, ActionFailure> {
        let Some(txn) = input.find_txn(world, call) else {
            // The step was cut off before there was a trial to revert.
            return Ok(ConfigTrialOutput { txn: None, state: "none".to_owned(), version: None, etag: None });
        };
        match world.configs.cancel(&txn, call.actor.clone()).await {
            Ok(view) => Ok(ConfigTrialOutput::of(&view)),
            Err(error) => {
                ConfigTrialOutput::accept_ended(world, &txn, TransactionState::RolledBack, error).await
            }
        }
    }

    async fn predict(
        world: &ActionServices,
        input: EndTrialInput,
        _call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<ConfigTrialOutput, ActionFailure> {
        Ok(ConfigTrialOutput::predict_end(world, input, TransactionState::RolledBack))
    }
}
