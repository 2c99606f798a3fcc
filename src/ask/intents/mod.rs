//! The intents that are understood: their rules, and the calls they become.

mod conditions;
mod config_calls;
mod control_calls;
mod health_calls;
mod read_calls;
mod record_calls;
mod rule;
mod rules;
mod workflow_calls;

pub(crate) use rule::IntentRule;
pub(crate) use rules::RULES;
