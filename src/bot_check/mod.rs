//! `botops bot check`: a conformance run against any bot, for its author and for CI.
//!
//! The run itself is in `botops_server::bots::conformance`; here are its options, what it asks on the terminal, and how its
//! report reads. Exit codes: 0 no fault, 1 faults found, 2 nobody to check, or refused.

mod options;
mod report_text;
mod run;

pub(crate) use options::BotCheckOptions;
pub(crate) use run::run;
