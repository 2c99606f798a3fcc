//! What the server of the contract is answered from: the last snapshot, the journal, and the queue to the trading loop.
//!
//! Reads are answered from the snapshot and the journal; commands go into the inbox. Nothing here can make the
//! trading loop wait. There are no keys: the mode of the socket file decides who may connect.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::inbox::{IpcInbox, IpcRequest, QueuedCommand, withdrawn_refusal};
use super::journal::EventJournal;
use super::session_commands::SessionCommands;
use super::snapshot::PublishedSnapshot;
use crate::config::check::check_candidate;
use crate::config::document::SCHEMA;
use botops_bot_server::{
    ConfigSource, ContractAnswer, ContractSource, EventHistory, RenderedReport, ShownConfig, TradePageRange,
    answer_now,
};
use botops_contract::{
    ActivateConfigRequest, CheckConfigRequest, CheckVerdict, CommandProgress, CommandRequest, CommandResult,
    CommandStatus, ConfigAck, ContractRefusal, EndTrialRequest, Hello, RunningDocument, TradePage, Verb,
};

/// The bot as the server of the contract asks it.
#[derive(Debug)]
pub(crate) struct PaperbotSource {
    pub hello: Arc<Hello>,
    pub snapshot: Arc<ArcSwap<PublishedSnapshot>>,
    pub journal: EventJournal,
    pub inbox: IpcInbox,
    pub session: Option<SessionCommands>,
}

impl PaperbotSource {
    /// Sends a request to the trading loop and waits for its answer. Whoever drops the answer withdraws the request.
    fn ask<T: Send + 'static>(
        &self,
        make_request: impl FnOnce(oneshot::Sender<Result<T, ContractRefusal>>) -> IpcRequest + Send + 'static,
    ) -> ContractAnswer<T> {
        let inbox = self.inbox.clone();
        async move { inbox.ask(make_request).await }.boxed()
    }
}

impl ContractSource for PaperbotSource {
    fn hello(&self) -> Result<Arc<Hello>, ContractRefusal> {
        Ok(self.hello.clone())
    }

    fn state(&self) -> Result<Arc<RenderedReport>, ContractRefusal> {
        Ok(self.snapshot.load().state.clone())
    }

    fn events(&self) -> Arc<dyn EventHistory> {
        Arc::new(self.journal.clone())
    }

    fn trades(&self, range: &TradePageRange) -> Result<TradePage, ContractRefusal> {
        Ok(self.journal.trade_page(range))
    }

    fn carry_out(&self, verb: Verb, request: CommandRequest) -> ContractAnswer<CommandResult> {
        let of_session = self.session.as_ref().filter(|session| session.handles(verb) && !request.dry_run);
        if let Some(session) = of_session {
            let (session, inbox) = (session.clone(), self.inbox.clone());
            return async move { session.run_command(&inbox, verb, request).await }.boxed();
        }
        self.ask(move |reply| IpcRequest::Command(verb, request, reply))
    }

    /// Looked up in the queue, then in the snapshot, which the loop publishes before it answers.
    fn command_status(&self, command_id: String) -> Result<CommandStatus, ContractRefusal> {
        let in_session = self.session.as_ref().is_some_and(|session| session.is_running(&command_id));
        let waiting = self.inbox.queued_command(&command_id);
        let result = self.snapshot.load().answers.get(&command_id).map(|(_, result)| result.clone());
        let (progress, result, refusal) = match (waiting, result) {
            (_, Some(result)) => (CommandProgress::Answered, Some(result), None),
            (Some(QueuedCommand::Withdrawn), None) => {
                (CommandProgress::Answered, None, Some(withdrawn_refusal()))
            }
            (Some(QueuedCommand::Pending), None) => (CommandProgress::Pending, None, None),
            (None, None) if in_session => (CommandProgress::Pending, None, None),
            (None, None) => (CommandProgress::Unknown, None, None),
        };
        Ok(CommandStatus { command_id, progress, result, refusal })
    }

    fn config(&self) -> Option<&dyn ConfigSource> {
        Some(self)
    }
}

impl ConfigSource for PaperbotSource {
    fn shown(&self) -> ContractAnswer<ShownConfig> {
        answer_now(Ok(ShownConfig::Managed(self.snapshot.load().config.clone())))
    }

    fn schema(&self) -> ContractAnswer<String> {
        answer_now(Ok(SCHEMA.to_owned()))
    }

    fn document(&self) -> ContractAnswer<RunningDocument> {
        let snapshot = self.snapshot.load();
        let running = snapshot.config.running.clone();
        answer_now(Ok(RunningDocument { running, document: snapshot.running_text.to_string() }))
    }

    fn check(&self, request: CheckConfigRequest) -> ContractAnswer<CheckVerdict> {
        let snapshot = self.snapshot.load_full();
        let document = request.config.to_string();
        answer_now(Ok(check_candidate(&snapshot.running, &document, &snapshot.facts)))
    }

    fn activate(&self, request: ActivateConfigRequest) -> ContractAnswer<ConfigAck> {
        self.ask(move |reply| IpcRequest::Activate(Box::new(request), reply))
    }

    fn commit(&self, request: EndTrialRequest) -> ContractAnswer<ConfigAck> {
        self.ask(move |reply| IpcRequest::Commit(request, reply))
    }

    fn revert(&self, request: EndTrialRequest) -> ContractAnswer<ConfigAck> {
        self.ask(move |reply| IpcRequest::Revert(request, reply))
    }
}
