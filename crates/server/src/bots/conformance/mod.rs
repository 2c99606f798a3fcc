//! `botops bot check`: one bot is asked as botops would ask it, and what is wrong is named.
//!
//! The same transport, the same deadlines and the same tolerant reading as those of the link: what a run calls unreadable
//! is what botops could not read. Without [`ConformanceCheck::exercise`] nothing is changed at the bot.

mod answer_form;
mod by_hand;
mod check_run;
mod command_rules;
mod config_rules;
mod config_trial;
mod event_rules;
mod exercise;
mod findings;
mod gains;
mod handler_failures;
mod hello_rules;
mod manual_place;
mod open_changes;
mod part_remedies;
mod probe;
mod read_answers;
mod report;
mod restore;
mod sdk_problems;
mod sent_command;
mod socket_rights;
mod state_rules;
mod trade_rules;

pub use check_run::{ConformanceCheck, ConformanceOptions, ConformanceUnreachable};
pub use config_rules::{SchemaComplaint, SchemaHints, SchemaReader};
pub use exercise::ExerciseOptions;
pub use findings::{ConformanceFinding, FindingWeight};
pub use gains::ConformanceGain;
pub use manual_place::MANUAL_PLACES;
pub use report::{CallStanding, CheckedBot, CheckedCall, ConformanceReport};
