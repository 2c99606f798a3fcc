//! The values that were found in a text.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::Value;

/// A period of days, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedPeriod {
    pub(crate) from: NaiveDate,
    pub(crate) to: NaiveDate,
    /// Seconds back from now, when the text gave less than a day instead of days.
    pub(crate) seconds: Option<u64>,
    /// The time of the first day at which it begins, when the text gave one.
    pub(crate) starts: Option<NaiveTime>,
    /// The time of the last day at which it ends, when the text gave one.
    pub(crate) ends: Option<NaiveTime>,
}

impl AskedPeriod {
    /// Whole days, both included.
    pub(crate) fn days(from: NaiveDate, to: NaiveDate) -> Self {
        Self { from, to, seconds: None, starts: None, ends: None }
    }

    /// Whether it is this whole day.
    pub(crate) fn is_day(&self, day: NaiveDate) -> bool {
        *self == Self::days(day, day)
    }

    pub(crate) fn is_whole_days(&self) -> bool {
        *self == Self::days(self.from, self.to)
    }

    /// Its first instant, and the first one after it; `None` for one that reaches up to now or further.
    pub(crate) fn instants(&self, now: DateTime<Utc>, zone: Tz) -> (DateTime<Utc>, Option<DateTime<Utc>>) {
        if let Some(seconds) = self.seconds {
            let back = TimeDelta::seconds(i64::try_from(seconds).unwrap_or(86_400));
            return (now - back, None);
        }
        let at = |day: NaiveDate, time: NaiveTime| {
            let local = day.and_time(time);
            // An hour that the clock leaves out is taken as the one after it.
            let found = local.and_local_timezone(zone).earliest();
            let found = found.or_else(|| (local + TimeDelta::hours(1)).and_local_timezone(zone).earliest());
            found.map_or(now, |found| found.with_timezone(&Utc))
        };
        let end = match self.ends {
            Some(time) => at(self.to, time),
            None => at(self.to.succ_opt().unwrap_or(self.to), NaiveTime::MIN),
        };
        (at(self.from, self.starts.unwrap_or(NaiveTime::MIN)), Some(end).filter(|end| *end < now))
    }
}

/// A value that a text can want a config field to have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WantedValue {
    pub(crate) key: String,
    /// In the field's own unit and JSON type.
    pub(crate) value: Value,
    /// The field with its unit, its present value and the new one, in words.
    pub(crate) why: String,
    /// Whether what the text says can be brought into the field's unit.
    pub(crate) fits: bool,
    /// Whether the field's schema does not take the value; `why` says so.
    pub(crate) is_refused: bool,
}

/// With these words `why` says that a value is outside of what its field takes.
pub(crate) const WOULD_BE_REFUSED: &str = "would be refused";

/// Every value found in a text.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlotValues {
    pub(crate) symbols: Vec<String>,
    pub(crate) period: Option<AskedPeriod>,
    /// How many items of a list are wanted.
    pub(crate) count: Option<usize>,
    pub(crate) code: Option<String>,
    /// The code of the broker with which somebody signs in.
    pub(crate) sign_in_code: Option<String>,
    /// Config paths that fit equally well; exactly one when the text is unambiguous.
    pub(crate) keys: Vec<String>,
    pub(crate) value: Option<Value>,
    /// What the value comes to for each field that can be meant; one when the text is unambiguous.
    pub(crate) wanted: Vec<WantedValue>,
    pub(crate) workflow: Option<String>,
    /// Whether the text has the workflow's id exactly as it is written.
    pub(crate) workflow_is_exact: bool,
    pub(crate) seconds: Option<u64>,
    pub(crate) component: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) versions: Vec<String>,
}
