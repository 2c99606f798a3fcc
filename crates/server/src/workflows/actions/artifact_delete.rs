//! `artifact.delete`: deletes this run's bundle.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::WorkflowAction;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::file_work::do_file_work;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};

pub(super) struct DeleteArtifact;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteArtifactInput {
    /// The bundle's name. All bundles of the run are deleted when it is absent, as after a step that was cut off.
    #[serde(default)]
    artifact: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct DeleteArtifactOutput {
    deleted: bool,
}

impl WorkflowAction for DeleteArtifact {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 15,
        summary: "delete this run's bundle",
        ..ActionSpec::new("artifact.delete", ActionClass::LocalWrite, ActionRepeat::Keyed)
    };
    type Input = DeleteArtifactInput;
    type Output = DeleteArtifactOutput;

    async fn perform(
        world: &ActionServices,
        input: DeleteArtifactInput,
        call: &ActionCall,
    ) -> Result<DeleteArtifactOutput, ActionFailure> {
        let of_this_run = |name: &String| name.starts_with(&call.run);
        if input.artifact.as_ref().is_some_and(|name| !of_this_run(name)) {
            return Err(ActionFailure::precondition("the artifact belongs to another run"));
        }
        let name = input.artifact.unwrap_or_else(|| format!("{}-{}", call.run, call.step));
        let artifacts = world.artifacts.clone();
        let deleted =
            do_file_work("the bundle could not be deleted", move || artifacts.delete_artifact(&name)).await?;
        Ok(DeleteArtifactOutput { deleted })
    }

    async fn predict(
        _world: &ActionServices,
        _input: DeleteArtifactInput,
        _call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<DeleteArtifactOutput, ActionFailure> {
        Ok(DeleteArtifactOutput { deleted: true })
    }
}
