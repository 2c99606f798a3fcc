//! The bot's trading day: whose midnight begins it, and which one the numbers of a report are of.

use chrono::{DateTime, NaiveDate, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::America::New_York;
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;

use super::snapshot::BotSnapshot;

/// A day of which only the beginning is known is over after this: one has 25 hours where a clock is set back.
const LONGEST_DAY: TimeDelta = TimeDelta::hours(25);

/// Whatever its zone, the midday of a day has the date of that day in UTC.
const HALF_A_DAY: TimeDelta = TimeDelta::hours(12);

/// The trading day that the numbers of a day (`daily_pnl`, `trades_today`) are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReportedDay {
    /// Its date in the bot's time zone.
    pub date: NaiveDate,
    /// True when another day has begun since: they are no numbers of today then.
    pub is_over: bool,
}

impl ReportedDay {
    /// The day that the last report is of; `None` when there never was one, or nothing says when it was.
    pub(crate) fn of(seen: &BotSnapshot, now: DateTime<Utc>) -> Option<Self> {
        let report = seen.report.as_deref()?;
        let (zone, zone_source) = day_zone(seen);
        let market = &report.market;
        let replayed = market.market_time.filter(|_| market.source.as_deref() == Some("replay"));
        if let Some(now) = replayed {
            // Time stands still in a replay whose bot is gone.
            return Some(Self { date: trading_day(now, zone), is_over: false });
        }
        if let Some(began) = report.day.began_at.filter(|_| zone_source != "bot") {
            let date = trading_day(began + HALF_A_DAY, Tz::UTC);
            return Some(Self { date, is_over: now - began >= LONGEST_DAY });
        }
        let moment = report.day.began_at.or(report.as_of).or(seen.received_at)?;
        let date = trading_day(moment, zone);
        Some(Self { date, is_over: trading_day(now, zone) > date })
    }
}

/// The time zone of the bot's day, and who says so: `bot`, or `default`.
pub(crate) fn day_zone(seen: &BotSnapshot) -> (Tz, &'static str) {
    let named = seen.report.as_ref().and_then(|report| report.day.zone.as_deref()?.parse().ok());
    let contract = seen.hello.as_ref().and_then(|hello| hello.contract);
    match (named, contract) {
        (Some(zone), _) => (zone, "bot"),
        // Contract 1 says that a day is New York's.
        (None, Some(1)) => (New_York, "default"),
        (None, _) => (Tz::UTC, "default"),
    }
}

/// The calendar day of an instant. At the ends of what a date can hold, where a zone has none, it is the day of UTC.
pub(crate) fn trading_day(at: DateTime<Utc>, zone: Tz) -> NaiveDate {
    let utc = at.naive_utc();
    let offset = zone.offset_from_utc_datetime(&utc).fix();
    utc.checked_add_offset(offset).unwrap_or(utc).date()
}
