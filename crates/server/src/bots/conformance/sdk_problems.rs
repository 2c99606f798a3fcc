//! What an SDK says of itself in `recent_errors` of the state: the bot gave it something that it could not tell as it was.
//!
//! In the answers nothing else shows it: they are right, and lack what was wrong.

use serde_json::Value;

use super::findings::{ConformanceFinding, FindingWeight};
use super::handler_failures::raised_in;
use botops_contract::{BotReport, SemanticError};
use botops_core::redact;

const CALL: &str = "GET state";

/// What the codes of an SDK begin with.
const PREFIX: &str = "SDK_";

/// The rules of the kinds of problem that are the bot's own; every other one is [`OTHER`].
const RULES: [(&str, &str); 9] = [
    ("SDK_BAD_VALUE", "sdk_bad_value"),
    ("SDK_NAIVE_TIME", "sdk_naive_time"),
    ("SDK_UNKNOWN_FIELD", "sdk_unknown_field"),
    ("SDK_TOO_LARGE", "sdk_too_large"),
    ("SDK_NO_KEY", "sdk_no_key"),
    ("SDK_NOT_OPEN", "sdk_not_open"),
    ("SDK_DROPPED", "sdk_dropped"),
    ("SDK_LEFT_OUT", "sdk_left_out"),
    ("SDK_HANDLER_FAILED", "sdk_handler_failed"),
];

/// What the schema itself shows, and is told by its place in there.
const FOUND_IN_THE_SCHEMA: &str = "SDK_UNKNOWN_KEYWORD";

const OTHER: &str = "sdk_problem";

/// A finding for each problem that an SDK told.
pub(super) fn check_sdk_problems(report: &BotReport) -> Vec<ConformanceFinding> {
    let errors = report.error_list().iter().enumerate();
    let told = errors
        .filter(|(_, error)| error.error_code.starts_with(PREFIX) && error.error_code != FOUND_IN_THE_SCHEMA);
    told.map(|(index, error)| finding_of(index, error)).collect()
}

fn finding_of(index: usize, error: &SemanticError) -> ConformanceFinding {
    let rule = RULES.iter().find(|(code, _)| *code == error.error_code).map_or(OTHER, |(_, rule)| *rule);
    // The SDK names the field; another one may not, and then its place in the list is all there is.
    let pointer = match error.context.get("where").and_then(Value::as_str) {
        Some(field) => format!("/{}", field.replace('.', "/")),
        None => format!("/recent_errors/{index}"),
    };
    let remedy = match (error.impact.as_str(), error.remediation.as_str()) {
        ("", "") => "The SDK tells that of the bot: look at the call that gave it.".to_owned(),
        (impact, "") => format!("The SDK tells that of the bot; {impact}."),
        (impact, remedy) => format!("The SDK tells that of the bot; {impact}. {remedy}"),
    };
    // What a handler raised is a fault of the bot, whichever verb it was; the other problems lose a value.
    let is_raised = rule == "sdk_handler_failed" && raised_in(&error.message).is_some();
    let weight = if is_raised { FindingWeight::Fault } else { FindingWeight::Warning };
    ConformanceFinding::new(weight, rule, CALL, &remedy)
        .at(&pointer)
        .got(&redact::line(&format!("{}: {}", error.error_code, error.message)))
}
