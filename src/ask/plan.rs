//! The calls of the API that a text asks for, before any is made.

use std::borrow::Cow;

use serde_json::Value;

use super::answer_selection::AnswerSelection;

/// A call of the API that was not made yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlannedCall {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// Whether it needs the header `If-Match` with the config's ETag.
    pub(super) if_match: bool,
    /// What of the lists in the answer was asked for; empty for all of it.
    pub(super) select: Vec<AnswerSelection>,
}

/// One of several things that a text can mean: its intent, what it does, and its plan.
pub(super) type AskChoice = (&'static str, Cow<'static, str>, AskPlan);

/// The calls that an intent becomes for one text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AskPlan {
    /// A read, which is performed at once.
    Read(PlannedCall),
    /// A change: `preview` changes nothing and is performed, `real` is only shown.
    Change { preview: PlannedCall, real: PlannedCall },
    /// Something is missing or several things fit: each option with its intent, its title and its plan.
    Choose(Vec<AskChoice>),
    /// The text was understood, but cannot be done now; the reason.
    Impossible(&'static str),
}

pub(super) fn planned_call(
    method: &'static str,
    path: impl Into<String>,
    body: Option<Value>,
) -> PlannedCall {
    PlannedCall { method, path: path.into(), body, if_match: false, select: Vec::new() }
}

/// The plan of a single `GET`.
pub(super) fn read_call(path: impl Into<String>) -> AskPlan {
    AskPlan::Read(planned_call("GET", path, None))
}

/// The plan of a `GET` of whose answer a part was asked for.
pub(super) fn read_selected(path: impl Into<String>, select: AnswerSelection) -> AskPlan {
    let select = Some(select).filter(|select| !select.told().is_empty()).into_iter().collect();
    AskPlan::Read(PlannedCall { select, ..planned_call("GET", path, None) })
}
