//! The strategy: momentum between two moving averages, with a stop, a target and a time limit.
//!
//! It buys a symbol whose fast average is above its slow one, and sells at the stop, at the target, when the averages
//! turn, or when the position gets too old. It only gives signals; the engine decides whether an order fits the limits.
//! It never sells short and never adds to a position.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;

use crate::account::book::AccountBook;
use crate::account::ledger::{LedgerEntry, LedgerLine, OrderPurpose};
use crate::config::document::BotConfig;

/// Lengths in price points. A simulated market gives four a second by default, a daily bar seven a day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StrategyPace {
    fast: usize,
    slow: usize,
    /// A position is not left because momentum faded before it is this old.
    min_hold: u64,
    /// A position is left when it is this old.
    max_hold: u64,
    /// No new position in a symbol for this long after an exit.
    rest_after_exit: u64,
    /// No new try in a symbol for this long after a refused or unfilled order.
    wait_after_refusal: u64,
}

impl StrategyPace {
    pub(crate) const SIMULATED: Self = Self {
        fast: 16,
        slow: 64,
        min_hold: 240,
        max_hold: 1_200,
        rest_after_exit: 480,
        wait_after_refusal: 40,
    };
    pub(crate) const DAILY: Self =
        Self { fast: 4, slow: 14, min_hold: 7, max_hold: 70, rest_after_exit: 4, wait_after_refusal: 2 };
}

/// A signal of the strategy, with the reason as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TradeSignal {
    /// Open a position.
    Enter { symbol: String, reason: String },
    /// Close a position by a market order.
    Leave { symbol: String, reason: String },
}

/// The strategy, with its averages and waiting times for each symbol.
#[derive(Debug)]
pub(crate) struct MomentumStrategy {
    pace: StrategyPace,
    memory: BTreeMap<String, SymbolMemory>,
}

#[derive(Debug, Default)]
struct SymbolMemory {
    prices: VecDeque<Decimal>,
    fast: Decimal,
    slow: Decimal,
    held: u64,
    wait: u64,
}

impl SymbolMemory {
    fn add_price(&mut self, price: Decimal, pace: StrategyPace) {
        self.prices.push_back(price);
        self.fast += price;
        self.slow += price;
        if self.prices.len() > pace.fast {
            self.fast -= self.prices[self.prices.len() - 1 - pace.fast];
        }
        if self.prices.len() > pace.slow {
            self.slow -= self.prices.pop_front().unwrap_or_default();
        }
        self.wait = self.wait.saturating_sub(1);
    }

    /// How far the fast average is above the slow one, in basis points; `None` while there are too few prices.
    fn momentum(&self, pace: StrategyPace) -> Option<Decimal> {
        if self.prices.len() < pace.slow {
            return None;
        }
        let fast = self.fast / Decimal::from(pace.fast);
        let slow = self.slow / Decimal::from(pace.slow);
        Some(((fast / slow - Decimal::ONE) * Decimal::from(10_000)).round_dp(1))
    }
}

impl MomentumStrategy {
    /// A strategy that has seen no prices.
    pub(crate) fn new(pace: StrategyPace) -> Self {
        Self { pace, memory: BTreeMap::new() }
    }

    pub(crate) fn add_prices(&mut self, prices: &[(String, Decimal)]) {
        for (symbol, price) in prices {
            let pace = self.pace;
            self.memory.entry(symbol.clone()).or_default().add_price(*price, pace);
        }
    }

    /// Whether any symbol has enough prices for a decision.
    pub(crate) fn is_warm(&self) -> bool {
        self.memory.values().any(|memory| memory.prices.len() >= self.pace.slow)
    }

    /// Learns of a ledger line: after a refusal or an exit the symbol is left alone for a while.
    pub(crate) fn observe(&mut self, line: &LedgerLine, book: &AccountBook) {
        let (symbol, wait) = match &line.entry {
            LedgerEntry::Refused { order, .. } => (&order.symbol, self.pace.wait_after_refusal),
            LedgerEntry::Filled(fill) if !book.positions.contains_key(&fill.symbol) => {
                (&fill.symbol, self.pace.rest_after_exit)
            }
            _ => return,
        };
        let memory = self.memory.entry(symbol.clone()).or_default();
        memory.wait = memory.wait.max(wait);
    }

    /// Leaves a symbol alone for a while, after an entry that was not filled or that no limit allows.
    pub(crate) fn hold_off(&mut self, symbol: &str) {
        let wait = self.pace.wait_after_refusal;
        let memory = self.memory.entry(symbol.to_owned()).or_default();
        memory.wait = memory.wait.max(wait);
    }

    /// The signals at these prices, exits first.
    pub(crate) fn signals(
        &mut self,
        prices: &[(String, Decimal)],
        book: &AccountBook,
        settings: &BotConfig,
    ) -> Vec<TradeSignal> {
        let mut signals = Vec::new();
        for (symbol, price) in prices {
            if let Some(reason) = self.exit_reason(symbol, *price, book, settings) {
                signals.push(TradeSignal::Leave { symbol: symbol.clone(), reason });
            }
        }
        let mut entries: Vec<(Decimal, TradeSignal)> =
            prices.iter().filter_map(|(symbol, _)| self.entry_signal(symbol, book, settings)).collect();
        // The strongest first: money or limits may not suffice for all.
        entries.sort_by_key(|(momentum, _)| std::cmp::Reverse(*momentum));
        signals.extend(entries.into_iter().map(|(_, signal)| signal));
        signals
    }

    fn exit_reason(
        &mut self,
        symbol: &str,
        price: Decimal,
        book: &AccountBook,
        settings: &BotConfig,
    ) -> Option<String> {
        let pace = self.pace;
        let memory = self.memory.entry(symbol.to_owned()).or_default();
        let Some(holding) = book.positions.get(symbol) else {
            memory.held = 0;
            return None;
        };
        memory.held += 1;
        let closing = |purpose: OrderPurpose| matches!(purpose, OrderPurpose::Exit | OrderPurpose::Flatten);
        let orders = || book.working.values().filter(|order| order.placed.symbol == symbol);
        if orders().any(|order| closing(order.placed.purpose)) {
            return None;
        }
        if let Some(stop) = holding.stop_price.filter(|stop| price <= *stop) {
            return Some(format!("stop at {stop} reached at {price}"));
        }
        let waits_at_target = orders().any(|order| order.placed.purpose == OrderPurpose::Target);
        if let Some(target) = holding.target_price.filter(|target| !waits_at_target && price >= *target) {
            return Some(format!("target at {target} reached at {price}"));
        }
        if settings.weight(symbol).is_zero() {
            return Some("the config gives this symbol no weight".to_owned());
        }
        if memory.held >= pace.max_hold {
            return Some(format!("held for {} price points without reaching stop or target", memory.held));
        }
        let momentum = memory.momentum(pace)?;
        let fades = memory.held >= pace.min_hold && momentum < Decimal::NEGATIVE_ONE;
        fades.then(|| format!("momentum faded to {momentum} basis points"))
    }

    fn entry_signal(
        &self,
        symbol: &str,
        book: &AccountBook,
        settings: &BotConfig,
    ) -> Option<(Decimal, TradeSignal)> {
        let memory = self.memory.get(symbol)?;
        let busy = book.positions.contains_key(symbol)
            || book.working.values().any(|order| order.placed.symbol == symbol);
        if busy || memory.wait > 0 || settings.weight(symbol).is_zero() {
            return None;
        }
        let momentum = memory.momentum(self.pace).filter(|momentum| *momentum > Decimal::TWO)?;
        let reason = format!("momentum of {momentum} basis points");
        Some((momentum, TradeSignal::Enter { symbol: symbol.to_owned(), reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::BUILT_IN;

    fn signals(prices: impl Iterator<Item = i64>, symbol: &str) -> Vec<TradeSignal> {
        let mut strategy = MomentumStrategy::new(StrategyPace::DAILY);
        let settings = BotConfig::parse(BUILT_IN).unwrap();
        let mut signals = Vec::new();
        for price in prices {
            let prices = [(symbol.to_owned(), Decimal::from(price))];
            strategy.add_prices(&prices);
            signals = strategy.signals(&prices, &AccountBook::default(), &settings);
        }
        signals
    }

    #[test]
    fn it_buys_what_rises_and_nothing_else() {
        assert!(
            matches!(&signals(100..130, "SPY")[..], [TradeSignal::Enter { symbol, .. }] if symbol == "SPY")
        );
        assert_eq!(signals((100..130).rev(), "SPY"), []);
        assert_eq!(signals(std::iter::repeat_n(100, 30), "SPY"), []);
    }

    #[test]
    fn it_waits_for_enough_prices_and_for_a_weight() {
        assert_eq!(signals(100..110, "SPY"), []);
        assert_eq!(signals(100..130, "ZZZ"), []);
    }
}
