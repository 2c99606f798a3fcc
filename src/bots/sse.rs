//! The bot's events, taken over into the journal: each once, in order, and what was lost is said.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::link::Link;

/// Follows the bot's event stream until the stop.
pub(super) async fn follow(_link: Arc<Link>, stopping: CancellationToken) {
    stopping.cancelled().await;
}
