//! How trading went: closed trades, pulled from the bot into the store, measured by window and symbol.
//!
//! The bot keeps the journal; this keeps a copy that outlives the bot's files and answers while the bot is away. Only
//! closed trades are here (the state has the open ones), and what the bot said of them is never corrected.

mod api;
mod breakdown;
mod config_names;
mod exit_kind;
mod history;
mod journal_cursor;
mod journal_words;
mod measure;
mod trade_api;
mod trade_grouping;
mod trade_page;
mod trade_rows;
mod trade_view;
mod window;
mod window_words;

pub use api::routes;
pub use history::PerformanceHistory;
#[cfg(any(test, fuzzing))]
pub use journal_cursor::check_cursor;
