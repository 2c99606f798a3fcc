//! The market: prices for a set of symbols, simulated from a seed or replayed from a file.
//!
//! Each call of [`Feed::step`] is one moment of the market. Kept from users: where the prices come from. Prices are
//! whole cents. Deliberately absent: a clock of its own. The caller paces it.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::replay::Replay;

/// One moment of the market.
#[derive(Debug, Clone, Default)]
pub(super) struct Moment {
    /// The market's own time.
    pub at: DateTime<Utc>,
    /// New prices, by symbol.
    pub prices: Vec<(String, Decimal)>,
    /// What is missing: symbols that should have had a price, or a stretch of days without any.
    pub gaps: Vec<Gap>,
}

/// A hole in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    /// The symbol, or `None` when no symbol has prices.
    pub symbol: Option<String>,
    /// What is missing, for people.
    pub what: String,
}

/// Where prices come from.
#[derive(Debug)]
pub(super) enum Feed {
    /// A random walk, open at any hour.
    Simulated(Walk),
    /// The past.
    Replayed(Replay),
}

impl Feed {
    /// The next moment, or `None` when a replay has ended.
    pub fn step(&mut self, at: DateTime<Utc>, now: Instant) -> Option<Moment> {
        match self {
            Self::Simulated(walk) => Some(walk.step(at, now)),
            Self::Replayed(replay) => replay.step(),
        }
    }

    /// `simulated` or `replay`.
    pub fn source(&self) -> &'static str {
        match self {
            Self::Simulated(_) => "simulated",
            Self::Replayed(_) => "replay",
        }
    }

    /// The symbols it has prices for.
    pub fn symbols(&self) -> Vec<String> {
        match self {
            Self::Simulated(walk) => walk.assets.iter().map(|asset| asset.symbol.clone()).collect(),
            Self::Replayed(replay) => replay.symbols().to_vec(),
        }
    }
}

/// A seeded random walk: small steps around a trend that changes now and then and pulls back to where it began.
#[derive(Debug)]
pub(super) struct Walk {
    random: Random,
    assets: Vec<Asset>,
    /// When the last price came, by a clock that nobody sets.
    last: Option<Instant>,
}

#[derive(Debug)]
struct Asset {
    symbol: String,
    /// Millionths of a dollar, so that the walk needs no floating point.
    price: i64,
    home: i64,
    /// Parts per million and step.
    trend: i64,
    trend_left: u64,
}

/// The process was stopped or starved when no price came for so long.
const SILENCE: Duration = Duration::from_secs(5);

impl Walk {
    /// A walk over these symbols; `last` has the prices to go on from, where they are known.
    pub fn new(seed: u64, symbols: &[String], last: impl Fn(&str) -> Option<Decimal>) -> Self {
        let assets = symbols.iter().map(|symbol| Asset::new(symbol, last(symbol))).collect();
        Self { random: Random::new(seed), assets, last: None }
    }

    fn step(&mut self, at: DateTime<Utc>, now: Instant) -> Moment {
        let mut moment = Moment { at, ..Moment::default() };
        let silence = self.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        if silence > SILENCE {
            let what = format!("no price for {} s", silence.as_secs());
            moment.gaps.push(Gap { symbol: None, what });
        }
        for asset in &mut self.assets {
            asset.step(&mut self.random);
            moment.prices.push((asset.symbol.clone(), asset.cents()));
        }
        moment
    }
}

impl Asset {
    fn new(symbol: &str, last: Option<Decimal>) -> Self {
        let home = match symbol {
            "SPY" => 590,
            "QQQ" => 510,
            "AAPL" => 230,
            "MSFT" => 430,
            "NVDA" => 140,
            "AMZN" => 200,
            "GOOGL" => 175,
            "META" => 580,
            other => 40 + other.bytes().fold(7_i64, |sum, byte| (sum * 31 + i64::from(byte)) % 300),
        } * 1_000_000;
        let last = last.and_then(|price| i64::try_from(price * Decimal::from(1_000_000)).ok());
        Self { symbol: symbol.to_owned(), price: last.unwrap_or(home), home, trend: 0, trend_left: 0 }
    }

    fn step(&mut self, random: &mut Random) {
        if self.trend_left == 0 {
            self.trend = random.between(-20, 20);
            self.trend_left = 80 + random.below(400);
        }
        self.trend_left -= 1;
        // Twelve uniform draws make a fair bell; the spread is about four basis points a step.
        let noise = (0..12).map(|_| random.between(-400, 400)).sum::<i64>() / 2;
        let pull = (self.home - self.price) / (self.home / 500);
        let parts = noise + self.trend + pull / 20;
        self.price = (self.price + self.price / 1_000 * parts / 1_000).clamp(1_000_000, 100_000_000_000);
    }

    fn cents(&self) -> Decimal {
        Decimal::new(self.price / 10_000, 2)
    }
}

/// splitmix64: small, seeded, the same on every machine. Not for secrets.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, not including, `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.abs_diff(low) + 1;
        low + i64::try_from(self.below(width)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn walk(seed: u64, steps: usize) -> Vec<Vec<(String, Decimal)>> {
        let symbols = ["SPY".to_owned(), "XYZ".to_owned()];
        let mut walk = Walk::new(seed, &symbols, |_| None);
        let now = Instant::now();
        (0..steps).map(|_| walk.step(DateTime::UNIX_EPOCH, now).prices).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_market() {
        assert_eq!(walk(7, 200), walk(7, 200));
        assert_ne!(walk(7, 200), walk(8, 200));
    }

    #[test]
    fn prices_stay_positive_whole_cents_and_move() {
        let moments = walk(1, 5_000);
        for (_, price) in moments.iter().flatten() {
            assert!(*price > Decimal::ZERO && price.scale() <= 2);
        }
        assert_ne!(moments.first(), moments.last());
    }

    #[test]
    fn a_stopped_process_shows_as_a_gap() {
        let mut walk = Walk::new(1, &["SPY".to_owned()], |_| None);
        let (at, now) = (DateTime::UNIX_EPOCH, Instant::now());
        assert!(walk.step(at, now).gaps.is_empty());
        assert_eq!(walk.step(at, now + Duration::from_secs(60)).gaps.len(), 1);
    }

    #[test]
    fn a_step_of_the_wall_clock_is_no_gap() {
        let mut walk = Walk::new(1, &["SPY".to_owned()], |_| None);
        let (at, now) = (DateTime::UNIX_EPOCH, Instant::now());
        assert!(walk.step(at, now).gaps.is_empty());
        assert!(walk.step(at + TimeDelta::days(1), now + Duration::from_secs(1)).gaps.is_empty());
        assert!(walk.step(at, now + Duration::from_secs(2)).gaps.is_empty());
    }
}
