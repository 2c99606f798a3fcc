//! The bot's state at one moment, from which reads on the socket are answered.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::account::command_answers::AnswersById;
use crate::config::document::CheckFacts;
use crate::config::head::LoadedConfig;
use botops_contract::{BotReport, ConfigState};

/// The bot at one moment; immutable.
#[derive(Debug)]
pub(crate) struct PublishedSnapshot {
    /// The answer to `GET state`.
    pub report: BotReport,
    /// The answer to `GET config`.
    pub config: ConfigState,
    /// The config document in force, which candidates are compared with.
    pub running: Arc<Value>,
    /// The exact bytes of that document.
    pub running_text: Arc<str>,
    /// The facts against which a candidate is checked.
    pub facts: CheckFacts,
    /// The first answers to commands, by command id.
    pub answers: Arc<AnswersById>,
    body: OnceLock<Bytes>,
}

impl PublishedSnapshot {
    pub(crate) fn new(
        report: BotReport,
        config: ConfigState,
        running: &LoadedConfig,
        facts: CheckFacts,
        answers: Arc<AnswersById>,
    ) -> Self {
        let (running, running_text) = (running.value.clone(), running.text.clone());
        Self { report, config, running, running_text, facts, answers, body: OnceLock::new() }
    }

    /// The entity tag of the state, with quotes.
    pub(crate) fn etag(&self) -> String {
        format!("\"{}-{}\"", self.report.boot_epoch.as_deref().unwrap_or_default(), self.report.seq)
    }

    /// The state as JSON, serialized at the first read and shared by all further ones.
    pub(crate) fn body(&self) -> Bytes {
        let write = || serde_json::to_vec(&self.report).expect("a report has only JSON values").into();
        self.body.get_or_init(write).clone()
    }
}
