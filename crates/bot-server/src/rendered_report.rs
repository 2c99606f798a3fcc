//! A state as it was published: rendered once, whoever asks and however many.

use std::sync::OnceLock;

use botops_contract::BotReport;
use bytes::Bytes;

/// The bot at one moment; immutable.
#[derive(Debug)]
pub struct RenderedReport {
    report: BotReport,
    etag: String,
    body: OnceLock<Bytes>,
}

impl RenderedReport {
    /// `run` names what the report's `seq` counts within: one start of the process that publishes it.
    pub fn new(report: BotReport, run: &str) -> Self {
        let etag = format!("\"{run}-{}\"", report.seq);
        Self { report, etag, body: OnceLock::new() }
    }

    /// What was published.
    pub fn report(&self) -> &BotReport {
        &self.report
    }

    /// The entity tag of the state, with quotes.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// The state as JSON: rendered at the first read, by its reader, and shared by all further ones.
    pub fn body(&self) -> Bytes {
        let write = || serde_json::to_vec(&self.report).expect("a report has only JSON values").into();
        self.body.get_or_init(write).clone()
    }
}
