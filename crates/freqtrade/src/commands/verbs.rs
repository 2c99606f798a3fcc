//! What is done to freqtrade when botops gives a command.

use botops_contract::{
    Capability, CommandProgress, CommandRequest, CommandResult, CommandStatus, ContractRefusal, Verb,
};
use serde_json::Value;

use crate::polling::PictureCell;
use crate::upstream::FreqtradeClient;

/// The verbs; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    /// Sends what a verb asks of freqtrade.
    #[expect(dead_code, reason = "no verb is carried out yet")]
    client: FreqtradeClient,
    /// What freqtrade said last; `wake_pollers` reads it anew after a verb.
    #[expect(dead_code, reason = "no verb is carried out yet")]
    cell: PictureCell,
}

impl Commands {
    pub(crate) fn new(client: FreqtradeClient, cell: PictureCell) -> Self {
        Self { client, cell }
    }

    /// The verbs that are carried out, as `hello` lists them.
    pub(crate) fn capabilities() -> Vec<Capability> {
        Vec::new()
    }

    /// Carries out a verb, or says why not. A refusal promises that nothing was done.
    #[expect(clippy::unused_async, reason = "a verb waits for freqtrade")]
    pub(crate) async fn run(
        &self,
        verb: Verb,
        _request: CommandRequest,
    ) -> Result<CommandResult, ContractRefusal> {
        Err(ContractRefusal {
            code: "not_capable".to_owned(),
            message: format!("the adapter for freqtrade does not carry out `{verb}`"),
            context: Value::Null,
        })
    }

    /// What became of a command.
    pub(crate) fn status(&self, command_id: String) -> CommandStatus {
        CommandStatus { command_id, progress: CommandProgress::Unknown, result: None, refusal: None }
    }
}
