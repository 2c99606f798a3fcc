//! `note.raise`: publishes an event in the journal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::WorkflowAction;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use crate::events::NewEvent;
use botops_contract::{EventKind, Severity};

pub(super) struct RaiseNote;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RaiseNoteInput {
    /// A short code that the author of the workflow chooses.
    #[schemars(regex(pattern = r"^[A-Z][A-Z0-9_]{2,40}$"))]
    code: String,
    #[schemars(extend("enum" = ["low", "medium", "high", "critical"]))]
    #[schemars(with = "String")]
    severity: Severity,
    #[schemars(length(max = 280))]
    message: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct RaiseNoteOutput {
    /// The event's sequence number in the journal; `null` in a dry run.
    seq: Option<u64>,
}

impl WorkflowAction for RaiseNote {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 5,
        summary: "put an event into the journal",
        ..ActionSpec::new("note.raise", ActionClass::Event, ActionRepeat::Keyed)
    };
    type Input = RaiseNoteInput;
    type Output = RaiseNoteOutput;

    async fn perform(
        world: &ActionServices,
        input: RaiseNoteInput,
        call: &ActionCall,
    ) -> Result<RaiseNoteOutput, ActionFailure> {
        let message = botops_core::text::clean(&input.message, 280);
        let data = json!({"topic": "workflow.note", "code": input.code, "run_id": call.run, "workflow_id": call.workflow});
        let event = NewEvent::own(EventKind::Workflow, input.severity, message, data);
        Ok(RaiseNoteOutput { seq: Some(world.events.publish(event)) })
    }

    async fn predict(
        _world: &ActionServices,
        _input: RaiseNoteInput,
        _call: &ActionCall,
        _assumed: &mut AssumedChanges,
    ) -> Result<RaiseNoteOutput, ActionFailure> {
        Ok(RaiseNoteOutput { seq: None })
    }
}
