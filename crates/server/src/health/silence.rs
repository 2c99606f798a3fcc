//! When to keep quiet: silences with matchers, and maintenance windows in a time zone.
//!
//! Pure. A silence hides notices, a window takes a component out of the count; neither stops a check. Windows are
//! given as people say them (zone, local start, duration, weekdays): start and end are resolved in the zone each on
//! its own, so a window keeps its local hours across a change of the clocks. Deliberately absent: an endless silence.

use chrono::{DateTime, Datelike, Duration, LocalResult, NaiveDate, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use regex::Regex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::alerts::Labels;
use botops_core::error::FieldError;

/// Longest a silence may last.
const LONGEST: Duration = Duration::days(30);

/// Matchers of one silence at most.
const MATCHERS: usize = 20;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Comparison {
    /// Equal.
    #[serde(rename = "=")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// The whole value matches the regular expression.
    #[serde(rename = "=~")]
    Like,
    /// It does not.
    #[serde(rename = "!~")]
    NotLike,
}

/// One condition on a label. A missing label counts as empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// The label: `alertname`, `component`, `severity`.
    pub name: String,
    /// How to compare.
    #[serde(default = "equal")]
    pub op: Comparison,
    /// What to compare with.
    pub value: String,
}

fn equal() -> Comparison {
    Comparison::Equal
}

impl Matcher {
    fn matches(&self, labels: &Labels, severity: &str) -> bool {
        let value = if self.name == "severity" {
            severity
        } else {
            labels.get(&self.name).map_or("", String::as_str)
        };
        let like = || whole(&self.value).is_ok_and(|expression| expression.is_match(value));
        match self.op {
            Comparison::Equal => value == self.value,
            Comparison::NotEqual => value != self.value,
            Comparison::Like => like(),
            Comparison::NotLike => !like(),
        }
    }
}

/// Anchored at both ends, as Alertmanager reads it; small, so that nobody can make it slow.
fn whole(expression: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{expression})$")).size_limit(100_000).build()
}

/// A silence: who, why, until when, for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// The key that made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// From when.
    pub starts_at: DateTime<Utc>,
    /// Until when.
    pub ends_at: DateTime<Utc>,
}

impl Silence {
    /// `pending`, `active` or `expired`.
    pub fn state(&self, now: DateTime<Utc>) -> &'static str {
        if now < self.starts_at {
            "pending"
        } else if now < self.ends_at {
            "active"
        } else {
            "expired"
        }
    }

    /// Whether it holds back notices about an alert with these labels.
    pub fn matches(&self, labels: &Labels, severity: &str, now: DateTime<Utc>) -> bool {
        self.state(now) == "active" && self.matchers.iter().all(|matcher| matcher.matches(labels, severity))
    }

    /// What is wrong with it.
    pub fn defects(&self, now: DateTime<Utc>) -> Vec<FieldError> {
        let mut defects = Vec::new();
        let mut wrong = |pointer: String, got: serde_json::Value, expected: &str| {
            defects.push(FieldError { pointer, got, expected: expected.to_owned() });
        };
        if self.matchers.is_empty() || self.matchers.len() > MATCHERS {
            wrong("/matchers".to_owned(), self.matchers.len().into(), "1 to 20 matchers");
        }
        for (index, matcher) in self.matchers.iter().enumerate() {
            if matcher.name.is_empty() || matcher.name.len() > 64 {
                wrong(format!("/matchers/{index}/name"), matcher.name.clone().into(), "the name of a label");
            }
            let is_pattern = matches!(matcher.op, Comparison::Like | Comparison::NotLike);
            if matcher.value.len() > 256 || (is_pattern && whole(&matcher.value).is_err()) {
                let got = botops_core::text::clean(&matcher.value, 80);
                wrong(
                    format!("/matchers/{index}/value"),
                    got.into(),
                    "at most 256 characters, a valid pattern for =~",
                );
            }
        }
        if self.comment.trim().is_empty() || self.comment.len() > 500 {
            wrong(
                "/comment".to_owned(),
                botops_core::text::clean(&self.comment, 80).into(),
                "why, 1 to 500 characters",
            );
        }
        if self.ends_at <= self.starts_at || self.ends_at <= now {
            wrong(
                "/ends_at".to_owned(),
                self.ends_at.to_rfc3339().into(),
                "a time after `starts_at` and after now",
            );
        } else if self.ends_at - self.starts_at > LONGEST {
            wrong(
                "/ends_at".to_owned(),
                self.ends_at.to_rfc3339().into(),
                "at most 30 days after `starts_at`",
            );
        }
        defects
    }
}

/// A window in which components are expected to be in work: probed and recorded, not counted, not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Maintenance {
    /// Its id.
    pub id: String,
    /// Which components; empty means all.
    pub components: Vec<String>,
    /// The zone its hours are meant in, such as `America/New_York`.
    pub zone: String,
    /// Local start of each window, `HH:MM`.
    pub start: String,
    /// How long, in minutes.
    pub duration_minutes: u32,
    /// On which days it starts: `mon` to `sun`; empty means every day.
    #[serde(default)]
    pub days: Vec<String>,
    /// The first local day, `YYYY-MM-DD`; from the start of time when absent.
    #[serde(default)]
    pub from: Option<NaiveDate>,
    /// The last local day a window starts on.
    #[serde(default)]
    pub until: Option<NaiveDate>,
    /// Why.
    pub comment: String,
    /// The key that made it.
    pub created_by: String,
}

impl Maintenance {
    /// Whether it covers this component at this moment.
    pub fn covers(&self, component: &str, now: DateTime<Utc>) -> bool {
        let applies = self.components.is_empty() || self.components.iter().any(|id| id == component);
        applies && self.is_open(now)
    }

    /// Whether a window is open.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.windows_around(now).into_iter().any(|(start, end)| start <= now && now < end)
    }

    /// The windows that could touch this moment: those that start on the local days around it.
    pub fn windows_around(&self, now: DateTime<Utc>) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
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

    /// What is wrong with it.
    pub fn defects(&self) -> Vec<FieldError> {
        let mut defects = Vec::new();
        let mut wrong = |pointer: &str, got: serde_json::Value, expected: &str| {
            defects.push(FieldError { pointer: pointer.to_owned(), got, expected: expected.to_owned() });
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
            wrong("/comment", botops_core::text::clean(&self.comment, 80).into(), "why, 1 to 500 characters");
        }
        if self.components.len() > 500 {
            wrong("/components", self.components.len().into(), "at most 500 components");
        }
        defects
    }
}

/// A local time as an instant: in a gap the end of the gap, in a fold the first occurrence.
fn resolve(zone: Tz, local: chrono::NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.with_timezone(&Utc)),
        LocalResult::None => {
            // Gaps are at most a few hours; their end lies on a minute.
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

    fn window(start: &str, minutes: u32, days: &[&str]) -> Maintenance {
        Maintenance {
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
    fn check(window: &Maintenance, at: &str, expected: bool) {
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

    fn silence(matchers: Vec<Matcher>) -> Silence {
        Silence {
            id: "s1".to_owned(),
            matchers,
            created_by: "operator".to_owned(),
            comment: "known".to_owned(),
            starts_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            ends_at: "2026-01-02T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_silence_matches_whole_values_while_it_is_active() {
        let labels: Labels = [("component".to_owned(), "feed-2".to_owned())].into();
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        let matches = |op, value: &str| {
            let matcher = Matcher { name: "component".to_owned(), op, value: value.to_owned() };
            silence(vec![matcher]).matches(&labels, "high", now)
        };
        assert!(matches(Comparison::Equal, "feed-2"));
        assert!(matches(Comparison::Like, "feed-.*"));
        assert!(!matches(Comparison::Like, "feed"));
        assert!(matches(Comparison::NotLike, "feed"));
        assert!(!matches(Comparison::NotEqual, "feed-2"));
        let severity =
            Matcher { name: "severity".to_owned(), op: Comparison::Equal, value: "high".to_owned() };
        assert!(silence(vec![severity.clone()]).matches(&labels, "high", now));
        assert!(!silence(vec![severity.clone()]).matches(&labels, "critical", now));
        assert!(!silence(vec![severity]).matches(&labels, "high", "2026-01-02T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_silence_without_end_comment_or_valid_pattern_is_refused() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let good = Matcher { name: "component".to_owned(), op: Comparison::Like, value: "a.*".to_owned() };
        assert!(silence(vec![good.clone()]).defects(now).is_empty());
        let bad = Matcher { value: "(".to_owned(), ..good.clone() };
        assert_eq!(silence(vec![bad]).defects(now)[0].pointer, "/matchers/0/value");
        assert_eq!(silence(vec![]).defects(now)[0].pointer, "/matchers");
        let long = Silence { ends_at: "2026-03-01T00:00:00Z".parse().unwrap(), ..silence(vec![good]) };
        assert_eq!(long.defects(now)[0].pointer, "/ends_at");
    }
}
