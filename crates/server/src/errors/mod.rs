//! The list of failures: those that events carried and those that stand in the bot's state alone, newest first.

mod api;
mod listing;
mod undated;

pub use api::routes;
pub use listing::ErrorList;

pub(crate) use listing::reported_only;
pub(crate) use undated::{ReportedError, UndatedErrors};
