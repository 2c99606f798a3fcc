//! What differs between two answers of freqtrade, as events with numbers, on disk.

mod differences;
mod journal;
mod observed_state;

pub(crate) use differences::Differences;
pub(crate) use journal::AdapterJournal;
pub(crate) use observed_state::{ObservedDay, ObservedState, OtherDay};
