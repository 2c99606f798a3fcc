//! Runs the file work of actions on threads for blocking work.

use super::failure::{ActionFailure, StepFailureClass};
use botops_core::error::Code;

/// Runs `work` on a thread for blocking work; `what` begins the message of a failure.
pub(super) async fn do_file_work<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ActionFailure> {
    let joined = tokio::task::spawn_blocking(work).await;
    let result = joined.map_err(|_| {
        ActionFailure::new(StepFailureClass::Unknown, Code::Internal, "the file work panicked")
    })?;
    result.map_err(|error| ActionFailure::io(what, &error))
}
