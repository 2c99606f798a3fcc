//! What freqtrade says of itself when a command is planned, and again when its effect is looked for.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::polling::{PictureCell, RefusedRequest};
use crate::report::global_lock;
use crate::trades::is_entry_order;
use crate::upstream::{
    ConfigEcho, FreqtradeClient, FreqtradeOrder, FreqtradeTrade, HealthAnswer, HideSecrets, LocksAnswer,
    PairLock, ReadList, UpstreamFailure,
};
use botops_contract::{BotPhase, Verb, amount_value};

/// A healthy freqtrade answers each of these in 0.1 s. One that is busy with its exchange needs seconds, and is the one
/// that may have to be stopped.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// The state of freqtrade's own loop, by `show_config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TraderState {
    Running,
    /// It manages open trades and enters nothing.
    Paused,
    /// It manages nothing.
    Stopped,
    Reloading,
    /// A word that is not known here, or none.
    Other(String),
}

/// freqtrade at one moment, as far as commands depend on it.
#[derive(Debug, Clone)]
pub(super) struct CommandFacts {
    pub state: TraderState,
    /// Trades that may be open at a time; `None` for no limit, or where it is not told.
    pub most_open_trades: Option<Decimal>,
    pub trades: Vec<FreqtradeTrade>,
    /// Open trades that could not be read; a command cannot answer for them.
    pub unreadable_trades: usize,
    /// Locks that hold now.
    pub locks: Vec<PairLock>,
    /// How the reasons of this adapter's own locks begin.
    pub own_lock: String,
    /// Whether it trades both directions.
    pub short_allowed: bool,
    /// Time between two passes of its loop, where it tells that.
    pub throttle: Option<Duration>,
}

/// Where the facts of one freqtrade come from.
#[derive(Debug, Clone)]
pub(super) struct FactsReader {
    client: FreqtradeClient,
    /// How the reasons of this adapter's own locks begin.
    own_lock: String,
    /// What the readers saw last, freqtrade's clock with it.
    cell: PictureCell,
}

impl FactsReader {
    pub(super) fn new(client: FreqtradeClient, own_lock: String, cell: PictureCell) -> Self {
        Self { client, own_lock, cell }
    }

    /// Asks freqtrade.
    ///
    /// # Errors
    /// The first call that brought nothing; no call of these changes anything.
    pub(super) async fn read(&self) -> Result<CommandFacts, UpstreamFailure> {
        let trades: ReadList<FreqtradeTrade> = self.read_path("status").await?;
        let locks: LocksAnswer = self.read_path("locks").await?;
        // The state comes last: what is sent next depends on it.
        let echo: ConfigEcho = self.read_path("show_config").await?;
        Ok(CommandFacts::of(&echo, trades, locks, self.upstream_time(), &self.own_lock))
    }

    /// When freqtrade's loop last went round; `None` before its first pass.
    ///
    /// # Errors
    /// The call brought nothing.
    pub(super) async fn read_last_pass(&self) -> Result<Option<DateTime<Utc>>, UpstreamFailure> {
        Ok(self.read_path::<HealthAnswer>("health").await?.last_process)
    }

    /// The time by freqtrade's clock, which decides when a lock ends.
    pub(super) fn upstream_time(&self) -> DateTime<Utc> {
        self.cell.load().clock.upstream_time(Utc::now())
    }

    /// Notes that freqtrade refused a request of this command, sent at this moment of this machine.
    pub(super) fn note_refused_request(
        &self,
        command_id: &str,
        verb: Verb,
        reason: &str,
        sent: DateTime<Utc>,
    ) {
        let clock = self.cell.load().clock;
        self.cell.add_refused_request(RefusedRequest {
            command_id: command_id.to_owned(),
            verb,
            reason: reason.to_owned(),
            sent: clock.upstream_time(sent),
            answered: clock.upstream_time(Utc::now()),
        });
    }

    /// freqtrade as the readers saw it; `None` unless all of it was read after this moment. Nothing is asked for it.
    pub(super) fn read_picture(&self, since: DateTime<Utc>) -> Option<PicturedFacts> {
        let picture = self.cell.load();
        let is_new = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at > since);
        let is_whole =
            is_new(picture.config.at()) && is_new(picture.open_trades.at()) && is_new(picture.locks.at());
        if !is_whole {
            return None;
        }
        let (trades, locks) = (picture.open_trades.value()?.clone(), picture.locks.value()?.clone());
        let now = picture.clock.upstream_time(Utc::now());
        Some(PicturedFacts {
            facts: CommandFacts::of(picture.config.value()?, trades, locks, now, &self.own_lock),
            last_pass: picture.health.value().and_then(|health| health.last_process),
        })
    }

    /// Reads one path; once more when nothing came.
    async fn read_path<T: DeserializeOwned + HideSecrets>(&self, path: &str) -> Result<T, UpstreamFailure> {
        match self.client.get(path, READ_LIMIT).await {
            Err(UpstreamFailure::Late | UpstreamFailure::Cut) => {
                self.client.get(path, READ_LIMIT).await?.read()
            }
            answered => answered?.read(),
        }
    }
}

/// What the readers saw of freqtrade.
#[derive(Debug, Clone)]
pub(super) struct PicturedFacts {
    pub facts: CommandFacts,
    /// When its loop last went round, by its own clock.
    pub last_pass: Option<DateTime<Utc>>,
}

impl CommandFacts {
    /// What these answers say. `at` is the time by freqtrade's clock: it sets the ends of locks.
    pub(super) fn of(
        echo: &ConfigEcho,
        trades: ReadList<FreqtradeTrade>,
        locks: LocksAnswer,
        at: DateTime<Utc>,
        own_lock: &str,
    ) -> Self {
        let most = amount_value(echo.max_open_trades.as_ref());
        Self {
            state: TraderState::of(echo.state.as_deref().unwrap_or_default()),
            most_open_trades: most.filter(|most| !most.is_sign_negative()),
            unreadable_trades: trades.unreadable,
            trades: trades.items,
            locks: locks.locks.items.into_iter().filter(|lock| lock.holds_at(at)).collect(),
            own_lock: own_lock.to_owned(),
            short_allowed: echo.short_allowed.unwrap_or(false),
            throttle: amount_value(echo.process_throttle_secs.as_ref())
                .and_then(|seconds| seconds.to_u64())
                .map(Duration::from_secs),
        }
    }

    /// The locks of an earlier durable pause by this adapter. Only such a lock is ever removed.
    pub(super) fn own_locks(&self) -> impl Iterator<Item = &PairLock> {
        self.locks.iter().filter(|lock| self.is_own(lock))
    }

    /// Whether this adapter set the lock.
    pub(super) fn is_own(&self, lock: &PairLock) -> bool {
        lock.is_marked(&self.own_lock)
    }

    /// The lock, among those that count here, that keeps every new position away.
    pub(super) fn closing_lock(&self, counts: impl Fn(&PairLock) -> bool) -> Option<&PairLock> {
        let locks: Vec<&PairLock> = self.locks.iter().filter(|lock| counts(lock)).collect();
        global_lock(&locks, self.short_allowed)
    }

    /// What keeps entries closed, in the words of the state's `no_entry_reasons`; `None` when nothing that is known does.
    pub(super) fn no_entry_reason(&self) -> Option<&'static str> {
        let open = Decimal::from(self.trades.len() + self.unreadable_trades);
        match self.state {
            TraderState::Paused => Some("paused"),
            TraderState::Stopped => Some("stopped"),
            TraderState::Reloading | TraderState::Other(_) => Some("not_running"),
            TraderState::Running if self.closing_lock(|_| true).is_some() => Some("global_lock"),
            TraderState::Running if self.most_open_trades.is_some_and(|most| open >= most) => {
                Some("max_open_trades")
            }
            TraderState::Running => None,
        }
    }

    /// Orders that rest, each with its trade.
    pub(super) fn resting_orders(&self) -> impl Iterator<Item = (&FreqtradeTrade, &FreqtradeOrder)> {
        self.trades.iter().flat_map(|trade| {
            trade
                .order_list()
                .iter()
                .filter(|order| order.is_open == Some(true))
                .map(move |order| (trade, order))
        })
    }

    /// Trades of which something was bought, or sold short.
    pub(super) fn held_trades(&self) -> impl Iterator<Item = &FreqtradeTrade> {
        self.trades.iter().filter(|trade| is_held(trade))
    }
}

impl fmt::Display for TraderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Reloading => "reloading its config",
            Self::Other(word) => word,
        })
    }
}

impl TraderState {
    fn of(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "running" => Self::Running,
            "paused" => Self::Paused,
            "stopped" => Self::Stopped,
            "reload_config" => Self::Reloading,
            other => Self::Other(botops_core::text::clean(other, 40)),
        }
    }

    /// freqtrade's own word, where it is none of those that are known.
    pub(super) fn other_word(&self) -> Option<String> {
        match self {
            Self::Other(word) => Some(word.clone()),
            _ => None,
        }
    }

    /// The phase of the contract that it is.
    pub(super) fn phase(&self) -> BotPhase {
        match self {
            Self::Running => BotPhase::Running,
            Self::Paused => BotPhase::Paused,
            Self::Stopped => BotPhase::Stopped,
            Self::Reloading => BotPhase::Starting,
            Self::Other(_) => BotPhase::Other,
        }
    }
}

/// What freqtrade's call cancels of a trade. A stop loss that rests at the exchange belongs to the trade: the call passes
/// over it.
pub(super) fn cancellable_orders(trade: &FreqtradeTrade) -> impl Iterator<Item = &FreqtradeOrder> {
    let is_stop_loss = |order: &FreqtradeOrder| order.side.as_deref() == Some("stoploss");
    trade.order_list().iter().filter(move |order| order.is_open == Some(true) && !is_stop_loss(order))
}

/// Whether something of the trade is held: one whose first entry still rests is an order and no position.
pub(super) fn is_held(trade: &FreqtradeTrade) -> bool {
    let is_positive = |amount: Option<Decimal>| amount.is_some_and(|amount| amount > Decimal::ZERO);
    if trade.orders.is_none() {
        return is_positive(amount_value(trade.amount.as_ref()));
    }
    let mut entries = trade.order_list().iter().filter(|order| is_entry_order(trade, order));
    entries.any(|order| is_positive(amount_value(order.filled.as_ref())))
}

/// What the trade is worth now, in stake currency; `None` without amount or price.
pub(super) fn worth(trade: &FreqtradeTrade) -> Option<Decimal> {
    amount_value(trade.amount.as_ref())?.checked_mul(amount_value(trade.current_rate.as_ref())?)
}

/// A trade for people: `#3 SOL/USDT 0.33`.
pub(super) fn named(trade: &FreqtradeTrade) -> String {
    let pair = botops_core::text::clean(&trade.pair, 64);
    match trade.amount.as_ref().filter(|_| is_held(trade)) {
        Some(amount) => format!("#{} {pair} {amount}", trade.trade_id),
        None => format!("#{} {pair}", trade.trade_id),
    }
}
