//! Reads what a bot says with tolerance, part by part.
//!
//! A whole answer is read at once when everything in it is right. Otherwise each part is read by itself: one that
//! cannot be read is left out and named, a word that is not known is replaced by the word for that and kept beside it,
//! and the rest counts.

mod allowed_words;
mod harmless_json;
mod json_text;
#[cfg(test)]
mod tests;
mod tolerant;
mod trade_page;
mod unreadable;

pub(super) use allowed_words::allowed_words;
pub(super) use harmless_json::harmless_json;
#[cfg(any(test, fuzzing))]
pub(super) use json_text::{PathStep, span_of, to_json_text};
pub(super) use tolerant::{MOST_NAMED, TolerantAnswer, UnreadableAnswer, read_parts, read_whole};
pub use trade_page::TradeJournalPage;
pub(super) use trade_page::read_trade_page;
pub use unreadable::UnreadablePart;
