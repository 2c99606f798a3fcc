//! What can be asked for: the rules, and the calls they come to.

mod conditions;
mod config_calls;
mod control_calls;
mod health_calls;
mod read_calls;
mod rule;
mod rules;
mod workflow_calls;

pub(crate) use rule::IntentRule;
pub(crate) use rules::RULES;
