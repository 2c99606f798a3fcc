//! The bot's state at one moment, from which reads on the socket are answered.

use std::sync::Arc;

use serde_json::Value;

use crate::account::command_answers::AnswersById;
use crate::config::head::LoadedConfig;
use crate::config::rules::CheckFacts;
use botops_bot_server::RenderedReport;
use botops_contract::{BotReport, ConfigState};

/// The bot at one moment; immutable.
#[derive(Debug)]
pub(crate) struct PublishedSnapshot {
    /// The answer to `GET state`.
    pub state: Arc<RenderedReport>,
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
        let boot_epoch = report.boot_epoch.clone().unwrap_or_default();
        let state = Arc::new(RenderedReport::new(report, &boot_epoch));
        Self { state, config, running, running_text, facts, answers }
    }
}
