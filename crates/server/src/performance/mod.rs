//! How trading went: closed trades, pulled from the bot into the store, measured by window and symbol.
//!
//! The bot keeps the journal; this keeps a copy that outlives the bot's files and answers while the bot is away. Only
//! closed trades are here (the state has the open ones), and what the bot said of them is never corrected.

mod api;
mod breakdown;
mod history;
mod journal_cursor;
mod measure;
mod trade_rows;
mod window;

pub use api::routes;
pub use history::PerformanceHistory;
#[cfg(any(test, fuzzing))]
pub use journal_cursor::check_cursor;
