//! What freqtrade says of itself when a command is planned, and again when its effect is looked for.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::trades::is_entry_order;
use crate::upstream::{
    ConfigEcho, FreqtradeClient, FreqtradeOrder, FreqtradeTrade, LocksAnswer, PairLock, ReadList,
    UpstreamFailure,
};
use botops_contract::{BotPhase, amount_value};

/// A healthy freqtrade answers each of these in 0.1 s.
const READ_LIMIT: Duration = Duration::from_secs(3);

/// The state of freqtrade's own loop, by `show_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

impl CommandFacts {
    /// Asks freqtrade.
    ///
    /// # Errors
    /// The first call that brought nothing; no call of these changes anything.
    pub(super) async fn read(client: &FreqtradeClient, own_lock: &str) -> Result<Self, UpstreamFailure> {
        let echo: ConfigEcho = client.get("show_config", READ_LIMIT).await?.read()?;
        let trades: ReadList<FreqtradeTrade> = client.get("status", READ_LIMIT).await?.read()?;
        let locks: LocksAnswer = client.get("locks", READ_LIMIT).await?.read()?;
        Ok(Self::of(&echo, trades, locks, Utc::now(), own_lock))
    }

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

    /// What keeps entries closed, in the words of the state's `no_entry_reasons`; `None` when nothing that is known does.
    pub(super) fn no_entry_reason(&self) -> Option<&'static str> {
        let open = Decimal::from(self.trades.len() + self.unreadable_trades);
        match self.state {
            TraderState::Paused => Some("paused"),
            TraderState::Stopped => Some("stopped"),
            TraderState::Reloading | TraderState::Other(_) => Some("not_running"),
            TraderState::Running if self.locks.iter().any(PairLock::is_global) => Some("global_lock"),
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

/// Whether the order is a stop loss that rests at the exchange.
pub(super) fn is_stop_loss(order: &FreqtradeOrder) -> bool {
    order.side.as_deref() == Some("stoploss")
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
