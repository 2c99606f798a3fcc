//! Small actions: a note in the journal, and a wait.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Call, Failure, World};
use crate::events::NewEvent;
use botops_contract::{EventKind, Severity};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// A short code of the author's choice.
    #[schemars(regex(pattern = r"^[A-Z][A-Z0-9_]{2,40}$"))]
    code: String,
    #[schemars(extend("enum" = ["low", "medium", "high", "critical"]))]
    #[schemars(with = "String")]
    severity: Severity,
    #[schemars(length(max = 280))]
    message: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Raised {
    /// The event's number in the journal.
    pub seq: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    #[schemars(range(min = 1, max = 300))]
    seconds: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Waited {
    pub seconds: u64,
}

pub(super) fn raise(world: &World, input: &Note, call: &Call) -> Raised {
    let message = botops_core::text::clean(&input.message, 280);
    let data = json!({"topic": "workflow.note", "code": input.code, "run_id": call.run, "workflow_id": call.workflow});
    let event = NewEvent::own(EventKind::Workflow, input.severity, message, data);
    Raised { seq: Some(world.events.publish(event)) }
}

pub(super) async fn wait(input: &Wait, call: &Call) -> Result<Waited, Failure> {
    let until = Instant::now() + Duration::from_secs(input.seconds);
    if until > call.deadline {
        return Err(Failure::precondition("the wait is longer than the step may take"));
    }
    tokio::time::sleep_until(until.into()).await;
    Ok(Waited { seconds: input.seconds })
}

pub(super) fn predict_wait(input: &Wait) -> Waited {
    Waited { seconds: input.seconds }
}
