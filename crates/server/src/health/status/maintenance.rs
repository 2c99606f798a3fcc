//! Maintenance windows: hours in a time zone in which components may be out of order because they are worked on.
//!
//! A component in a window does not count for the system, but its checks go on. Windows are given as people name them
//! (zone, local start, duration, weekdays). Start and end are each resolved in the zone, so a window keeps its local
//! hours when the clocks change.

use chrono::{DateTime, Datelike, Duration, LocalResult, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use botops_core::error::FieldError;

/// Recurring hours in which components are checked and recorded, but not counted and not notified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct MaintenanceWindow {
    /// The id to remove it by.
    pub(crate) id: String,
    /// Ids of the components it covers; empty means all.
    pub(crate) components: Vec<String>,
    /// The IANA time zone of `start` and of the days, such as `America/New_York`.
    pub(crate) zone: String,
    /// Local time at which each window starts, `HH:MM`.
    pub(crate) start: String,
    /// Length of each window, in minutes.
    pub(crate) duration_minutes: u32,
    /// Days on which a window starts: `mon` to `sun`; empty means every day.
    #[serde(default)]
    pub(crate) days: Vec<String>,
    /// The first local day on which a window may start, `YYYY-MM-DD`; no limit when absent.
    #[serde(default)]
    pub(crate) from: Option<NaiveDate>,
    /// The last local day on which a window may start, `YYYY-MM-DD`; no limit when absent.
    #[serde(default)]
    pub(crate) until: Option<NaiveDate>,
    /// The creator's reason.
    pub(crate) comment: String,
    /// The name of the API key that created it.
    pub(crate) created_by: String,
}

impl MaintenanceWindow {
    /// Whether it covers this component, and one of its windows is open at this moment.
    pub(crate) fn covers(&self, component: &str, now: DateTime<Utc>) -> bool {
        let applies = self.components.is_empty() || self.components.iter().any(|id| id == component);
        applies && self.is_open(now)
    }

    /// Whether one of its windows is open at this moment.
    pub(crate) fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.windows_around(now).into_iter().any(|(start, end)| start <= now && now < end)
    }

    /// The windows that could include this moment: those that start on the local days around it.
    pub(crate) fn windows_around(&self, now: DateTime<Utc>) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let (Ok(zone), Ok(start)) =
            (self.zone.parse::<Tz>(), NaiveTime::parse_from_str(&self.start, "%H:%M"))
        else {
            return Vec::new();
        };
        let today = now.with_timezone(&zone).date_naive();
        let back = i64::from(self.duration_minutes / 1440) + 1;
        let days = (-back..=1).filter_map(|offset| today.checked_add_signed(Duration::days(offset)));
        days.filter(|day| self.starts_on(*day))
            .filter_map(|day| {
                let local_start = day.and_time(start);
                let local_end =
                    local_start.checked_add_signed(Duration::minutes(i64::from(self.duration_minutes)))?;
                let end = resolve(zone, local_end)?;
                let start = resolve(zone, local_start)?;
                (start < end).then_some((start, end))
            })
            .collect()
    }

    fn starts_on(&self, day: NaiveDate) -> bool {
        let named = self.days.is_empty()
            || self.days.iter().any(|name| name.parse::<Weekday>().is_ok_and(|known| known == day.weekday()));
        named && self.from.is_none_or(|from| day >= from) && self.until.is_none_or(|until| day <= until)
    }

    /// Everything that is wrong with it, field by field.
    pub(crate) fn defects(&self) -> Vec<FieldError> {
        let mut defects = Vec::new();
        let mut wrong = |pointer: &str, got: serde_json::Value, expected: &str| {
            let (pointer, expected) = (pointer.to_owned(), expected.to_owned());
            defects.push(FieldError { pointer, got, expected, ..FieldError::default() });
        };
        if self.zone.parse::<Tz>().is_err() {
            wrong(
                "/zone",
                botops_core::text::clean(&self.zone, 60).into(),
                "an IANA zone such as America/New_York",
            );
        }
        if NaiveTime::parse_from_str(&self.start, "%H:%M").is_err() {
            wrong("/start", botops_core::text::clean(&self.start, 20).into(), "a local time as HH:MM");
        }
        if self.duration_minutes == 0 || self.duration_minutes > 7 * 1440 {
            wrong("/duration_minutes", self.duration_minutes.into(), "1 to 10080");
        }
        if self.days.iter().any(|day| day.parse::<Weekday>().is_err()) {
            wrong("/days", serde_json::json!(self.days), "mon, tue, wed, thu, fri, sat, sun");
        }
        if self.comment.trim().is_empty() || self.comment.len() > 500 {
            wrong("/reason", botops_core::text::clean(&self.comment, 80).into(), "why, 1 to 500 characters");
        }
        if self.components.len() > 500 {
            wrong("/components", self.components.len().into(), "at most 500 components");
        }
        defects
    }
}

/// A local time as an instant: in a gap (clocks go forward) the end of the gap, in a fold the first occurrence.
fn resolve(zone: Tz, local: chrono::NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.with_timezone(&Utc)),
        LocalResult::None => {
            // Gaps are at most a few hours, and their ends lie on a full minute.
            (1..=240).find_map(|minute| {
                match zone.from_local_datetime(&(local + Duration::minutes(minute))) {
                    LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.with_timezone(&Utc)),
                    LocalResult::None => None,
                }
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: &str, minutes: u32, days: &[&str]) -> MaintenanceWindow {
        MaintenanceWindow {
            id: "m1".to_owned(),
            components: vec!["bot".to_owned()],
            zone: "America/New_York".to_owned(),
            start: start.to_owned(),
            duration_minutes: minutes,
            days: days.iter().map(|day| (*day).to_owned()).collect(),
            from: None,
            until: None,
            comment: "weekly restart".to_owned(),
            created_by: "operator".to_owned(),
        }
    }

    #[track_caller]
    fn check(window: &MaintenanceWindow, at: &str, expected: bool) {
        assert_eq!(window.covers("bot", at.parse().unwrap()), expected, "{at}");
    }

    #[test]
    fn a_window_keeps_its_local_hours_over_a_change_of_the_clocks() {
        let window = window("17:00", 60, &[]);
        check(&window, "2026-03-06T22:30:00Z", true);
        check(&window, "2026-03-10T21:30:00Z", true);
        check(&window, "2026-03-10T22:30:00Z", false);
        assert!(!window.covers("store", "2026-03-06T22:30:00Z".parse().unwrap()));
    }

    #[test]
    fn a_start_in_the_gap_moves_to_its_end_and_in_a_fold_the_first_one_counts() {
        let gap = window("02:30", 60, &["sun"]);
        check(&gap, "2026-03-08T06:59:00Z", false);
        check(&gap, "2026-03-08T07:00:00Z", true);
        check(&gap, "2026-03-08T07:29:00Z", true);
        check(&gap, "2026-03-08T07:30:00Z", false);
        let fold = window("01:30", 20, &["sun"]);
        check(&fold, "2026-11-01T05:40:00Z", true);
        check(&fold, "2026-11-01T06:40:00Z", false);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_starts() {
        let friday = window("23:00", 120, &["fri"]);
        check(&friday, "2026-06-06T04:30:00Z", true);
        check(&friday, "2026-06-07T04:30:00Z", false);
        check(&friday, "2026-06-06T03:30:00Z", true);
    }
}
