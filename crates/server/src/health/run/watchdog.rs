//! Notifies a watchdog on another host that health makes progress.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::health::inner::HealthInner;

/// How often the watchdog's address is requested.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// Requests an address once a minute while scheduler and writer make progress.
pub(crate) async fn ask_watchdog(inner: Arc<HealthInner>, url: reqwest::Url, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
        if !inner.makes_progress() {
            tracing::error!("health does not move on: the watchdog is not told");
            continue;
        }
        let asked = inner.targets.own_http.get(url.clone()).timeout(Duration::from_secs(10)).send().await;
        if asked.is_err() {
            tracing::warn!("the watchdog's address cannot be reached");
        }
    }
}
