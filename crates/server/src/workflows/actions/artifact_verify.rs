//! `artifact.verify`: reads a bundle back and searches it for secrets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::WorkflowAction;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::file_work::do_file_work;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};

pub(super) struct VerifyArtifact;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyArtifactInput {
    artifact: String,
    sha256: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct VerifyArtifactOutput {
    /// Whether the hash equals the expected one.
    #[serde(rename = "match")]
    matches: bool,
    secrets_found: u64,
    files: u32,
    lines: u64,
}

impl WorkflowAction for VerifyArtifact {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 120,
        summary: "read a bundle back, look for secrets",
        ..ActionSpec::new("artifact.verify", ActionClass::Read, ActionRepeat::Pure)
    };
    type Input = VerifyArtifactInput;
    type Output = VerifyArtifactOutput;

    async fn perform(
        world: &ActionServices,
        input: VerifyArtifactInput,
        _call: &ActionCall,
    ) -> Result<VerifyArtifactOutput, ActionFailure> {
        let artifacts = world.artifacts.clone();
        let name = input.artifact;
        let inspected =
            do_file_work("the bundle could not be read", move || artifacts.inspect_bundle(&name)).await?;
        Ok(VerifyArtifactOutput {
            matches: inspected.sha256 == input.sha256,
            secrets_found: inspected.secrets,
            files: inspected.files,
            lines: inspected.lines,
        })
    }

    async fn predict(
        _world: &ActionServices,
        _input: VerifyArtifactInput,
        _call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<VerifyArtifactOutput, ActionFailure> {
        Ok(VerifyArtifactOutput { matches: true, secrets_found: 0, files: 0, lines: 0 })
    }
}
