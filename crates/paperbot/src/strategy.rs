//! The strategy: momentum between two moving averages, with a stop, a target and a time limit.
//!
//! Simple and honest: it buys what has risen lately, gives up at the stop, takes the profit at the target, and
//! leaves when the rise fades or nothing happens for long. It wishes; the engine decides whether a wish fits the
//! limits. Deliberately absent: cleverness, short positions, adding to a position.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;

use super::book::Book;
use super::document::Document;
use super::ledger::{Entry, Line, Purpose};

/// Lengths in price points: a simulated market gives four a second, a daily bar seven a day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    fast: usize,
    slow: usize,
    /// A position is not left on a fading rise before this.
    settle: u64,
    /// A position is left after this, whatever happens.
    patience: u64,
    /// No new position in a symbol so soon after the last one.
    rest: u64,
    /// No new try in a symbol so soon after a refused or unfilled order.
    retry: u64,
}

impl Pace {
    /// For the simulated market.
    pub const SIMULATED: Self =
        Self { fast: 16, slow: 64, settle: 240, patience: 1_200, rest: 480, retry: 40 };
    /// For daily bars.
    pub const DAILY: Self = Self { fast: 4, slow: 14, settle: 7, patience: 70, rest: 4, retry: 2 };
}

/// What the strategy would like to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Open a position.
    Enter { symbol: String, reason: String },
    /// Close a position at the market.
    Leave { symbol: String, reason: String },
}

/// The strategy with what it remembers of each symbol.
#[derive(Debug)]
pub(super) struct Strategy {
    pace: Pace,
    memory: BTreeMap<String, Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    prices: VecDeque<Decimal>,
    fast: Decimal,
    slow: Decimal,
    held: u64,
    wait: u64,
}

impl Memory {
    fn see(&mut self, price: Decimal, pace: Pace) {
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

    /// The fast average above the slow one, in basis points; `None` while there are too few prices.
    fn momentum(&self, pace: Pace) -> Option<Decimal> {
        if self.prices.len() < pace.slow {
            return None;
        }
        let fast = self.fast / Decimal::from(pace.fast);
        let slow = self.slow / Decimal::from(pace.slow);
        Some(((fast / slow - Decimal::ONE) * Decimal::from(10_000)).round_dp(1))
    }
}

impl Strategy {
    /// A strategy that has seen nothing.
    pub fn new(pace: Pace) -> Self {
        Self { pace, memory: BTreeMap::new() }
    }

    /// Takes new prices in.
    pub fn see(&mut self, prices: &[(String, Decimal)]) {
        for (symbol, price) in prices {
            let pace = self.pace;
            self.memory.entry(symbol.clone()).or_default().see(*price, pace);
        }
    }

    /// Whether any symbol has enough prices to judge.
    pub fn is_warm(&self) -> bool {
        self.memory.values().any(|memory| memory.prices.len() >= self.pace.slow)
    }

    /// Hears what happened, to wait after it.
    pub fn hear(&mut self, line: &Line, book: &Book) {
        let (symbol, wait) = match &line.entry {
            Entry::Refused { order, .. } => (&order.symbol, self.pace.retry),
            Entry::Filled(fill) if !book.positions.contains_key(&fill.symbol) => {
                (&fill.symbol, self.pace.rest)
            }
            _ => return,
        };
        let memory = self.memory.entry(symbol.clone()).or_default();
        memory.wait = memory.wait.max(wait);
    }

    /// An entry was cancelled unfilled, or could not be sized.
    pub fn hold_off(&mut self, symbol: &str) {
        let retry = self.pace.retry;
        let memory = self.memory.entry(symbol.to_owned()).or_default();
        memory.wait = memory.wait.max(retry);
    }

    /// What to do at these prices; exits first.
    pub fn wishes(&mut self, prices: &[(String, Decimal)], book: &Book, settings: &Document) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for (symbol, price) in prices {
            if let Some(reason) = self.leave(symbol, *price, book, settings) {
                wishes.push(Wish::Leave { symbol: symbol.clone(), reason });
            }
        }
        let mut entries: Vec<(Decimal, Wish)> =
            prices.iter().filter_map(|(symbol, _)| self.enter(symbol, book, settings)).collect();
        // The strongest first, for the case that money or limits do not suffice for all.
        entries.sort_by_key(|(momentum, _)| std::cmp::Reverse(*momentum));
        wishes.extend(entries.into_iter().map(|(_, wish)| wish));
        wishes
    }

    fn leave(&mut self, symbol: &str, price: Decimal, book: &Book, settings: &Document) -> Option<String> {
        let pace = self.pace;
        let memory = self.memory.entry(symbol.to_owned()).or_default();
        let Some(holding) = book.positions.get(symbol) else {
            memory.held = 0;
            return None;
        };
        memory.held += 1;
        let closing = |purpose: Purpose| matches!(purpose, Purpose::Exit | Purpose::Flatten);
        let orders = || book.working.values().filter(|order| order.placed.symbol == symbol);
        if orders().any(|order| closing(order.placed.purpose)) {
            return None;
        }
        if let Some(stop) = holding.stop_price.filter(|stop| price <= *stop) {
            return Some(format!("stop at {stop} reached at {price}"));
        }
        let waits_at_target = orders().any(|order| order.placed.purpose == Purpose::Target);
        if let Some(target) = holding.target_price.filter(|target| !waits_at_target && price >= *target) {
            return Some(format!("target at {target} reached at {price}"));
        }
        if settings.weight(symbol).is_zero() {
            return Some("the config gives this symbol no weight".to_owned());
        }
        if memory.held >= pace.patience {
            return Some(format!("held for {} price points without reaching stop or target", memory.held));
        }
        let momentum = memory.momentum(pace)?;
        let fades = memory.held >= pace.settle && momentum < Decimal::NEGATIVE_ONE;
        fades.then(|| format!("momentum faded to {momentum} basis points"))
    }

    fn enter(&self, symbol: &str, book: &Book, settings: &Document) -> Option<(Decimal, Wish)> {
        let memory = self.memory.get(symbol)?;
        let busy = book.positions.contains_key(symbol)
            || book.working.values().any(|order| order.placed.symbol == symbol);
        if busy || memory.wait > 0 || settings.weight(symbol).is_zero() {
            return None;
        }
        let momentum = memory.momentum(self.pace).filter(|momentum| *momentum > Decimal::TWO)?;
        let reason = format!("momentum of {momentum} basis points");
        Some((momentum, Wish::Enter { symbol: symbol.to_owned(), reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::BUILT_IN;
    use super::*;

    fn wishes(prices: impl Iterator<Item = i64>, symbol: &str) -> Vec<Wish> {
        let mut strategy = Strategy::new(Pace::DAILY);
        let settings = Document::parse(BUILT_IN).unwrap();
        let mut wishes = Vec::new();
        for price in prices {
            let prices = [(symbol.to_owned(), Decimal::from(price))];
            strategy.see(&prices);
            wishes = strategy.wishes(&prices, &Book::default(), &settings);
        }
        wishes
    }

    #[test]
    fn it_buys_what_rises_and_nothing_else() {
        assert!(matches!(&wishes(100..130, "SPY")[..], [Wish::Enter { symbol, .. }] if symbol == "SPY"));
        assert_eq!(wishes((100..130).rev(), "SPY"), []);
        assert_eq!(wishes(std::iter::repeat_n(100, 30), "SPY"), []);
    }

    #[test]
    fn it_waits_for_enough_prices_and_for_a_weight() {
        assert_eq!(wishes(100..110, "SPY"), []);
        assert_eq!(wishes(100..130, "ZZZ"), []);
    }
}
