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
    /// Seconds back from now at which such a period ends; `None` for now.
    pub(crate) ends_back: Option<u64>,
    /// The time of the first day at which it begins, when the text gave one.
    pub(crate) starts: Option<NaiveTime>,
    /// The time of the last day at which it ends, when the text gave one.
    pub(crate) ends: Option<NaiveTime>,
    /// Whose clocks these are, where the text names another zone than the bot's.
    pub(crate) zone: Option<Tz>,
    /// Whether it has an end alone: "before yesterday".
    pub(crate) is_open: bool,
}

impl AskedPeriod {
    /// Whole days, both included.
    pub(crate) fn days(from: NaiveDate, to: NaiveDate) -> Self {
        Self {
            from,
            to,
            seconds: None,
            ends_back: None,
            starts: None,
            ends: None,
            zone: None,
            is_open: false,
        }
    }

    /// Whether it is this whole day.
    pub(crate) fn is_day(&self, day: NaiveDate) -> bool {
        *self == Self::days(day, day)
    }

    pub(crate) fn is_whole_days(&self) -> bool {
        *self == Self::days(self.from, self.to)
    }

    /// The same times on this day.
    pub(crate) fn on(self, day: NaiveDate) -> Self {
        Self { from: day, to: day, ..self }
    }

    /// What ends where this one begins, or with `is_included` where it ends.
    pub(crate) fn up_to(self, is_included: bool) -> Self {
        let open = Self { is_open: true, from: self.to, starts: None, ..self };
        match self.starts {
            _ if is_included || self.seconds.is_some() => open,
            Some(starts) => Self { from: self.from, to: self.from, ends: Some(starts), ..open },
            None => {
                let day = self.from.pred_opt().unwrap_or(self.from);
                Self { from: day, to: day, ends: None, ..open }
            }
        }
    }

    /// Its first instant, `None` where it has none; and the first one after it, `None` for one that reaches up to now or
    /// further.
    pub(crate) fn instants(
        &self,
        now: DateTime<Utc>,
        zone: Tz,
    ) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let zone = self.zone.unwrap_or(zone);
        if let Some(seconds) = self.seconds {
            let back = |seconds: u64| now - TimeDelta::seconds(i64::try_from(seconds).unwrap_or(86_400));
            let ends = self.ends_back.map(back);
            return if self.is_open { (None, Some(back(seconds))) } else { (Some(back(seconds)), ends) };
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
        let from = (!self.is_open).then(|| at(self.from, self.starts.unwrap_or(NaiveTime::MIN)));
        (from, Some(end).filter(|end| *end < now))
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
    /// The time zone that the text names beside its times; the bot's where it names none that is known.
    pub(crate) zone: Option<Tz>,
    /// Whether the time that the text names is still to come, so that nothing is read by it.
    pub(crate) is_to_come: bool,
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
