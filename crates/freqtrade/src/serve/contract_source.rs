//! What the server of the contract is answered from. There are no keys: the mode of the socket file decides who may connect.

use std::sync::Arc;

use botops_bot_server::{
    ConfigSource, ContractAnswer, ContractSource, EventHistory, RenderedReport, ShownConfig, TradePageRange,
    answer_now, refusal,
};
use botops_contract::{
    ActivateConfigRequest, CheckConfigRequest, CheckVerdict, CommandRequest, CommandResult, CommandStatus,
    ConfigAck, ContractRefusal, EndTrialRequest, Hello, RunningDocument, TradePage, UPSTREAM_STARTING, Verb,
};
use botops_core::text::clean;
use futures_util::FutureExt;

use super::published::StateCell;
use crate::commands::Commands;
use crate::events::AdapterJournal;
use crate::polling::{PictureCell, UpstreamReach};
use crate::report::{HelloInputs, NOT_MANAGED, build_hello};
use crate::trades::ClosedTradeLog;

/// The adapter as the server of the contract asks it.
#[derive(Debug)]
pub(crate) struct AdapterSource {
    pub state: StateCell,
    pub hello: HelloInputs,
    pub cell: PictureCell,
    pub journal: AdapterJournal,
    pub trades: ClosedTradeLog,
    pub commands: Commands,
}

impl AdapterSource {
    /// # Errors
    /// The refusal that says why freqtrade does not answer.
    fn check_reach(&self) -> Result<(), ContractRefusal> {
        match self.cell.reach() {
            UpstreamReach::Refused { code, message } => Err(refusal(code, &clean(&message, 300))),
            UpstreamReach::Answers => Ok(()),
        }
    }
}

impl ContractSource for AdapterSource {
    /// Answered also while freqtrade is away: it says whose adapter this is. Unless freqtrade was never read: then mode and
    /// version are not known.
    fn hello(&self) -> Result<Arc<Hello>, ContractRefusal> {
        if let Some(published) = self.state.load() {
            return Ok(published.hello.clone());
        }
        self.check_reach()?;
        Ok(Arc::new(build_hello(&self.hello, &self.cell.load())))
    }

    fn state(&self) -> Result<Arc<RenderedReport>, ContractRefusal> {
        self.check_reach()?;
        let published = self.state.load();
        let published =
            published.ok_or_else(|| refusal(UPSTREAM_STARTING, "freqtrade's state is being read"))?;
        Ok(published.state.clone())
    }

    fn events(&self) -> Arc<dyn EventHistory> {
        Arc::new(self.journal.events().clone())
    }

    fn trades(&self, range: &TradePageRange) -> Result<TradePage, ContractRefusal> {
        Ok(self.trades.page(range))
    }

    fn carry_out(&self, verb: Verb, request: CommandRequest) -> ContractAnswer<CommandResult> {
        let commands = self.commands.clone();
        async move { commands.run(verb, request).await }.boxed()
    }

    fn command_status(&self, command_id: String) -> Result<CommandStatus, ContractRefusal> {
        Ok(self.commands.status(command_id))
    }

    fn config(&self) -> Option<&dyn ConfigSource> {
        Some(self)
    }
}

/// freqtrade's config is not kept in versions here: what it echoes can be read, and nothing of it changed.
impl ConfigSource for AdapterSource {
    fn shown(&self) -> ContractAnswer<ShownConfig> {
        let echoed = self.state.load().and_then(|published| published.state.report().echoed_config.clone());
        let not_read = || refusal(UPSTREAM_STARTING, "freqtrade's config was not read yet");
        answer_now(echoed.map(ShownConfig::Echoed).ok_or_else(not_read))
    }

    fn schema(&self) -> ContractAnswer<String> {
        answer_now(Err(not_managed()))
    }

    fn document(&self) -> ContractAnswer<RunningDocument> {
        answer_now(Err(not_managed()))
    }

    fn refuses_changes(&self) -> Option<ContractRefusal> {
        Some(not_managed())
    }

    fn check(&self, _: CheckConfigRequest) -> ContractAnswer<CheckVerdict> {
        answer_now(Err(not_managed()))
    }

    fn activate(&self, _: ActivateConfigRequest) -> ContractAnswer<ConfigAck> {
        answer_now(Err(not_managed()))
    }

    fn commit(&self, _: EndTrialRequest) -> ContractAnswer<ConfigAck> {
        answer_now(Err(not_managed()))
    }

    fn revert(&self, _: EndTrialRequest) -> ContractAnswer<ConfigAck> {
        answer_now(Err(not_managed()))
    }
}

fn not_managed() -> ContractRefusal {
    refusal("not_capable", NOT_MANAGED)
}
