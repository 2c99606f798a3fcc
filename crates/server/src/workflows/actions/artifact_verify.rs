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
    /// The schema has both as given. In a dry run neither is known yet.
    #[schemars(with = "String")]
    artifact: Option<String>,
    #[schemars(with = "String")]
    sha256: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct VerifyArtifactOutput {
    /// Whether the hash equals the expected one.
    #[serde(rename = "match")]
    matches: bool,
    secrets_found: u64,
    /// Left out of a prediction, as the lines are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    files: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    lines: Option<u64>,
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
        let name = input.artifact.ok_or_else(|| ActionFailure::precondition("no bundle is named"))?;
        let inspected =
            do_file_work("the bundle could not be read", move || artifacts.inspect_bundle(&name)).await?;
        Ok(VerifyArtifactOutput {
            matches: Some(inspected.sha256) == input.sha256,
            secrets_found: inspected.secrets,
            files: Some(inspected.files),
            lines: Some(inspected.lines),
        })
    }

    async fn predict(
        _world: &ActionServices,
        _input: VerifyArtifactInput,
        _call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<VerifyArtifactOutput, ActionFailure> {
        // What a bundle is made to be; how much is in it is not known.
        Ok(VerifyArtifactOutput { matches: true, secrets_found: 0, files: None, lines: None })
    }
}
