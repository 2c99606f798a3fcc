//! Plain language: turns an English text into exactly one operation, offline and deterministically.
//!
//! What must never be done is refused first (`refusals`). Then the text is parsed (`parsed_text`, with `vocabulary`
//! and `slots`) and every rule is scored (`intents`, `scoring`). A read is performed at once, through the same router
//! and with the scopes of the caller's key. A change is never made: its dry run is performed where the key allows it,
//! and the command that would make it is shown. There is no language model, no learning, and no state between
//! questions.

mod answer_selection;
mod answer_sentences;
mod api;
mod bot_standing;
mod clauses;
mod client;
mod concept;
mod context;
mod intents;
mod list_file;
mod moods;
mod not_used;
mod parsed_text;
mod plan;
mod read_sentences;
mod refusals;
mod scoring;
mod screen;
mod service;
mod shell_command;
mod slots;
mod spelling;
mod spoken;
#[cfg(test)]
mod tests;
mod understanding;
mod units;
mod views;
mod vocabulary;
mod word;
mod word_lists;

pub(crate) use api::routes;
pub(crate) use client::{AskOptions, run_client};
pub(crate) use service::AskService;
