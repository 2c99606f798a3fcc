//! Failures and inputs as the journal keeps them: readable, bounded, without secrets.

use serde_json::{Value, json};

use super::actions::Failure;
use super::definition::FailureClass;
use super::journal::RunError;
use super::values::Criterion;
use botops_core::error::Code;

/// A failure as it is kept.
pub(super) fn kept(failure: &Failure) -> RunError {
    let row = Code::ALL.iter().map(|code| code.row()).find(|row| row.code == failure.code);
    RunError {
        class: failure.class,
        error_code: failure.code.to_owned(),
        message: failure.message.clone(),
        remediation: row.map(|row| row.remediation.to_owned()).unwrap_or_default(),
    }
}

/// A failure of the engine's own.
pub(super) fn error(class: FailureClass, code: Code, message: impl Into<String>) -> RunError {
    kept(&Failure::new(class, code, message))
}

/// The same, as something a person has to look at.
pub(super) fn attention(error: &RunError) -> RunError {
    let row = Code::WorkflowNeedsAttention.row();
    RunError { error_code: row.code.to_owned(), remediation: row.remediation.to_owned(), ..error.clone() }
}

/// What was expected and what was there, in one sentence.
pub(super) fn unmet(criteria: &[Criterion], when: &str) -> String {
    let missed = criteria.iter().filter(|one| one.hard && !one.met).map(|one| {
        let is = serde_json::to_value(one.is)
            .ok()
            .and_then(|is| is.as_str().map(str::to_owned))
            .unwrap_or_default();
        format!("{} {is} {} expected, {} found", one.that, one.expected, one.actual)
    });
    botops_core::text::clean(&format!("{when}: {}", missed.collect::<Vec<_>>().join("; ")), 400)
}

/// An input as the journal keeps it.
pub(super) fn shown(input: &Value) -> Value {
    let mut shown = input.clone();
    botops_core::redact::json(&mut shown);
    if shown.to_string().len() > 8 * 1024 { json!({"omitted": "too large"}) } else { shown }
}
