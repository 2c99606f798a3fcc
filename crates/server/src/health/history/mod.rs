//! The history on disk: measurements and their rollups, changes of status, latencies, and all that a restart needs.

mod histogram;
mod objectives;
mod read;
mod write;

pub(crate) use objectives::{AvailabilityView, ObjectiveView, add_up};
pub(crate) use read::{ChartWindow, EarlierRun, HistoryReader, SeriesView, TransitionView};
pub(crate) use write::HistoryWriter;
