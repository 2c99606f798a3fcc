//! The state as it was published last.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use botops_contract::{BotReport, EchoedConfig, Hello};
use bytes::Bytes;

/// The bot at one moment; immutable.
#[derive(Debug)]
pub(crate) struct PublishedState {
    pub hello: Hello,
    /// What freqtrade echoes of its config.
    pub echoed_config: Option<EchoedConfig>,
    etag: String,
    body: Bytes,
}

impl PublishedState {
    /// `run` names this run of the adapter: numbers of the report begin anew with each.
    pub(crate) fn new(hello: Hello, report: &BotReport, run: &str) -> Self {
        let body = serde_json::to_vec(report).expect("a report has only JSON values").into();
        let echoed_config = report.echoed_config.clone();
        Self { hello, echoed_config, etag: format!("\"{run}-{}\"", report.seq), body }
    }

    /// The entity tag of the state, with quotes.
    pub(crate) fn etag(&self) -> &str {
        &self.etag
    }

    /// The state as JSON.
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// Where the newest state is found; cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct StateCell {
    newest: Arc<ArcSwapOption<PublishedState>>,
}

impl StateCell {
    /// The newest state; `None` until freqtrade was read once.
    pub(crate) fn load(&self) -> Option<Arc<PublishedState>> {
        self.newest.load_full()
    }

    pub(crate) fn publish(&self, state: PublishedState) {
        self.newest.store(Some(Arc::new(state)));
    }
}
