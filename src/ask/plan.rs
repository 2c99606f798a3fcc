//! What a text comes to: calls of the API, not yet made.

use serde_json::Value;

/// A call of the API.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlannedCall {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// Whether it needs the config's validator.
    pub(super) if_match: bool,
}

/// What an intent comes to for one text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AskPlan {
    /// A read: performed at once.
    Read(PlannedCall),
    /// A change: `preview` is harmless, `real` is shown and never performed.
    Change { preview: PlannedCall, real: PlannedCall },
    /// Something is missing or several things fit: one intent and text each.
    Choose(Vec<(&'static str, &'static str, AskPlan)>),
    /// It makes sense and cannot be done now.
    Impossible(&'static str),
}

pub(super) fn planned_call(
    method: &'static str,
    path: impl Into<String>,
    body: Option<Value>,
) -> PlannedCall {
    PlannedCall { method, path: path.into(), body, if_match: false }
}

/// A read, as the whole plan.
pub(super) fn read_call(path: impl Into<String>) -> AskPlan {
    AskPlan::Read(planned_call("GET", path, None))
}
