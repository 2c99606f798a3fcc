//! Failures and inputs in the form in which the journal keeps them: readable, bounded, without secrets.

use serde_json::{Value, json};

use super::state::WorkflowRunError;
use crate::workflows::actions::{ActionFailure, StepFailureClass};
use crate::workflows::definition::WorkflowCriterion;
use botops_core::error::Code;

/// How much of the reason of a refused plan is kept in an error, in characters.
pub(crate) const REASON_MAX: usize = 2_000;

/// Why what was planned cannot be done, as an action says in its output; `None` for any other output.
pub(crate) fn refusal_of(output: &Value) -> Option<String> {
    output["blocked_by"].as_str().map(|why| botops_core::text::clean(why, REASON_MAX))
}

/// What an action that only looks says of what is not well, in its output; `None` for any other output.
pub(crate) fn what_is_not_well(output: &Value) -> Option<String> {
    output["not_ok"].as_str().map(|why| botops_core::text::clean(why, REASON_MAX))
}

/// A failure of an action, for the journal.
pub(crate) fn to_run_error(failure: &ActionFailure) -> WorkflowRunError {
    let row = Code::named(failure.code).map(Code::row);
    WorkflowRunError {
        class: failure.class,
        error_code: failure.code.to_owned(),
        message: failure.message.clone(),
        remediation: row.map(|row| row.remediation.to_owned()).unwrap_or_default(),
    }
}

/// A failure that the run loop found, not an action.
pub(crate) fn own_run_error(
    class: StepFailureClass,
    code: Code,
    message: impl Into<String>,
) -> WorkflowRunError {
    to_run_error(&ActionFailure::new(class, code, message))
}

/// The same failure, with the code that asks for a person.
pub(crate) fn needs_attention(error: &WorkflowRunError) -> WorkflowRunError {
    let row = Code::WorkflowNeedsAttention.row();
    WorkflowRunError {
        error_code: row.code.to_owned(),
        remediation: row.remediation.to_owned(),
        ..error.clone()
    }
}

/// The unmet criteria in one sentence: expected and actual values, and what an action says in its output of why.
pub(crate) fn describe_unmet(criteria: &[WorkflowCriterion], output: &Value, when: &str) -> String {
    let missed = criteria.iter().filter(|one| one.hard && !one.met).map(|one| {
        let is = serde_json::to_value(one.is)
            .ok()
            .and_then(|is| is.as_str().map(str::to_owned))
            .unwrap_or_default();
        format!("{} {is} {} expected, {} found", one.that, one.expected, one.actual)
    });
    let why = what_is_not_well(output).map(|why| format!(" ({why})")).unwrap_or_default();
    botops_core::text::clean(&format!("{when}: {}{why}", missed.collect::<Vec<_>>().join("; ")), 600)
}

/// An input for the journal: bounded and without secrets.
pub(crate) fn journal_input(input: &Value) -> Value {
    let mut shown = input.clone();
    botops_core::redact::json(&mut shown);
    if shown.to_string().len() > 8 * 1024 { json!({"omitted": "too large"}) } else { shown }
}
