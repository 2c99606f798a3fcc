//! A market from a CSV file of OHLCV bars, of one symbol or many.
//!
//! The header names the columns: `date` or `timestamp`, `open`, `high`, `low`, `close`, optionally `volume` and
//! `symbol`. A bar becomes several price points on a path through its open, low, high and close, so that a stop price
//! inside a bar is reached. Quoted cells are not supported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::America::New_York;
use rust_decimal::Decimal;

use super::moment::{FeedGap, MarketMoment};
use super::price_digits::price_digits;
use crate::account::amount_bounds::price_fault;

/// Price points per bar: the open, the two extremes, the close, and one between each pair of them.
const POINTS: usize = 7;

/// Length of the regular session, over which the points of a daily bar are spread.
const SESSION: TimeDelta = TimeDelta::minutes(390);

/// The moments of a file in order of time.
#[derive(Debug)]
pub(crate) struct BarReplay {
    symbols: Vec<String>,
    moments: std::vec::IntoIter<MarketMoment>,
}

#[derive(Debug, Clone)]
struct PriceBar {
    open: Decimal,
    high: Decimal,
    low: Decimal,
    close: Decimal,
}

impl BarReplay {
    /// Reads the file. Moments up to and at `after` are skipped, so that a restarted bot continues where it was.
    pub(crate) fn read(path: &Path, after: Option<DateTime<Utc>>) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("REPLAY");
        Self::parse(&text, name, after)
    }

    fn parse(text: &str, name: &str, after: Option<DateTime<Utc>>) -> Result<Self, String> {
        let bars = bars(text, name)?;
        let symbols: BTreeSet<String> = bars.values().flat_map(|row| row.keys().cloned()).collect();
        if symbols.is_empty() {
            return Err("it has no bars".to_owned());
        }
        let daily = bars.keys().all(|start| start.daily);
        let mut moments = Vec::with_capacity(bars.len() * POINTS);
        let mut before: Option<BarStart> = None;
        for (start, row) in &bars {
            let gaps = gaps(before.as_ref(), start, row, &symbols, daily);
            moments.extend(points(start, row, gaps));
            before = Some(start.clone());
        }
        moments.retain(|moment| after.is_none_or(|after| moment.at > after));
        Ok(Self { symbols: symbols.into_iter().collect(), moments: moments.into_iter() })
    }

    pub(crate) fn symbols(&self) -> &[String] {
        &self.symbols
    }

    /// The next moment, or `None` at the end.
    pub(crate) fn step(&mut self) -> Option<MarketMoment> {
        self.moments.next()
    }
}

/// When a bar begins, and whether it is of a whole day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct BarStart {
    at: DateTime<Utc>,
    day: NaiveDate,
    daily: bool,
}

type BarRow = BTreeMap<String, PriceBar>;

fn bars(text: &str, name: &str) -> Result<BTreeMap<BarStart, BarRow>, String> {
    let mut lines = text.lines().enumerate();
    let (_, header) = lines.next().ok_or("it is empty")?;
    let header: Vec<String> = header.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    let column = |names: &[&str]| header.iter().position(|have| names.contains(&have.as_str()));
    let need = |names: &[&str]| column(names).ok_or(format!("its header lacks `{}`", names[0]));
    let time = need(&["date", "timestamp", "datetime", "time"])?;
    let prices = [need(&["open"])?, need(&["high"])?, need(&["low"])?, need(&["close"])?];
    let symbol = column(&["symbol", "ticker", "name"]);

    let mut bars: BTreeMap<BarStart, BarRow> = BTreeMap::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let at_line = |what: &str| format!("line {}: {what}", number + 1);
        let cell = |index: usize| cells.get(index).copied().ok_or(at_line("too few columns"));
        let start = BarStart::parse(cell(time)?).ok_or(at_line("the time is not understood"))?;
        let price = |index: usize| {
            let price = Decimal::from_str(cell(index)?).map_err(|_| at_line("a price is no number"))?;
            if price <= Decimal::ZERO {
                return Err(at_line("a price is not above zero"));
            }
            price_fault(&header[index], price).map_or(Ok(price), |fault| Err(at_line(&fault)))
        };
        let bar = PriceBar {
            open: price(prices[0])?,
            high: price(prices[1])?,
            low: price(prices[2])?,
            close: price(prices[3])?,
        };
        if bar.high < bar.low {
            return Err(at_line("the high is below the low"));
        }
        // A symbol of the file is taken as it is written; a file without any is named after itself, in capitals.
        let symbol =
            symbol.map_or_else(|| Ok(name.to_ascii_uppercase()), |at| cell(at).map(str::to_owned))?;
        if !botops_core::text::is_symbol(&symbol) {
            return Err(at_line("the symbol has no or more than 64 characters"));
        }
        bars.entry(start).or_default().insert(symbol, bar);
    }
    Ok(bars)
}

impl BarStart {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Some(Self { at: new_york(day.and_hms_opt(9, 30, 0)?)?, day, daily: true });
        }
        let at = match DateTime::parse_from_rfc3339(text) {
            Ok(at) => at.to_utc(),
            Err(_) => {
                let forms = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"];
                let local = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
                new_york(local)?
            }
        };
        Some(Self { at, day: at.with_timezone(&New_York).date_naive(), daily: false })
    }
}

fn new_york(local: NaiveDateTime) -> Option<DateTime<Utc>> {
    New_York.from_local_datetime(&local).earliest().map(|at| at.to_utc())
}

/// The price points of a bar: a falling bar reaches its high first, a rising one its low.
fn path(bar: &PriceBar) -> [Decimal; POINTS] {
    let (first, second) = if bar.close < bar.open { (bar.high, bar.low) } else { (bar.low, bar.high) };
    let digits = |a: Decimal, b: Decimal| price_digits(a).max(price_digits(b));
    let middle = |a: Decimal, b: Decimal| ((a + b) / Decimal::TWO).round_dp(digits(a, b));
    [
        bar.open,
        middle(bar.open, first),
        first,
        middle(first, second),
        second,
        middle(second, bar.close),
        bar.close,
    ]
}

fn points(start: &BarStart, row: &BarRow, mut gaps: Vec<FeedGap>) -> Vec<MarketMoment> {
    let width = if start.daily { SESSION } else { TimeDelta::seconds(60) };
    let paths: Vec<_> = row.iter().map(|(symbol, bar)| (symbol, path(bar))).collect();
    let mut step = TimeDelta::zero();
    let mut moments = Vec::with_capacity(POINTS);
    for point in 0..POINTS {
        let prices = paths.iter().map(|(symbol, path)| ((*symbol).clone(), path[point])).collect();
        moments.push(MarketMoment { at: start.at + step, prices, gaps: std::mem::take(&mut gaps) });
        // The last point is just before the end of the session.
        step += width / 7;
    }
    moments
}

fn gaps(
    before: Option<&BarStart>,
    now: &BarStart,
    row: &BarRow,
    symbols: &BTreeSet<String>,
    daily: bool,
) -> Vec<FeedGap> {
    let mut gaps: Vec<FeedGap> = symbols
        .iter()
        .filter(|symbol| !row.contains_key(*symbol))
        .map(|symbol| FeedGap { symbol: Some(symbol.clone()), what: format!("no bar on {}", now.day) })
        .collect();
    let Some(before) = before.filter(|_| daily) else { return gaps };
    let is_weekday = |day: &NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    let missing: Vec<NaiveDate> =
        before.day.iter_days().skip(1).take_while(|day| *day < now.day).filter(is_weekday).collect();
    if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
        let days = if first == last { first.to_string() } else { format!("{first} to {last}") };
        gaps.push(FeedGap {
            symbol: None,
            what: format!("no bars on {days}: a holiday, or data is missing"),
        });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "date,symbol,open,high,low,close,volume\n\
        2017-11-07,AAPL,173.91,175.25,173.60,174.81,24361485\n\
        2017-11-07,TSLA,301.02,306.50,300.03,306.05,5286320\n\
        2017-11-09,AAPL,175.11,176.095,173.14,175.88,29482596\n";

    fn read(text: &str) -> Vec<MarketMoment> {
        let mut replay = BarReplay::parse(text, "one", None).unwrap();
        std::iter::from_fn(|| replay.step()).collect()
    }

    #[test]
    fn a_daily_bar_becomes_points_from_open_to_close_inside_the_session() {
        let moments = read(TWO);
        assert_eq!(moments.len(), 2 * POINTS);
        let apple: Vec<String> =
            moments.iter().take(POINTS).map(|moment| moment.prices[0].1.to_string()).collect();
        assert_eq!(apple, ["173.91", "173.76", "173.60", "174.42", "175.25", "175.03", "174.81"]);
        assert_eq!(moments[0].at.to_rfc3339(), "2017-11-07T14:30:00+00:00");
        assert!(moments[6].at < moments[0].at + SESSION);
    }

    #[test]
    fn a_price_keeps_the_digits_of_the_file() {
        let moments = read("date,symbol,open,high,low,close\n2017-11-07,PENNY,0.1234,0.13,0.12,0.125\n");
        let prices: Vec<String> = moments.iter().map(|moment| moment.prices[0].1.to_string()).collect();
        assert_eq!(prices, ["0.1234", "0.1217", "0.12", "0.1250", "0.13", "0.1275", "0.125"]);
    }

    #[test]
    fn symbols_are_taken_as_they_are_written() {
        let symbols = ["BTC/USDT:USDT-261225", "ES=F", "^GSPC", "AAPL  251219C00150000", "1000pepe", "株式"];
        let rows = symbols.map(|symbol| format!("2017-11-07,{symbol},1,2,1,2\n")).concat();
        let moments = read(&format!("date,symbol,open,high,low,close\n{rows}"));
        let mut read: Vec<&str> = moments[0].prices.iter().map(|(symbol, _)| symbol.as_str()).collect();
        read.sort_by_key(|symbol| symbols.iter().position(|known| known == symbol));
        assert_eq!(read, symbols);
        let bad = "date,symbol,open,high,low,close\n2017-11-07,,1,2,1,2\n";
        assert!(BarReplay::parse(bad, "x", None).unwrap_err().contains("the symbol"));
    }

    #[test]
    fn missing_bars_are_gaps() {
        let moments = read(TWO);
        let gaps = &moments[POINTS].gaps;
        assert_eq!(gaps.len(), 2);
        assert_eq!(gaps[0].symbol.as_deref(), Some("TSLA"));
        assert!(gaps[1].what.contains("2017-11-08"));
    }

    #[test]
    fn a_file_without_symbols_is_named_after_itself() {
        let moments = read("timestamp,open,high,low,close\n2024-01-02 10:00:00,1,2,1,2\n");
        assert_eq!(moments[0].prices[0].0, "ONE");
    }

    #[test]
    fn a_bad_line_is_named() {
        let bad = "date,open,high,low,close\n2024-01-02,1,2,x,2\n";
        assert_eq!(BarReplay::parse(bad, "x", None).unwrap_err(), "line 2: a price is no number");
        assert!(BarReplay::parse("date,open\n", "x", None).unwrap_err().contains("high"));
    }

    #[test]
    fn a_restart_goes_on_after_what_was_seen() {
        let all = read(TWO);
        let rest = BarReplay::parse(TWO, "x", Some(all[3].at)).unwrap();
        assert_eq!(rest.moments.len(), all.len() - 4);
    }
}
