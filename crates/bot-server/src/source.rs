//! What the server asks of a bot.

use std::sync::Arc;

use botops_contract::{
    ActivateConfigRequest, BotEvent, CheckConfigRequest, CheckVerdict, CommandRequest, CommandResult,
    CommandStatus, ConfigAck, ConfigState, ContractRefusal, EchoedConfig, EndTrialRequest, Hello,
    RunningDocument, Trade, TradePage, Verb,
};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use tokio::sync::watch;

use super::rendered_report::RenderedReport;

/// An answer that may take a while.
pub type ContractAnswer<T> = BoxFuture<'static, Result<T, ContractRefusal>>;

/// An answer that is there already.
pub fn answer_now<T: Send + 'static>(answer: Result<T, ContractRefusal>) -> ContractAnswer<T> {
    future::ready(answer).boxed()
}

/// A bot as the server sees it: what the calls of the contract are answered from.
///
/// The methods that return a plain value are called on the connection's task: they answer from memory and wait for nothing.
/// A [`ContractAnswer`] ends by itself within the deadline that the bot promises; it goes on when whoever asked has gone only
/// if the bot spawned it.
pub trait ContractSource: Send + Sync + 'static {
    /// `GET hello`.
    ///
    /// # Errors
    /// A refusal, such as that of an adapter whose bot was never reached.
    fn hello(&self) -> Result<Arc<Hello>, ContractRefusal>;

    /// `GET state`: what was published last.
    ///
    /// # Errors
    /// A refusal, such as that of an adapter whose bot does not answer.
    fn state(&self) -> Result<Arc<RenderedReport>, ContractRefusal>;

    /// What `GET events` is read from.
    fn events(&self) -> Arc<dyn EventHistory>;

    /// `GET trades`.
    ///
    /// # Errors
    /// A refusal, such as `not_capable`.
    fn trades(&self, range: &TradePageRange) -> Result<TradePage, ContractRefusal>;

    /// `POST commands/{verb}`; the command id has 1 to 128 characters.
    fn carry_out(&self, verb: Verb, request: CommandRequest) -> ContractAnswer<CommandResult>;

    /// `GET commands/{command_id}`.
    ///
    /// # Errors
    /// A refusal, such as `not_capable`.
    fn command_status(&self, command_id: String) -> Result<CommandStatus, ContractRefusal>;

    /// The config calls; `None` for a bot that has none of them.
    fn config(&self) -> Option<&dyn ConfigSource>;
}

/// The config calls of a bot.
pub trait ConfigSource: Send + Sync {
    /// `GET config`.
    fn shown(&self) -> ContractAnswer<ShownConfig>;

    /// `GET config/schema`: a JSON Schema document.
    fn schema(&self) -> ContractAnswer<String>;

    /// `GET config/document`.
    fn document(&self) -> ContractAnswer<RunningDocument>;

    /// Why nothing is changed, whatever is asked for: such a bot refuses a change before its body is read.
    fn refuses_changes(&self) -> Option<ContractRefusal> {
        None
    }

    /// `POST config/check`.
    fn check(&self, request: CheckConfigRequest) -> ContractAnswer<CheckVerdict>;

    /// `POST config/activate`.
    fn activate(&self, request: ActivateConfigRequest) -> ContractAnswer<ConfigAck>;

    /// `POST config/commit`.
    fn commit(&self, request: EndTrialRequest) -> ContractAnswer<ConfigAck>;

    /// `POST config/revert`.
    fn revert(&self, request: EndTrialRequest) -> ContractAnswer<ConfigAck>;
}

/// What a bot shows of its config.
#[derive(Debug, Clone)]
pub enum ShownConfig {
    /// It is kept in versions, and changed through the contract.
    Managed(ConfigState),
    /// It is shown and never changed here.
    Echoed(EchoedConfig),
}

/// Events that a bot keeps for readers, each numbered within its epoch.
pub trait EventHistory: Send + Sync {
    /// What the numbers count within; a reader that knew another epoch gets every event that is kept.
    fn epoch(&self) -> &str;

    /// Kept events with a number greater than `seq`, oldest first, at most `limit`. A gap in the numbers is what is no longer
    /// kept.
    fn events_after(&self, seq: u64, limit: usize) -> Vec<Arc<BotEvent>>;

    /// Events of earlier epochs that a reader misses whose last one was `seq` of `epoch`, each with its own epoch and number.
    /// They go before those of this epoch. A bot that keeps none has none.
    fn earlier_events(&self, _epoch: &str, _seq: u64) -> Vec<Arc<BotEvent>> {
        Vec::new()
    }

    /// The number of the newest event; the receiver is notified of every new one.
    fn watch_latest(&self) -> watch::Receiver<u64>;
}

/// Which closed trades `GET trades` asks for.
#[derive(Debug, Clone, Copy)]
pub struct TradePageRange {
    /// Only trades with a higher number.
    pub after: u64,
    /// Only trades closed at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Only trades closed before this time.
    pub to: Option<DateTime<Utc>>,
    /// At most so many.
    pub limit: usize,
}

impl TradePageRange {
    /// The page of this range, of trades in the order of their numbers.
    pub fn page_of(&self, trades: &[Arc<Trade>]) -> TradePage {
        let first = trades.partition_point(|trade| trade.seq <= self.after);
        let inside = |trade: &&Arc<Trade>| {
            self.from.is_none_or(|from| trade.closed_at >= from)
                && self.to.is_none_or(|to| trade.closed_at < to)
        };
        let mut found = trades.iter().skip(first).filter(inside);
        let items: Vec<Trade> = found.by_ref().take(self.limit).map(|trade| (**trade).clone()).collect();
        let more = found.next().is_some();
        let next = items.last().map(|trade| trade.seq).filter(|_| more);
        TradePage { items, next }
    }
}
