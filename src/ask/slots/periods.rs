//! Times in a text: periods of the past ("last week", "since monday") and durations from now on ("for two hours").
//!
//! The current day is a parameter, so the same text on the same day is always the same period.

use chrono::{Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, Timelike, Weekday};

use super::clock::{FoundPeriod, is_open_end, read_clock, read_hour, read_joined_clock, text_at};
use super::days_named::{month_of, seconds_until};
use super::values::{AskedPeriod, SlotValues};
use crate::ask::context::AskContext;
use crate::ask::spelling::small_number;
use crate::ask::word::{AskWord, SlotKind, mark_slot};

/// The days from which periods are counted.
pub(super) struct DayStarts {
    pub(super) today: NaiveDate,
    /// The first day of this week, of this month and of this year.
    monday: NaiveDate,
    month: NaiveDate,
    year: NaiveDate,
}

pub(super) fn days(from: NaiveDate, to: NaiveDate) -> AskedPeriod {
    AskedPeriod::days(from, to)
}

/// A part of days, from a full hour of the first to one of the last; without an end up to the end of the last.
fn part(from: (NaiveDate, u32), to: (NaiveDate, Option<u32>)) -> AskedPeriod {
    let hour = |hour: u32| NaiveTime::from_hms_opt(hour, 0, 0);
    AskedPeriod { starts: hour(from.1), ends: to.1.and_then(hour), ..days(from.0, to.0) }
}

impl DayStarts {
    pub(super) fn before(today: NaiveDate) -> Self {
        let monday = today.week(Weekday::Mon).first_day();
        let month = today.with_day(1).unwrap_or(today);
        Self { today, monday, month, year: today.with_ordinal(1).unwrap_or(today) }
    }

    fn ago(&self, days: u64) -> NaiveDate {
        self.today.checked_sub_days(Days::new(days)).unwrap_or(self.today)
    }

    /// A part of a day: "this morning", "yesterday afternoon", "last night", "the weekend".
    pub(super) fn of_a_part(&self, texts: &[String], at: usize) -> Option<FoundPeriod> {
        let (today, yesterday) = (self.today, self.ago(1));
        let first = text_at(texts, at);
        let night = || part((yesterday, 18), (today, Some(8)));
        let weekend = |back: u64| {
            let saturday = self.ago(u64::from((today.weekday().num_days_from_monday() + 2) % 7) + back);
            days(saturday, saturday.succ_opt().unwrap_or(saturday).min(today))
        };
        match first {
            "overnight" => return Some((night(), 1)),
            "tonight" => return Some((part((today, 18), (today, None)), 1)),
            _ => {}
        }
        let day = match first {
            "this" | "today" | "todays" => today,
            "yesterday" => yesterday,
            "last" | "the" | "past" | "previous" => match text_at(texts, at + 1) {
                "night" if first != "the" => return Some((night(), 2)),
                "weekend" => return Some((weekend(0), 2)),
                "evening" => yesterday,
                _ => return None,
            },
            "day" if text_at(texts, at + 1) == "before" && text_at(texts, at + 2) == "yesterday" => {
                return Some((days(self.ago(2), self.ago(2)), 3));
            }
            _ => return None,
        };
        let period = match text_at(texts, at + 1) {
            "morning" => part((day, 0), (day, Some(12))),
            "afternoon" => part((day, 12), (day, Some(18))),
            "evening" => part((day, 18), (day, None)),
            "night" if day == yesterday => night(),
            "night" => part((day, 18), (day, None)),
            "weekend" => weekend(0),
            _ => return None,
        };
        Some((period, 2))
    }

    /// "since 9:30", "after noon", "since 2 pm": from that time of today up to now.
    pub(super) fn since_a_time(&self, texts: &[String], at: usize) -> Option<FoundPeriod> {
        if at == 0 || !is_open_end(text_at(texts, at - 1)) {
            return None;
        }
        let (first, second) = (text_at(texts, at), text_at(texts, at + 1));
        // "Since 9": nothing is counted by it.
        let is_hour =
            text_at(texts, at - 1) == "since" && unit_seconds(second).is_none() && month_of(second).is_none();
        let found = read_clock(first, second).or_else(|| read_hour(first).filter(|_| is_hour));
        let (time, length) = found.or_else(|| read_joined_clock(first))?;
        Some((AskedPeriod { starts: Some(time), ..days(self.today, self.today) }, length))
    }

    /// "between 9:30 and 10", "from 14:00 to 15:30": a part of today.
    pub(super) fn between_times(&self, texts: &[String], at: usize, has_key: bool) -> Option<FoundPeriod> {
        let opener = at.checked_sub(1).map_or("", |before| text_at(texts, before));
        if !matches!(opener, "between" | "from") {
            return None;
        }
        let (from, length) = read_clock(text_at(texts, at), text_at(texts, at + 1))
            .or_else(|| read_hour(text_at(texts, at)))?;
        let joint = at + length;
        // "9:30 - 10:00": a dash alone is no word.
        let is_dash = length == 1 && text_at(texts, at).contains(':') && text_at(texts, joint).contains(':');
        let joint = if is_dash { joint.saturating_sub(1) } else { joint };
        if !is_dash && !matches!(text_at(texts, joint), "and" | "to" | "until" | "till") {
            return None;
        }
        let (last, second) = (text_at(texts, joint + 1), text_at(texts, joint + 2));
        let is_bare = read_clock(text_at(texts, at), text_at(texts, at + 1)).is_none();
        let (to, more) = read_clock(last, second)
            .or_else(|| read_hour(last).filter(|_| !has_key && unit_seconds(second).is_none()))?;
        // "Between 2 and 3 pm" are both of the afternoon.
        let is_later =
            is_bare && to.hour() > 12 && from.hour() <= 12 && (last.ends_with("pm") || second == "pm");
        let from = if is_later { from.overflowing_add_signed(TimeDelta::hours(12)).0 } else { from };
        let today = self.today;
        Some((
            AskedPeriod { starts: Some(from), ends: Some(to), ..days(today, today) },
            joint + 1 + more - at,
        ))
    }

    /// "in march", "for october": the month, of this year or the last.
    pub(super) fn of_a_month(&self, texts: &[String], at: usize) -> Option<FoundPeriod> {
        let before = at.checked_sub(1).map_or("", |before| text_at(texts, before));
        let is_named = matches!(
            before,
            "in" | "for"
                | "of"
                | "during"
                | "since"
                | "last"
                | "from"
                | "early"
                | "late"
                | "mid"
                | "this"
                | "all"
                | "month"
        );
        let month = month_of(text_at(texts, at)).filter(|_| is_named)?;
        if text_at(texts, at + 1).starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let first = NaiveDate::from_ymd_opt(self.today.year(), month, 1)?;
        let first = if first > self.today { first.with_year(self.today.year() - 1)? } else { first };
        let end = first.checked_add_months(Months::new(1))?.pred_opt()?;
        Some((days(first, end.min(self.today)), 1))
    }

    /// A period named by one word: "yesterday", "for the week".
    pub(super) fn of_one_word(&self, texts: &[String], at: usize) -> Option<FoundPeriod> {
        let after_the =
            at > 0 && matches!(text_at(texts, at - 1), "the" | "for" | "all" | "whole" | "entire" | "full");
        let from_to = match text_at(texts, at) {
            "today" | "intraday" | "daily" => (self.today, self.today),
            "yesterday" => (self.ago(1), self.ago(1)),
            "weekly" => (self.monday, self.today),
            "monthly" | "mtd" => (self.month, self.today),
            "ytd" => (self.year, self.today),
            "week" | "week's" if after_the => (self.monday, self.today),
            "month" | "month's" if after_the => (self.month, self.today),
            _ => return None,
        };
        Some((days(from_to.0, from_to.1), 1))
    }

    /// A period named by two words: "this week", "last month".
    pub(super) fn of_two_words(&self, texts: &[String], at: usize) -> Option<FoundPeriod> {
        let today = self.today;
        let recent = matches!(
            text_at(texts, at),
            "last" | "past" | "previous" | "recent" | "prior" | "preceding" | "latest"
        );
        let current = matches!(text_at(texts, at), "this" | "current");
        let period = match text_at(texts, at + 1).trim_end_matches('s') {
            "week" if current => days(self.monday, today),
            "month" if current => days(self.month, today),
            "year" if current => days(self.year, today),
            "week" if text_at(texts, at) == "past" => days(self.ago(6), today),
            "month" if text_at(texts, at) == "past" => days(self.ago(29), today),
            "week" if recent => {
                let since_monday = u64::from(today.weekday().num_days_from_monday());
                days(self.ago(7 + since_monday), self.monday.pred_opt().unwrap_or(today))
            }
            "month" if recent => {
                let end = self.month.pred_opt().unwrap_or(today);
                days(end.with_day(1).unwrap_or(end), end)
            }
            "year" if recent => days(self.ago(365), today),
            "hour" if recent => AskedPeriod { seconds: Some(3_600), ..days(today, today) },
            "minute" if recent => AskedPeriod { seconds: Some(60), ..days(today, today) },
            "day" if recent => days(self.ago(1), self.ago(1)),
            _ => return None,
        };
        Some((period, 2))
    }

    /// "the last 3 days", but not "for 3 days", which is a duration from now on.
    pub(super) fn of_a_count(&self, texts: &[String], at: usize) -> Option<FoundPeriod> {
        let text = |at: usize| text_at(texts, at);
        let (seconds, length) = read_span(text(at), text(at + 1), text(at + 2))?;
        // "It has not traded for two days" speaks of what is over.
        let is_over = texts.iter().take(at).any(|word| {
            matches!(word.as_str(), "has" | "have" | "had" | "been" | "was" | "were" | "did" | "not")
        });
        let is_ahead = at > 0 && text(at - 1) == "for" && !is_over;
        let is_over = is_over && at > 0 && text(at - 1) == "for";
        if at == 0 && text(length) != "ago" || is_ahead || !is_past(texts, at, length) && !is_over {
            return None;
        }
        let whole = seconds / 86_400;
        // "The last 24 hours" are hours, "the last day" is one of the calendar.
        let is_in_hours = text(at).ends_with('h')
            || text(at + 1).starts_with("hour")
            || text(at + length - 1).starts_with("hour");
        let less_than_a_day = (seconds < 86_400 || is_in_hours && seconds < 14 * 86_400).then_some(seconds);
        let reaches_yesterday = whole == 0 && seconds > 12 * 3_600;
        let back = whole.saturating_sub(1).max(u64::from(whole > 0)) + u64::from(reaches_yesterday);
        let period = days(self.ago(back), self.today);
        Some((AskedPeriod { seconds: less_than_a_day, ..period }, length))
    }
}

/// Reads a small number in digits or in words.
pub(super) fn read_number(word: &str) -> Option<u32> {
    if let Ok(number) = word.parse() {
        return Some(number);
    }
    let named = small_number(word).and_then(|number| u32::try_from(number).ok());
    named.or(match word {
        "a" | "an" => Some(1),
        "couple" => Some(2),
        "few" => Some(3),
        "dozen" => Some(12),
        "twenty-four" => Some(24),
        "twenty-five" => Some(25),
        "thirty" => Some(30),
        "forty" => Some(40),
        "fifty" => Some(50),
        "sixty" => Some(60),
        "hundred" => Some(100),
        "forty-five" => Some(45),
        "ninety" => Some(90),
        _ => None,
    })
}

/// The number of seconds in a unit of time.
pub(super) fn unit_seconds(word: &str) -> Option<u64> {
    match word.trim_end_matches('s') {
        "" if word == "s" => Some(1),
        "sec" | "second" => Some(1),
        "m" | "min" | "minute" => Some(60),
        "h" | "hr" | "hour" => Some(3_600),
        "d" | "day" => Some(86_400),
        "w" | "wk" | "week" => Some(604_800),
        "fortnight" => Some(1_209_600),
        "month" => Some(30 * 86_400),
        "quarter" => Some(91 * 86_400),
        "year" => Some(365 * 86_400),
        _ => None,
    }
}

/// `2h`, `90min`: a number and its unit in one word.
pub(super) fn read_compact(word: &str) -> Option<u64> {
    let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
    let rest = word.get(digits.len()..)?.trim_start_matches('-');
    if digits.is_empty() || rest.is_empty() {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit_seconds(rest)?)
}

/// "3 days", "a couple of hours", "24h": the number of seconds, and the number of words that name it.
pub(super) fn read_span(first: &str, second: &str, third: &str) -> Option<(u64, usize)> {
    if let Some(seconds) = read_compact(first) {
        return Some((seconds, 1));
    }
    if first == "half" && second == "an" && third.starts_with("hour") {
        return Some((1_800, 3));
    }
    if first == "quarter" && second == "of" && third == "an" {
        return Some((900, 4));
    }
    let count = u64::from(read_number(first)?);
    if let Some(seconds) = unit_seconds(second)
        .filter(|_| !matches!(second, "m" | "s" | "d" | "w" | "h") || first.parse::<u32>().is_ok())
    {
        return Some((count.checked_mul(seconds)?, 2));
    }
    if second == "of" {
        return unit_seconds(third).and_then(|seconds| Some((count.checked_mul(seconds)?, 3)));
    }
    None
}

fn is_past(texts: &[String], at: usize, length: usize) -> bool {
    let text = |at: usize| text_at(texts, at);
    let before = [at.checked_sub(1), at.checked_sub(2)].into_iter().flatten().map(text);
    let mut before = before.into_iter();
    before.any(|word| {
        matches!(
            word,
            "last"
                | "past"
                | "previous"
                | "recent"
                | "in"
                | "over"
                | "since"
                | "preceding"
                | "within"
                | "latest"
                | "--since"
        )
    }) || text(at + length) == "ago"
}

pub(super) fn read_date(texts: &[String], at: usize, today: NaiveDate) -> Option<(NaiveDate, usize)> {
    let text = |at: usize| text_at(texts, at);
    if let Ok(date) = NaiveDate::parse_from_str(text(at), "%Y-%m-%d") {
        return Some((date, 1));
    }
    let day_of = |word: &str| {
        word.trim_end_matches(|c: char| c.is_ascii_alphabetic())
            .parse::<u32>()
            .ok()
            .filter(|day| (1..=31).contains(day))
    };
    let in_this_or_last_year = |month: u32, day: u32| {
        let date = NaiveDate::from_ymd_opt(today.year(), month, day)?;
        if date > today { NaiveDate::from_ymd_opt(today.year() - 1, month, day) } else { Some(date) }
    };
    if let (Some(month), Some(day)) = (month_of(text(at)), day_of(text(at + 1))) {
        return in_this_or_last_year(month, day).map(|date| (date, 2));
    }
    if let (Some(day), Some(month)) = (day_of(text(at)), month_of(text(at + 1))) {
        return in_this_or_last_year(month, day).map(|date| (date, 2));
    }
    // "The 14th of May".
    if let (Some(day), Some(month)) =
        (day_of(text(at)).filter(|_| text(at + 1) == "of"), month_of(text(at + 2)))
    {
        return in_this_or_last_year(month, day).map(|date| (date, 3));
    }
    let weekday: Weekday = text(at).trim_end_matches("'s").parse().ok().filter(|_| text(at).len() >= 6)?;
    let mut day = today.pred_opt()?;
    while day.weekday() != weekday {
        day = day.pred_opt()?;
    }
    Some((day, 1))
}

/// A span with the smaller ones behind it: "2h 30m", "an hour and 20 minutes", "an hour and a half".
fn with_the_rest(texts: &[String], at: usize, seconds: u64, length: usize) -> (u64, usize) {
    let text = |ahead: usize| text_at(texts, at + ahead);
    let joint = length + usize::from(text(length) == "and");
    if joint > length && text(joint) == "a" && text(joint + 1) == "half" {
        let unit = unit_seconds(text(length - 1)).unwrap_or_default();
        return (seconds.saturating_add(unit / 2), joint + 2);
    }
    match read_span(text(joint), text(joint + 1), text(joint + 2)) {
        Some((rest, more)) if rest < seconds && rest < 3_600 => (seconds.saturating_add(rest), joint + more),
        _ => (seconds, length),
    }
}

/// Reads a duration from now on, such as "for 2 hours".
pub(super) fn read_duration(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    // The words of a time zone stand between a time and its day: "17:00 utc tomorrow".
    let is_zone = |word: &AskWord| word.slot == Some(SlotKind::Zone);
    let places: Vec<usize> =
        words.iter().enumerate().filter(|(_, word)| !is_zone(word)).map(|(at, _)| at).collect();
    let lower = |at: &usize| words.get(*at).map_or_else(String::new, |word| word.lower.clone());
    let texts: Vec<String> = places.iter().map(lower).collect();
    let text = |at: usize| text_at(&texts, at);
    for (at, place) in places.iter().enumerate() {
        if words.get(*place).is_some_and(|word| word.slot.is_some()) {
            continue;
        }
        let zone = slots.zone.unwrap_or(context.zone);
        let until = seconds_until(&texts, at, context.now, zone).filter(|_| slots.keys.is_empty());
        let found = until.or_else(|| read_span(text(at), text(at + 1), text(at + 2)));
        let Some((seconds, length)) = found else { continue };
        let (seconds, length) = with_the_rest(&texts, at, seconds, length);
        slots.seconds = Some(seconds);
        for place in places.iter().skip(at).take(length) {
            mark_slot(words, *place, SlotKind::Duration);
        }
        return;
    }
}
