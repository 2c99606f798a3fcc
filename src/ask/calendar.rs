//! Times inside a text: days of the past ("last week", "since monday") and times to come ("for two hours").
//!
//! The day is given, so the same text on the same day is always the same period.

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::slots::{Period, Slot, Slots, mark};
use super::vocabulary::Word;

/// A small number in digits or in words.
fn number(word: &str) -> Option<u32> {
    const NAMES: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    if let Ok(number) = word.parse() {
        return Some(number);
    }
    let named = NAMES.iter().position(|name| *name == word).and_then(|place| u32::try_from(place).ok());
    named.or(match word {
        "a" | "an" => Some(1),
        "couple" => Some(2),
        "few" => Some(3),
        "fifteen" => Some(15),
        "twenty" => Some(20),
        "thirty" => Some(30),
        "forty-five" => Some(45),
        "ninety" => Some(90),
        _ => None,
    })
}

/// Seconds in a unit of time.
fn unit(word: &str) -> Option<u64> {
    match word.trim_end_matches('s') {
        "" if word == "s" => Some(1),
        "sec" | "second" => Some(1),
        "m" | "min" | "minute" => Some(60),
        "h" | "hr" | "hour" => Some(3_600),
        "d" | "day" => Some(86_400),
        "w" | "wk" | "week" => Some(604_800),
        "month" => Some(30 * 86_400),
        "quarter" => Some(91 * 86_400),
        "year" => Some(365 * 86_400),
        _ => None,
    }
}

/// `2h`, `90min`: a number and its unit in one word.
fn compact(word: &str) -> Option<u64> {
    let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
    let rest = word.get(digits.len()..)?.trim_start_matches('-');
    if digits.is_empty() || rest.is_empty() {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit(rest)?)
}

/// Days of the past that the text speaks of.
pub(super) fn read_period(words: &mut [Word], today: NaiveDate, slots: &mut Slots) {
    let texts: Vec<String> = words.iter().map(|word| word.lower.clone()).collect();
    let text = |at: usize| texts.get(at).map_or("", String::as_str);
    let days_ago = |days: u64| today.checked_sub_days(Days::new(days)).unwrap_or(today);
    let monday = today.week(Weekday::Mon).first_day();
    let month = today.with_day(1).unwrap_or(today);
    let mut dates: Vec<(usize, usize, NaiveDate)> = Vec::new();
    for at in 0..texts.len() {
        if words.get(at).is_some_and(|word| word.slot.is_some()) {
            continue;
        }
        let recent = matches!(text(at), "last" | "past" | "previous" | "recent" | "prior");
        let current = matches!(text(at), "this" | "current");
        let next_unit = text(at + 1).trim_end_matches('s').to_owned();
        let (from, to, hours, length) = match (text(at), next_unit.as_str()) {
            ("today" | "intraday" | "daily", _) => (today, today, None, 1),
            ("tonight", _) => (today, today, None, 1),
            ("yesterday" | "overnight", _) => (days_ago(1), days_ago(1), None, 1),
            ("weekly", _) => (monday, today, None, 1),
            ("monthly" | "mtd", _) => (month, today, None, 1),
            ("ytd", _) => (today.with_ordinal(1).unwrap_or(today), today, None, 1),
            ("week" | "week's", _) if at > 0 && matches!(text(at - 1), "the" | "for") => {
                (monday, today, None, 1)
            }
            ("month" | "month's", _) if at > 0 && matches!(text(at - 1), "the" | "for") => {
                (month, today, None, 1)
            }
            (_, "week") if current => (monday, today, None, 2),
            (_, "month") if current => (month, today, None, 2),
            (_, "quarter") if current || recent => (days_ago(91), today, None, 2),
            (_, "year") if current => (today.with_ordinal(1).unwrap_or(today), today, None, 2),
            (_, "week") if recent => (
                days_ago(7 + u64::from(today.weekday().num_days_from_monday())),
                monday.pred_opt().unwrap_or(today),
                None,
                2,
            ),
            (_, "month") if recent => {
                let end = month.pred_opt().unwrap_or(today);
                (end.with_day(1).unwrap_or(end), end, None, 2)
            }
            (_, "year") if recent => (days_ago(365), today, None, 2),
            (_, "night") if recent => (days_ago(1), today, Some(16), 2),
            (_, "hour") if recent => (today, today, Some(1), 2),
            (_, "day") if recent => (days_ago(1), days_ago(1), None, 2),
            _ => match span(text(at), text(at + 1), text(at + 2)) {
                // "the last 3 days", but not "for 3 days": that is a duration to come.
                Some((seconds, length))
                    if at > 0 && !matches!(text(at - 1), "for" | "within") && is_past(&texts, at, length) =>
                {
                    let days = seconds / 86_400;
                    let hours =
                        (seconds < 86_400).then(|| u32::try_from(seconds.div_ceil(3_600)).unwrap_or(24));
                    (
                        days_ago(
                            days.saturating_sub(1).max(u64::from(days > 0))
                                + u64::from(days == 0) * u64::from(hours.unwrap_or(0) > 12),
                        ),
                        today,
                        hours,
                        length,
                    )
                }
                _ => {
                    if let Some((date, length)) = date(&texts, at, today) {
                        dates.push((at, length, date));
                    }
                    continue;
                }
            },
        };
        slots.period.get_or_insert(Period { from, to, hours });
        for place in at..at + length {
            mark(words, place, Slot::Period);
        }
    }
    let (Some(first), Some(last)) = (dates.first(), dates.last()) else { return };
    let open_end = first.0 > 0 && matches!(text(first.0 - 1), "since" | "from" | "after");
    let to = if dates.len() > 1 || !open_end { last.2 } else { today };
    slots.period.get_or_insert(Period { from: first.2.min(to), to: to.max(first.2), hours: None });
    for (at, length, _) in dates {
        for place in at..at + length {
            mark(words, place, Slot::Period);
        }
    }
}

/// "3 days", "a couple of hours", "24h": seconds, and over how many words.
fn span(first: &str, second: &str, third: &str) -> Option<(u64, usize)> {
    if let Some(seconds) = compact(first) {
        return Some((seconds, 1));
    }
    if first == "half" && second == "an" && third.starts_with("hour") {
        return Some((1_800, 3));
    }
    let count = u64::from(number(first)?);
    if let Some(seconds) = unit(second)
        .filter(|_| !matches!(second, "m" | "s" | "d" | "w" | "h") || first.parse::<u32>().is_ok())
    {
        return Some((count.checked_mul(seconds)?, 2));
    }
    if second == "of" {
        return unit(third).and_then(|seconds| Some((count.checked_mul(seconds)?, 3)));
    }
    None
}

fn is_past(texts: &[String], at: usize, length: usize) -> bool {
    let text = |at: usize| texts.get(at).map_or("", String::as_str);
    let before = [at.checked_sub(1), at.checked_sub(2)].into_iter().flatten().map(text);
    let mut before = before.into_iter();
    before.any(|word| matches!(word, "last" | "past" | "previous" | "recent" | "in" | "over" | "since"))
        || text(at + length) == "ago"
}

fn date(texts: &[String], at: usize, today: NaiveDate) -> Option<(NaiveDate, usize)> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const FULL: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let text = |at: usize| texts.get(at).map_or("", String::as_str);
    if let Ok(date) = NaiveDate::parse_from_str(text(at), "%Y-%m-%d") {
        return Some((date, 1));
    }
    let month_of = |word: &str| {
        let place = FULL
            .iter()
            .position(|name| *name == word)
            .or_else(|| MONTHS.iter().position(|name| *name == word))?;
        u32::try_from(place + 1).ok()
    };
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
    let weekday: Weekday = text(at).trim_end_matches("'s").parse().ok().filter(|_| text(at).len() >= 6)?;
    let mut day = today.pred_opt()?;
    while day.weekday() != weekday {
        day = day.pred_opt()?;
    }
    Some((day, 1))
}

/// A time to come, such as "for 2 hours".
pub(super) fn read_duration(words: &mut [Word], slots: &mut Slots) {
    let texts: Vec<String> = words.iter().map(|word| word.lower.clone()).collect();
    let text = |at: usize| texts.get(at).map_or("", String::as_str);
    for at in 0..texts.len() {
        if words.get(at).is_some_and(|word| word.slot.is_some()) {
            continue;
        }
        let Some((seconds, length)) = span(text(at), text(at + 1), text(at + 2)) else { continue };
        slots.seconds = Some(seconds);
        for place in at..at + length {
            mark(words, place, Slot::Duration);
        }
        return;
    }
}
