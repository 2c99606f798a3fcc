//! The state as it was published last.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use botops_bot_server::RenderedReport;
use botops_contract::{BotReport, Hello};

/// The bot at one moment; immutable.
#[derive(Debug)]
pub(crate) struct PublishedState {
    pub hello: Arc<Hello>,
    /// The answer to `GET state`.
    pub state: Arc<RenderedReport>,
}

impl PublishedState {
    /// `run` names this run of the adapter: numbers of the report begin anew with each.
    pub(crate) fn new(hello: Hello, report: BotReport, run: &str) -> Self {
        Self { hello: Arc::new(hello), state: Arc::new(RenderedReport::new(report, run)) }
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
