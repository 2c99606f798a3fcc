//! What runs, what is committed, and whether the two are the same: rendered ahead, read without waiting.

mod current_config;
mod sync;
mod view;

pub(crate) use current_config::{CurrentConfig, REPORT_IN_FLIGHT};
pub use view::{CommittedConfigView, CurrentConfigView, SyncState};
