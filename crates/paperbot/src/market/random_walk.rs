//! A simulated market: a random walk for each symbol, in whole cents.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::moment::{FeedGap, MarketMoment};
use super::random::SeededRandom;

/// A seeded random walk: small steps around a trend that changes now and then and pulls back to where it began.
#[derive(Debug)]
pub(crate) struct RandomWalk {
    random: SeededRandom,
    assets: Vec<WalkAsset>,
    /// When the last price came, by the monotonic clock.
    last: Option<Instant>,
}

#[derive(Debug)]
struct WalkAsset {
    symbol: String,
    /// Price in millionths of a dollar: integers give the same walk on every machine.
    price: i64,
    home: i64,
    /// Trend in parts per million of the price and step.
    trend: i64,
    trend_left: u64,
}

/// After a longer time without a step, the process was stopped or got no processor: the gap is reported.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

impl RandomWalk {
    /// A walk over these symbols; `last` gives the price that a symbol continues from, if it is known.
    pub(crate) fn new(seed: u64, symbols: &[String], last: impl Fn(&str) -> Option<Decimal>) -> Self {
        let assets = symbols.iter().map(|symbol| WalkAsset::new(symbol, last(symbol))).collect();
        Self { random: SeededRandom::new(seed), assets, last: None }
    }

    pub(crate) fn symbols(&self) -> Vec<String> {
        self.assets.iter().map(|asset| asset.symbol.clone()).collect()
    }

    pub(crate) fn step(&mut self, at: DateTime<Utc>, now: Instant) -> MarketMoment {
        let mut moment = MarketMoment { at, ..MarketMoment::default() };
        let silence = self.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        if silence > LONGEST_SILENCE {
            let what = format!("no price for {} s", silence.as_secs());
            moment.gaps.push(FeedGap { symbol: None, what });
        }
        for asset in &mut self.assets {
            asset.step(&mut self.random);
            moment.prices.push((asset.symbol.clone(), asset.cents()));
        }
        moment
    }
}

impl WalkAsset {
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

    fn step(&mut self, random: &mut SeededRandom) {
        if self.trend_left == 0 {
            self.trend = random.between(-20, 20);
            self.trend_left = 80 + random.below(400);
        }
        self.trend_left -= 1;
        // The sum of twelve uniform draws is nearly normal; its standard deviation is about four basis points a step.
        let noise = (0..12).map(|_| random.between(-400, 400)).sum::<i64>() / 2;
        let pull = (self.home - self.price) / (self.home / 500);
        let parts = noise + self.trend + pull / 20;
        self.price = (self.price + self.price / 1_000 * parts / 1_000).clamp(1_000_000, 100_000_000_000);
    }

    fn cents(&self) -> Decimal {
        Decimal::new(self.price / 10_000, 2)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn walk(seed: u64, steps: usize) -> Vec<Vec<(String, Decimal)>> {
        let symbols = ["SPY".to_owned(), "XYZ".to_owned()];
        let mut walk = RandomWalk::new(seed, &symbols, |_| None);
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
        let mut walk = RandomWalk::new(1, &["SPY".to_owned()], |_| None);
        let (at, now) = (DateTime::UNIX_EPOCH, Instant::now());
        assert!(walk.step(at, now).gaps.is_empty());
        assert_eq!(walk.step(at, now + Duration::from_secs(60)).gaps.len(), 1);
    }

    #[test]
    fn a_step_of_the_wall_clock_is_no_gap() {
        let mut walk = RandomWalk::new(1, &["SPY".to_owned()], |_| None);
        let (at, now) = (DateTime::UNIX_EPOCH, Instant::now());
        assert!(walk.step(at, now).gaps.is_empty());
        assert!(walk.step(at + TimeDelta::days(1), now + Duration::from_secs(1)).gaps.is_empty());
        assert!(walk.step(at, now + Duration::from_secs(2)).gaps.is_empty());
    }
}
