//! The bot at one moment, as readers of the socket see it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::account::command_answers::AnswersById;
use crate::config::document::CheckFacts;
use botops_contract::{BotReport, ConfigState};

/// One moment of the bot; it never changes.
#[derive(Debug)]
pub(crate) struct BotSnapshot {
    /// The state as the contract has it.
    pub report: BotReport,
    /// What `GET config` answers.
    pub config: ConfigState,
    /// The document in force, to compare candidates with.
    pub running: Arc<Value>,
    /// What a candidate must fit.
    pub facts: CheckFacts,
    /// The first answers to commands.
    pub answers: Arc<AnswersById>,
    body: OnceLock<Bytes>,
}

impl BotSnapshot {
    /// A snapshot of this moment.
    pub(crate) fn new(
        report: BotReport,
        config: ConfigState,
        running: Arc<Value>,
        facts: CheckFacts,
        answers: Arc<AnswersById>,
    ) -> Self {
        Self { report, config, running, facts, answers, body: OnceLock::new() }
    }

    /// The validator of the state.
    pub(crate) fn etag(&self) -> String {
        format!("\"{}-{}\"", self.report.boot_epoch, self.report.seq)
    }

    /// The state as JSON, written once however often it is read.
    pub(crate) fn body(&self) -> Bytes {
        let write = || serde_json::to_vec(&self.report).expect("a report has only JSON values").into();
        self.body.get_or_init(write).clone()
    }
}
