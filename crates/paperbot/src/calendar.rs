//! The New York Stock Exchange's calendar: trading days, early closes and the phase of the day.
//!
//! Holidays follow rules; closings that no rule gives come from a list and an override file. Time zone data is compiled
//! in, so daylight saving is right on a machine without such data. All intervals are half-open, `[open, close)`.
//! No broker is asked: a caller that has a broker's market clock compares it with this calendar.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::America::New_York;
use serde::Deserialize;

/// The rules were checked against a public calendar up to this year; for later instants a warning is logged.
const LAST_VERIFIED_YEAR: i32 = 2040;

/// Closings by proclamation, which no rule gives: year, month, day, reason.
const AD_HOC: &[(i32, u32, u32, &str)] = &[(2025, 1, 9, "national day of mourning")];

/// How many days are searched for the next session: more than any closing has lasted.
const DAYS_AHEAD: usize = 366;

/// The phases of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarketPhase {
    /// No trading.
    Closed,
    /// 04:00 to the opening.
    Pre,
    /// The regular session.
    Core,
    /// From the close to 20:00, or to 17:00 after an early close.
    Post,
}

/// One trading day, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TradingDay {
    /// The New York date.
    pub date: NaiveDate,
    /// Start of early trading, 04:00 in New York.
    pub pre_open: DateTime<Utc>,
    /// Start of the regular session.
    pub open: DateTime<Utc>,
    /// End of the regular session.
    pub close: DateTime<Utc>,
    /// End of late trading.
    pub post_close: DateTime<Utc>,
}

/// One entry of the override file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    date: NaiveDate,
    #[serde(default)]
    closed: bool,
    #[serde(default)]
    open: Option<String>,
    #[serde(default)]
    close: Option<String>,
    #[serde(default, rename = "reason")]
    _reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SpecialDay {
    Closed,
    Hours(NaiveTime, NaiveTime),
}

/// The rules, with the closings and hours of an override file.
#[derive(Debug, Clone, Default)]
pub struct Calendar {
    special: BTreeMap<NaiveDate, SpecialDay>,
}

impl MarketPhase {
    /// The phase's name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Pre => "pre",
            Self::Core => "core",
            Self::Post => "post",
        }
    }
}

impl Calendar {
    /// The rules and the known ad-hoc closings.
    pub fn new() -> Self {
        let ad_hoc =
            AD_HOC.iter().map(|(year, month, day, _)| (date(*year, *month, *day), SpecialDay::Closed));
        Self { special: ad_hoc.collect() }
    }

    /// The rules and what an override file says.
    ///
    /// The file is a YAML or JSON list of `{date, closed: true}` or `{date, open: "09:30", close: "13:00"}`, each with
    /// a `reason`.
    pub fn with_overrides(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let mut calendar = Self::new();
        calendar.add(&text)?;
        Ok(calendar)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let entries: Vec<Override> = crate::yaml_records::list_of_records(text)?;
        for entry in entries {
            let special = match (entry.closed, &entry.open, &entry.close) {
                (true, None, None) => SpecialDay::Closed,
                (false, open, close) if open.is_some() || close.is_some() => {
                    let open = clock_time(open.as_deref().unwrap_or("09:30"))?;
                    let close = clock_time(close.as_deref().unwrap_or("16:00"))?;
                    if open >= close {
                        return Err(format!(
                            "{}: it opens at {open}, after it closes at {close}",
                            entry.date
                        ));
                    }
                    SpecialDay::Hours(open, close)
                }
                _ => return Err(format!("{}: say either `closed: true` or hours", entry.date)),
            };
            self.special.insert(entry.date, special);
        }
        Ok(())
    }

    /// The trading day of a New York date; `None` when the market is closed all day.
    pub fn day(&self, day: NaiveDate) -> Option<TradingDay> {
        let (open, close) = match self.special.get(&day) {
            Some(SpecialDay::Closed) => return None,
            Some(SpecialDay::Hours(open, close)) => (*open, *close),
            None if is_weekend(day) || is_holiday(day) => return None,
            None if is_early_close(day) => (time(9, 30), time(13, 0)),
            None => (time(9, 30), time(16, 0)),
        };
        let post_close = if close < time(16, 0) { time(17, 0).max(close) } else { time(20, 0).max(close) };
        Some(TradingDay {
            date: day,
            pre_open: utc(day, time(4, 0).min(open)),
            open: utc(day, open),
            close: utc(day, close),
            post_close: utc(day, post_close),
        })
    }

    /// The phase at an instant.
    pub fn phase_at(&self, at: DateTime<Utc>) -> MarketPhase {
        let local = at.with_timezone(&New_York);
        let today = self.day(local.date_naive());
        if let Some(day) = today {
            let phases = [
                (day.pre_open, day.open, MarketPhase::Pre),
                (day.open, day.close, MarketPhase::Core),
                (day.close, day.post_close, MarketPhase::Post),
            ];
            for (from, to, phase) in phases {
                if from <= at && at < to {
                    return phase;
                }
            }
        }
        MarketPhase::Closed
    }

    /// Start of the first regular session that begins after an instant; `None` when none does within [`DAYS_AHEAD`].
    pub fn next_open(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.days_from(at).map(|day| day.open).find(|open| *open > at)
    }

    /// End of the regular session at an instant, or else of the next one; `None` as for [`Calendar::next_open`].
    pub fn next_close(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.days_from(at).map(|day| day.close).find(|close| *close > at)
    }

    fn days_from(&self, at: DateTime<Utc>) -> impl Iterator<Item = TradingDay> {
        let today = at.with_timezone(&New_York).date_naive();
        today.iter_days().take(DAYS_AHEAD).filter_map(|day| self.day(day))
    }

    /// Whether an instant lies in a daily window of New York time, `from` included and `to` not, on a trading day.
    pub fn in_window(&self, at: DateTime<Utc>, from: NaiveTime, to: NaiveTime) -> bool {
        let local = at.with_timezone(&New_York);
        let inside = from <= local.time() && local.time() < to;
        inside && self.day(local.date_naive()).is_some()
    }

    /// Whether the rules were not checked for this instant's year.
    pub fn is_unverified(at: DateTime<Utc>) -> bool {
        at.with_timezone(&New_York).year() > LAST_VERIFIED_YEAR
    }
}

fn is_weekend(day: NaiveDate) -> bool {
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

fn is_holiday(day: NaiveDate) -> bool {
    let year = day.year();
    // A 1 January on a Saturday is not observed on the Friday before: that is the last trading day of the year.
    let new_year = match date(year, 1, 1).weekday() {
        Weekday::Sat => None,
        Weekday::Sun => Some(date(year, 1, 2)),
        _ => Some(date(year, 1, 1)),
    };
    new_year == Some(day)
        || day == nth(year, 1, Weekday::Mon, 3)
        || day == nth(year, 2, Weekday::Mon, 3)
        || day == easter(year) - TimeDelta::days(2)
        || day == last_monday_of_may(year)
        || (year >= 2022 && day == observed(date(year, 6, 19)))
        || day == observed(date(year, 7, 4))
        || day == nth(year, 9, Weekday::Mon, 1)
        || day == nth(year, 11, Weekday::Thu, 4)
        || day == observed(date(year, 12, 25))
}

fn is_early_close(day: NaiveDate) -> bool {
    let year = day.year();
    let day_after_thanksgiving = nth(year, 11, Weekday::Thu, 4) + TimeDelta::days(1);
    let july_4 = date(year, 7, 4);
    let eve_of_july_4 = july_4 - TimeDelta::days(1);
    let christmas_eve = date(year, 12, 24);
    day == day_after_thanksgiving
        || (day == eve_of_july_4 && !is_weekend(july_4) && !is_weekend(day))
        || (day == christmas_eve && !is_weekend(day) && !is_holiday(day))
}

/// A fixed holiday moves from Saturday to Friday and from Sunday to Monday.
fn observed(day: NaiveDate) -> NaiveDate {
    match day.weekday() {
        Weekday::Sat => day - TimeDelta::days(1),
        Weekday::Sun => day + TimeDelta::days(1),
        _ => day,
    }
}

fn nth(year: i32, month: u32, weekday: Weekday, n: u8) -> NaiveDate {
    NaiveDate::from_weekday_of_month_opt(year, month, weekday, n)
        .expect("every month has four of each weekday")
}

fn last_monday_of_may(year: i32) -> NaiveDate {
    let last = date(year, 5, 31);
    last - TimeDelta::days(i64::from(last.weekday().num_days_from_monday()))
}

/// Gregorian computus (Butcher).
fn easter(year: i32) -> NaiveDate {
    let a = year % 19;
    let (b, c) = (year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let f = (b + 8) / 25;
    let g = (b - f + 1) / 3;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let days = h + l - 7 * m + 114;
    date(year, u32::try_from(days / 31).expect("3 or 4"), u32::try_from(days % 31 + 1).expect("1 to 31"))
}

fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a fixed day of the calendar")
}

fn time(hour: u32, minute: u32) -> NaiveTime {
    NaiveTime::from_hms_opt(hour, minute, 0).expect("a fixed time of day")
}

fn clock_time(text: &str) -> Result<NaiveTime, String> {
    NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| format!("`{text}` is not a time such as 09:30"))
}

/// Trading times lie far from the hour that daylight saving skips or repeats.
fn utc(day: NaiveDate, time: NaiveTime) -> DateTime<Utc> {
    let local = New_York.from_local_datetime(&day.and_time(time));
    local.earliest().map_or_else(|| day.and_time(time).and_utc(), |local| local.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = include_str!("../../../tests/data/nyse-2025-2030.txt");

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_rules_give_the_published_table() {
        let calendar = Calendar::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let year: i32 = cells[0].parse().unwrap();
            let mut closed = Vec::new();
            let mut early = Vec::new();
            let mut sessions = 0;
            for day in date(year, 1, 1).iter_days().take_while(|day| day.year() == year) {
                if is_weekend(day) {
                    assert!(calendar.day(day).is_none());
                    continue;
                }
                match calendar.day(day) {
                    None => closed.push(day.format("%m-%d").to_string()),
                    Some(hours) => {
                        sessions += 1;
                        if hours.close - hours.open < TimeDelta::hours(6) {
                            early.push(day.format("%m-%d").to_string());
                        }
                    }
                }
            }
            assert_eq!(closed.join(" "), cells[1], "closed in {year}");
            assert_eq!(early.join(" "), cells[2], "13:00 close in {year}");
            assert_eq!(sessions.to_string(), cells[3], "sessions in {year}");
        }
    }

    #[track_caller]
    fn phase(at: &str, expected: MarketPhase) {
        assert_eq!(Calendar::new().phase_at(instant(at)), expected, "{at}");
    }

    #[test]
    fn phases_are_half_open_and_follow_daylight_saving() {
        // Winter: 14:30 to 21:00 UTC.
        phase("2026-03-06T08:59:59Z", MarketPhase::Closed);
        phase("2026-03-06T09:00:00Z", MarketPhase::Pre);
        phase("2026-03-06T14:29:59Z", MarketPhase::Pre);
        phase("2026-03-06T14:30:00Z", MarketPhase::Core);
        phase("2026-03-06T20:59:59Z", MarketPhase::Core);
        phase("2026-03-06T21:00:00Z", MarketPhase::Post);
        phase("2026-03-07T01:00:00Z", MarketPhase::Closed);
        // Summer began on 8 March: 13:30 to 20:00 UTC; it ended on 1 November.
        phase("2026-03-09T13:30:00Z", MarketPhase::Core);
        phase("2026-03-09T20:00:00Z", MarketPhase::Post);
        phase("2026-10-30T13:30:00Z", MarketPhase::Core);
        phase("2026-11-02T13:30:00Z", MarketPhase::Pre);
        phase("2026-11-02T14:30:00Z", MarketPhase::Core);
        // A Saturday, a holiday, an early close.
        phase("2026-03-07T15:00:00Z", MarketPhase::Closed);
        phase("2026-07-03T15:00:00Z", MarketPhase::Closed);
        phase("2026-11-27T17:59:59Z", MarketPhase::Core);
        phase("2026-11-27T18:00:00Z", MarketPhase::Post);
        phase("2026-11-27T22:00:00Z", MarketPhase::Closed);
    }

    #[track_caller]
    fn next(at: &str, open: &str, close: &str) {
        let calendar = Calendar::new();
        let told = (calendar.next_open(instant(at)), calendar.next_close(instant(at)));
        assert_eq!(told, (Some(instant(open)), Some(instant(close))), "{at}");
    }

    #[test]
    fn the_next_session_is_found_over_nights_weekends_holidays_and_half_days() {
        // In a session, before and after it.
        next("2026-03-06T15:00:00Z", "2026-03-09T13:30:00Z", "2026-03-06T21:00:00Z");
        next("2026-03-05T12:00:00Z", "2026-03-05T14:30:00Z", "2026-03-05T21:00:00Z");
        next("2026-03-05T22:00:00Z", "2026-03-06T14:30:00Z", "2026-03-06T21:00:00Z");
        // A Saturday before the clocks change, and a night that is another date in UTC.
        next("2026-03-07T15:00:00Z", "2026-03-09T13:30:00Z", "2026-03-09T20:00:00Z");
        next("2026-03-06T02:00:00Z", "2026-03-06T14:30:00Z", "2026-03-06T21:00:00Z");
        // Thanksgiving, and the half day after it.
        next("2026-11-26T15:00:00Z", "2026-11-27T14:30:00Z", "2026-11-27T18:00:00Z");
        next("2026-11-27T17:00:00Z", "2026-11-30T14:30:00Z", "2026-11-27T18:00:00Z");
        // The very moments of opening and closing.
        next("2026-03-06T14:30:00Z", "2026-03-09T13:30:00Z", "2026-03-06T21:00:00Z");
        next("2026-03-06T21:00:00Z", "2026-03-09T13:30:00Z", "2026-03-09T20:00:00Z");
    }

    #[test]
    fn an_override_closes_shortens_and_reopens() {
        let mut calendar = Calendar::new();
        let text = "- {date: 2026-03-06, closed: true, reason: storm}\n\
                    - {date: 2026-03-09, close: '12:00', reason: power}\n\
                    - {date: 2025-01-09, open: '09:30', close: '16:00', reason: undone}\n";
        calendar.add(text).unwrap();
        assert!(calendar.day(date(2026, 3, 6)).is_none());
        assert_eq!(calendar.day(date(2026, 3, 9)).unwrap().close, instant("2026-03-09T16:00:00Z"));
        assert!(calendar.day(date(2025, 1, 9)).is_some());
    }

    #[test]
    fn an_override_file_is_read_or_its_fault_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calendar.yaml");
        let missing = Calendar::with_overrides(&path).unwrap_err();
        // The caller adds the name of the option; the path is not repeated, since it may be a misplaced secret.
        assert!(missing.contains("No such file") && !missing.contains("calendar.yaml"), "{missing}");
        std::fs::write(&path, "[{date: 2026-03-06, closed: true, reason: storm}]").unwrap();
        assert!(Calendar::with_overrides(&path).unwrap().day(date(2026, 3, 6)).is_none());
        std::fs::write(&path, "[{date: 2026-03-06}]").unwrap();
        let wrong = Calendar::with_overrides(&path).unwrap_err();
        assert!(wrong.starts_with("2026-03-06: say either"), "{wrong}");
    }

    #[test]
    fn a_new_year_on_a_sunday_moves_and_on_a_saturday_does_not() {
        let calendar = Calendar::new();
        assert!(calendar.day(date(2023, 1, 2)).is_none(), "the Monday after a Sunday");
        assert!(calendar.day(date(2021, 12, 31)).is_some(), "the Friday before a Saturday");
        assert!(calendar.day(date(2022, 1, 3)).is_some());
    }

    #[test]
    fn a_wrong_override_is_refused_with_its_date() {
        for text in [
            "- {date: 2026-03-06}",
            "- {date: 2026-03-06, closed: true, open: '09:30'}",
            "- {date: 2026-03-06, open: '16:00', close: '09:30'}",
            "- {date: 2026-03-06, close: '25:00'}",
            "- {date: 2026-03-06, closd: true}",
            "- {date: 2026-13-06, closed: true}",
        ] {
            assert!(Calendar::new().add(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_trading_window_is_new_york_time_on_trading_days() {
        let calendar = Calendar::new();
        let inside = |at| calendar.in_window(instant(at), time(7, 0), time(10, 0));
        assert!(inside("2026-03-06T12:00:00Z"));
        assert!(!inside("2026-03-06T15:00:00Z"));
        assert!(inside("2026-03-09T11:00:00Z"), "summer time");
        assert!(!inside("2026-03-07T13:00:00Z"), "Saturday");
        assert!(!inside("2026-12-25T13:00:00Z"), "Christmas");
    }

    #[test]
    fn years_beyond_the_check_say_so() {
        assert!(!Calendar::is_unverified(instant("2040-12-31T12:00:00Z")));
        assert!(Calendar::is_unverified(instant("2041-01-02T12:00:00Z")));
    }
}
