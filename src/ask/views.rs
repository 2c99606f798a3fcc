//! The wire types of the answer to a question.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use botops_core::error::Problem;

use super::answer_selection::AnswerSelection;
use super::bot_standing::AskedBotView;
use super::plan::PlannedCall;

/// A call of the API that the text asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskCallView {
    /// The HTTP method, in capitals.
    #[schema(example = "GET")]
    pub(super) method: String,
    /// The path with its query, without the host.
    #[schema(example = "/api/v1/summary")]
    pub(super) path: String,
    /// The JSON body; absent when the call needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Value>,
}

impl AskCallView {
    pub(super) fn of(call: &PlannedCall) -> Self {
        Self { method: call.method.to_owned(), path: call.path.clone(), body: call.body.clone() }
    }
}

/// One possible meaning of the text, or the change that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskOptionView {
    /// Name of the intent.
    pub(super) intent: String,
    /// What the call does, or why it is offered.
    pub(super) why: String,
    /// The call that would do it; botops has not made it.
    pub(super) call: AskCallView,
    /// `call` as a command for a terminal.
    pub(super) command: String,
}

/// A word of the text that the call does not take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskUnusedView {
    /// The word, or the words that belong together.
    #[schema(example = "for 2 hours")]
    pub(super) word: String,
    /// Why it is not used.
    pub(super) why: String,
}

/// What was understood of a text, with the answer of the call that was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskView {
    /// Name of the intent that was understood; absent when the text was refused, ambiguous or not understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) intent: Option<String>,
    /// How certain the intent is, 0 to 1.
    pub(super) confidence: f64,
    /// `read` or `change`. For `change`, `call` is a dry run or a read, and `options[0]` is the change itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) effect: Option<String>,
    /// The one call that was made for the text; absent when it was refused or ambiguous. It changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<AskCallView>,
    /// The answer of `call` as REST gives it, of a list only what `selected` names; absent when the call was not made or
    /// failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Value>,
    /// By what the list in `answer` was narrowed where the call itself cannot say it, each in words; absent when all of it
    /// is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) selected: Vec<String>,
    /// What the text says and the call does not take; absent when it takes everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) not_used: Vec<AskUnusedView>,
    /// How the lists of the answer are narrowed; the server alone has it.
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) selection: Vec<AnswerSelection>,
    /// How the bot stands: beside an answer about what went wrong, and beside one of its state while it does not answer.
    /// Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bot: Option<AskedBotView>,
    /// Which profit the answer gives, and the other one beside it; absent when the answer is about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    /// Why `call` failed; absent when it succeeded or was not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<Problem>,
    /// A command for a terminal that makes the call, or the change that was asked for. botops never runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<String>,
    /// Possible meanings of the text, best first; for a change, the call that would make it. Otherwise empty.
    pub(super) options: Vec<AskOptionView>,
    /// Why nothing is done, and what is possible instead; absent unless the text was refused or not understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}
