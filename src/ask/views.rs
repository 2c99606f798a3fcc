//! The answer to a question, as it goes over the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use botops_core::error::Problem;

use super::plan::PlannedCall;

/// A call of the API that the text comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskCallView {
    /// The HTTP method.
    #[schema(example = "GET")]
    pub(super) method: String,
    /// The path with its query.
    #[schema(example = "/api/v1/summary")]
    pub(super) path: String,
    /// The body, when one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Value>,
}

impl AskCallView {
    pub(super) fn of(call: &PlannedCall) -> Self {
        Self { method: call.method.to_owned(), path: call.path.clone(), body: call.body.clone() }
    }
}

/// One thing the text may mean, or the change that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskOptionView {
    /// What it would be.
    pub(super) intent: String,
    /// Why it is offered, or what it does.
    pub(super) why: String,
    /// The call that does it.
    pub(super) call: AskCallView,
    /// The same as a command for a terminal.
    pub(super) command: String,
}

/// What a text came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskView {
    /// What was understood; absent when refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) intent: Option<String>,
    /// How certain that is, 0 to 1.
    pub(super) confidence: f64,
    /// `read`, or `change`: then `call` is a dry run or a look, and `options[0]` is the change itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) effect: Option<String>,
    /// The one call; absent when refused or ambiguous. Making it changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<AskCallView>,
    /// The answer of `call`, exactly as REST gives it; absent when it was not made or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Value>,
    /// Why `call` failed, when it was made and failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<Problem>,
    /// The command that makes the call, or the change that was asked for. Never run by botops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<String>,
    /// What the text may mean, best first; for a change, the call that would make it.
    pub(super) options: Vec<AskOptionView>,
    /// Why nothing is done, and what is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}
