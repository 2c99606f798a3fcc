//! Which trades: windows and ranges by the days of the bot's time zone.

use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::bots::trading_day;

/// The years that a bound may lie in, as the contract has them: arithmetic on further ones leaves what a date can hold.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=9999;

/// A half-open range of time: from its first instant to just before its last; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TradeRange {
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
}

/// A named window that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PerformanceWindow {
    Day,
    Week,
    Month,
    Year,
    All,
}

impl PerformanceWindow {
    pub(super) const NAMES: &'static str = "day, week, month, year or all";

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
            Self::All => "all",
        }
    }

    /// The window in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Day => "today",
            Self::Week => "this week, from Monday",
            Self::Month => "this calendar month",
            Self::Year => "this calendar year",
            Self::All => "all trades that are kept",
        }
    }

    /// The calendar day, week (from Monday), month or year that `now` lies in.
    pub(super) fn range(self, now: DateTime<Utc>, zone: Tz) -> TradeRange {
        let today = trading_day(now, zone);
        let first = match self {
            Self::Day => Some(today),
            Self::Week => {
                today.checked_sub_days(Days::new(u64::from(today.weekday().num_days_from_monday())))
            }
            Self::Month => today.with_day(1),
            Self::Year => today.with_day(1).and_then(|day| day.with_month(1)),
            Self::All => None,
        };
        TradeRange { from: first.map(|day| midnight(day, zone)), to: None }
    }
}

impl FromStr for PerformanceWindow {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "day" | "daily" | "today" => Ok(Self::Day),
            "week" | "weekly" => Ok(Self::Week),
            "month" | "monthly" => Ok(Self::Month),
            "year" | "yearly" => Ok(Self::Year),
            "all" => Ok(Self::All),
            _ => Err(()),
        }
    }
}

/// The start of a bound: a day's midnight, a month's first, or an instant as given.
pub(super) fn lower_bound(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    day_or_month(text).map(|day| midnight(day, zone)).or_else(|| instant(text))
}

/// The end of a bound, not included: the midnight after a day, the first of the next month, or an instant.
pub(super) fn upper_bound(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    let Some(first) = day_or_month(text) else { return instant(text) };
    let after = if text.len() == "2026-03".len() {
        first.checked_add_months(Months::new(1))
    } else {
        first.checked_add_days(Days::new(1))
    };
    after.map(|day| midnight(day, zone))
}

fn day_or_month(text: &str) -> Option<NaiveDate> {
    let day: Option<NaiveDate> = text.parse().ok().or_else(|| format!("{text}-01").parse().ok());
    day.filter(|day| YEARS.contains(&day.year()))
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    // A `+` that was not escaped arrives as a space.
    let at = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?.with_timezone(&Utc);
    YEARS.contains(&at.year()).then_some(at)
}

/// The first instant of a day. Where a clock skips midnight, the day begins with the first hour that there is.
fn midnight(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let local = day.and_time(NaiveTime::MIN);
    let begins = |hours: i64| zone.from_local_datetime(&(local + TimeDelta::hours(hours))).earliest();
    (0..3).find_map(begins).map_or_else(|| local.and_utc(), |at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use chrono_tz::America::{New_York, Santiago};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    #[test]
    fn a_day_is_new_yorks_and_follows_its_clock() {
        // 03:00 UTC is still the evening before in New York.
        assert_eq!(trading_day(at("2026-03-10T03:00:00Z"), New_York).to_string(), "2026-03-09");
        assert_eq!(
            PerformanceWindow::Day.range(at("2026-01-15T12:00:00Z"), New_York).from,
            Some(at("2026-01-15T05:00:00Z"))
        );
        assert_eq!(
            PerformanceWindow::Day.range(at("2026-07-15T12:00:00Z"), New_York).from,
            Some(at("2026-07-15T04:00:00Z"))
        );
        assert_eq!(
            PerformanceWindow::Week.range(at("2026-03-11T12:00:00Z"), New_York).from,
            Some(at("2026-03-09T04:00:00Z"))
        );
    }

    #[test]
    fn no_date_is_too_far_out() {
        for zone in [New_York, Santiago, Tz::UTC, chrono_tz::Pacific::Kiritimati] {
            for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                assert!(!trading_day(at, zone).to_string().is_empty());
            }
            for text in [
                "+262142-12-31",
                "-262143-01-01",
                "+262142-12",
                "0000-01-01",
                "-0001-01",
                "0001-01-01T00:00:00Z",
            ] {
                assert_eq!((lower_bound(text, zone), upper_bound(text, zone)), (None, None), "{text}");
            }
            assert!(upper_bound("9999-12-31", zone).is_some());
        }
    }

    #[test]
    fn bounds_are_days_months_or_instants() {
        assert_eq!(lower_bound("2026-03-01", New_York), Some(at("2026-03-01T05:00:00Z")));
        assert_eq!(upper_bound("2026-03-31", New_York), Some(at("2026-04-01T04:00:00Z")));
        assert_eq!(upper_bound("2026-03", New_York), Some(at("2026-04-01T04:00:00Z")));
        assert_eq!(lower_bound("2026-03-01T00:00:00Z", New_York), Some(at("2026-03-01T00:00:00Z")));
        assert_eq!(lower_bound("yesterday", New_York), None);
        // In Santiago the clock skips this midnight.
        assert_eq!(lower_bound("2026-09-06", Santiago), Some(at("2026-09-06T04:00:00Z")));
        assert_eq!(lower_bound("2026-03-01", Tz::UTC), Some(at("2026-03-01T00:00:00Z")));
    }
}
