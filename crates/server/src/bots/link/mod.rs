//! The link to one bot: polls its state, decides whether it is there, keeps the last good report, and takes over its
//! events.

mod bot_link;
mod counters;
mod death_watch;
mod event_flood;
mod event_follower;
mod event_sequence;
#[cfg(any(test, fuzzing))]
mod fuzz_properties;
mod poll_question;
mod poller;
mod saved_state;
mod sse_parser;
mod unreadable_log;

pub(super) use bot_link::BotLink;
pub use counters::BotLinkStats;
pub(super) use event_follower::follow_events;
#[cfg(any(test, fuzzing))]
pub use fuzz_properties::check_event_stream;
pub(super) use poller::poll;
pub(super) use sse_parser::SseParser;
