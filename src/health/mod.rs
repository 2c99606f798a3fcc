//! Health: whether this process lives and is ready.

pub(crate) mod aggregate;
pub(crate) mod alerts;
mod api;
mod histogram;
pub(crate) mod slo;
pub(crate) mod ssrf;
#[cfg(test)]
mod model;
pub(crate) mod recovery;
pub(crate) mod silence;
pub(crate) mod status;

use std::sync::Arc;

use crate::store::Store;
use crate::telemetry::Metrics;

pub use api::routes;

/// Handle to the health of botops; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    metrics: Metrics,
}

impl Health {
    /// Watches the store and renders the metrics.
    pub fn new(store: Store, metrics: Metrics) -> Self {
        Self { shared: Arc::new(Shared { store, metrics }) }
    }

    /// Whether changes can be recorded.
    pub fn store_writable(&self) -> bool {
        self.shared.store.writable()
    }
}
