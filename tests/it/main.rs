//! Tests through the public surface, with real processes and real sockets; one module for each feature.
#![allow(clippy::allow_attributes, reason = "what is unused in the kit changes with the features")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    clippy::type_complexity,
    reason = "tests are written to be read; what they cut and cast they made themselves"
)]

mod architecture;
mod argument_words;
mod ask;
mod bad_days;
mod bad_store;
mod bot_check;
mod bot_limits;
mod bot_on_a_port;
mod bots;
mod bounds;
mod clock_steps;
mod closure;
mod configs;
mod contract;
mod contract_document;
mod contradictions;
mod control;
mod document;
mod document_short;
mod documents;
mod effects;
mod errors;
mod event_pages;
mod files;
mod first_calls;
mod freqtrade;
mod freshness;
mod front_door;
mod health;
mod health_limits;
mod health_notices;
mod health_recovery;
mod health_trading;
mod health_waits;
mod idempotency;
mod incidents;
#[allow(dead_code, reason = "each feature uses its own part of the kit")]
mod kit;
mod late_endings;
mod left_to_person;
mod mcp;
mod mcp_arguments;
mod older_data;
mod older_document;
mod one_number;
mod operators_commands;
mod overview;
mod paperbot;
mod paperbot_events;
mod paperbot_reports;
mod performance;
mod plain_bodies;
mod refusals;
mod rust_sdk;
mod secrets;
mod session;
mod signals;
mod start;
mod stream;
mod summary_reasons;
mod symbols;
mod trades;
mod two_processes;
mod unreadable;
mod unreadable_bot;
mod unreadable_parts;
mod unreadable_storm;
mod unreadable_trades;
mod walks;
mod walks_of_incidents;
mod walks_of_records;
mod workflows;
mod zoo;
