//! One run of a check, as its function gets it.

use std::time::Duration;

/// One run of a check: whose it is, and how much time it has.
#[derive(Debug, Clone)]
pub(crate) struct CheckRun {
    /// The component that is checked.
    pub(crate) component: String,
    /// The limit of its time, which the caller holds it to.
    pub(crate) timeout: Duration,
}
