//! Periods that are named by more than two words, or by a part of the year: "the third quarter", "since the start of the
//! month", "1-15 May", "in 2024", "at 3 am".

use chrono::{Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta};

use super::clock::{FoundPeriod, is_open_end, read_clock, text_at};
use super::values::AskedPeriod;

/// What a time is called in short or slang.
pub(super) fn usual_time(word: &str) -> &str {
    match word {
        "wk" | "wks" => "week",
        "yr" | "yrs" => "year",
        "qtr" => "quarter",
        "mth" | "mnth" | "mo" => "month",
        "hr" | "hrs" => "hour",
        "yday" | "yest" | "yesterdays" | "ytd's" | "yesterday's" | "yesteday" | "yestarday" | "yesterdy" => {
            "yesterday"
        }
        "tonite" | "2nite" | "tonight's" => "tonight",
        "2day" | "today's" | "todays" | "tday" => "today",
        "nite" | "nites" => "night",
        "wkend" => "weekend",
        "heute" | "hoy" => "today",
        "gestern" | "ayer" => "yesterday",
        "today session" => "today",
        "yesterday session" => "yesterday",
        "ongoing" => "current",
        "mon" => "monday",
        "tues" | "tue" => "tuesday",
        "weds" | "wed" => "wednesday",
        "thurs" | "thur" | "thu" => "thursday",
        "fri" => "friday",
        "sat" => "saturday",
        "jan" => "january",
        "feb" => "february",
        "mar" => "march",
        "apr" => "april",
        "jun" => "june",
        "jul" => "july",
        "aug" => "august",
        "sep" | "sept" => "september",
        "oct" => "october",
        "nov" => "november",
        "dec" => "december",
        other => other,
    }
}

/// A period that begins here, and how many words name it.
pub(super) fn named_period(texts: &[String], at: usize, today: NaiveDate) -> Option<FoundPeriod> {
    of_a_start(texts, at, today)
        .or_else(|| of_a_quarter(texts, at, today))
        .or_else(|| of_days_of_a_month(texts, at, today))
        .or_else(|| of_a_year(texts, at, today))
        .or_else(|| of_a_moment(texts, at, today))
        .or_else(|| of_the_market(texts, at, today))
        .or_else(|| of_the_sleep(texts, at, today))
}

fn first_of(today: NaiveDate, unit: &str) -> Option<NaiveDate> {
    let month = today.with_day(1)?;
    Some(match unit {
        "week" => today.checked_sub_days(Days::new(u64::from(today.weekday().num_days_from_monday())))?,
        "month" => month,
        "quarter" => month.with_month((today.month() - 1) / 3 * 3 + 1)?,
        "year" => today.with_ordinal(1)?,
        "day" | "session" => today,
        _ => return None,
    })
}

/// "The start of the quarter", "month to date".
fn of_a_start(texts: &[String], at: usize, today: NaiveDate) -> Option<FoundPeriod> {
    let text = |ahead: usize| text_at(texts, at + ahead);
    if text(1) == "to" && text(2) == "date" {
        return Some((AskedPeriod::days(first_of(today, text(0))?, today), 3));
    }
    if matches!(text(0), "qtd" | "wtd") {
        let unit = if text(0) == "qtd" { "quarter" } else { "week" };
        return Some((AskedPeriod::days(first_of(today, unit)?, today), 1));
    }
    if !matches!(text(0), "start" | "beginning" | "begin") {
        return None;
    }
    let mut length = 1;
    while matches!(text(length), "of" | "the" | "this" | "current") {
        length += 1;
    }
    Some((AskedPeriod::days(first_of(today, text(length))?, today), length + 1))
}

/// "This quarter", "last quarter", "Q3", "the third quarter of 2024".
fn of_a_quarter(texts: &[String], at: usize, today: NaiveDate) -> Option<FoundPeriod> {
    let text = |ahead: usize| text_at(texts, at + ahead);
    let this = first_of(today, "quarter")?;
    let end_of = |first: NaiveDate| first.checked_add_months(Months::new(3)).and_then(|next| next.pred_opt());
    // "The last quarter of an hour" is none.
    if text(2) == "of" && matches!(text(3), "an" | "hour") {
        return None;
    }
    if text(1) == "quarter" {
        match text(0) {
            "this" | "current" | "the" => return Some((AskedPeriod::days(this, today), 2)),
            "last" | "previous" | "past" | "prior" => {
                let first = this.checked_sub_months(Months::new(3))?;
                return Some((AskedPeriod::days(first, end_of(first)?), 2));
            }
            _ => {}
        }
    }
    let (number, length) = match text(0) {
        "q1" => (0, 1),
        "q2" => (1, 1),
        "q3" => (2, 1),
        "q4" => (3, 1),
        "first" | "1st" if text(1) == "quarter" => (0, 2),
        "second" | "2nd" if text(1) == "quarter" => (1, 2),
        "third" | "3rd" if text(1) == "quarter" => (2, 2),
        "fourth" | "4th" if text(1) == "quarter" => (3, 2),
        _ => return None,
    };
    let skipped = usize::from(text(length) == "of");
    let named = read_year(text(length + skipped));
    let length = if named.is_some() { length + skipped + 1 } else { length };
    let of = |year: i32| NaiveDate::from_ymd_opt(year, number * 3 + 1, 1);
    let first = of(named.unwrap_or(today.year()))?;
    let first = if named.is_none() && first > today { of(today.year() - 1)? } else { first };
    Some((AskedPeriod::days(first, end_of(first)?.min(today.max(first))), length))
}

fn read_year(word: &str) -> Option<i32> {
    let year = word.trim_start_matches("fy").parse::<i32>().ok()?;
    (2000..2100).contains(&year).then_some(year)
}

/// "In 2024", "fiscal year 2024".
fn of_a_year(texts: &[String], at: usize, today: NaiveDate) -> Option<FoundPeriod> {
    let before = at.checked_sub(1).map_or("", |before| text_at(texts, before));
    let is_named = matches!(before, "in" | "for" | "of" | "year" | "during" | "since" | "fiscal")
        || text_at(texts, at).starts_with("fy");
    let year = read_year(text_at(texts, at)).filter(|_| is_named)?;
    let first = NaiveDate::from_ymd_opt(year, 1, 1)?;
    Some((AskedPeriod::days(first, NaiveDate::from_ymd_opt(year, 12, 31)?.min(today.max(first))), 1))
}

/// "1-15 May", "the 3rd to the 5th of May".
fn of_days_of_a_month(texts: &[String], at: usize, today: NaiveDate) -> Option<FoundPeriod> {
    let (from, to) = text_at(texts, at).split_once('-')?;
    let (from, to) = (from.parse::<u32>().ok()?, to.parse::<u32>().ok()?);
    let skipped = usize::from(text_at(texts, at + 1) == "of");
    let month = month_of(text_at(texts, at + 1 + skipped))?;
    let of = |year: i32, day: u32| NaiveDate::from_ymd_opt(year, month, day);
    let year = if of(today.year(), from)? > today { today.year() - 1 } else { today.year() };
    Some((AskedPeriod::days(of(year, from)?, of(year, to)?), 2 + skipped))
}

/// The number of a month by its name.
pub(super) fn month_of(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
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
    let place = MONTHS.iter().position(|name| *name == usual_time(word))?;
    u32::try_from(place + 1).ok()
}

/// "At 3 am", "around 14:05": the hour from then.
fn of_a_moment(texts: &[String], at: usize, today: NaiveDate) -> Option<FoundPeriod> {
    let before = at.checked_sub(1).map_or("", |before| text_at(texts, before));
    let is_day = matches!(before, "yesterday" | "today") || before.parse::<chrono::Weekday>().is_ok();
    let is_date = NaiveDate::parse_from_str(before, "%Y-%m-%d").is_ok();
    if !(matches!(before, "at" | "around" | "about" | "@" | "circa") || is_day || is_date) {
        return None;
    }
    let (time, length) = read_clock(text_at(texts, at), text_at(texts, at + 1))?;
    let (end, wrapped) = time.overflowing_add_signed(TimeDelta::hours(1));
    let ends = if wrapped == 0 { Some(end) } else { None };
    Some((AskedPeriod { starts: Some(time), ends, ..AskedPeriod::days(today, today) }, length))
}

/// "Since the open", "since yesterday's close": the day, since nobody says here when the market opens.
fn of_the_market(texts: &[String], at: usize, today: NaiveDate) -> Option<FoundPeriod> {
    let before = at.checked_sub(1).map_or("", |before| text_at(texts, before));
    let before_the = at.checked_sub(2).map_or("", |before| text_at(texts, before));
    let opener = if before == "the" { before_the } else { before };
    let is_bell = matches!(text_at(texts, at), "open" | "bell" | "opening");
    (is_open_end(opener) && is_bell).then(|| (AskedPeriod::days(today, today), 1))
}

/// "While I was asleep": the night.
fn of_the_sleep(texts: &[String], at: usize, today: NaiveDate) -> Option<FoundPeriod> {
    let slept = matches!(text_at(texts, at), "asleep" | "slept" | "sleeping" | "snoozing" | "napping");
    let is_over = texts.iter().any(|word| matches!(word.as_str(), "while" | "was" | "whilst" | "slept"));
    let yesterday = today.checked_sub_days(Days::new(1))?;
    let hour = |hour: u32| NaiveTime::from_hms_opt(hour, 0, 0);
    (slept && is_over)
        .then(|| (AskedPeriod { starts: hour(18), ends: hour(8), ..AskedPeriod::days(yesterday, today) }, 1))
}

/// The time of day behind a day: "9am", "at 9:30".
fn clock_of_day(texts: &[String], at: usize) -> Option<(NaiveTime, usize)> {
    let skipped = usize::from(text_at(texts, at) == "at");
    let (time, length) = read_clock(text_at(texts, at + skipped), text_at(texts, at + skipped + 1))?;
    Some((time, length + skipped))
}

/// The seconds from now until "morning", "tomorrow", "5 pm", "Monday"; with the words that name it.
pub(super) fn seconds_until(
    texts: &[String],
    at: usize,
    now: chrono::DateTime<chrono::Utc>,
    zone: chrono_tz::Tz,
) -> Option<(u64, usize)> {
    let before = at.checked_sub(1).map_or("", |before| text_at(texts, before));
    let before_the = at.checked_sub(2).map_or("", |before| text_at(texts, before));
    let is_until = |word: &str| matches!(word, "until" | "till" | "til" | "'til" | "before");
    if !(is_until(before) || before == "the" && is_until(before_the)) {
        return None;
    }
    let local = now.with_timezone(&zone).naive_local();
    let hour = |hour: u32| NaiveTime::from_hms_opt(hour, 0, 0);
    let (time, days, length) = match text_at(texts, at) {
        "morning" => (hour(8)?, None, 1),
        "tomorrow" if text_at(texts, at + 1) == "morning" => (hour(8)?, Some(1), 2),
        "tomorrow" if clock_of_day(texts, at + 1).is_some() => {
            let (time, length) = clock_of_day(texts, at + 1)?;
            (time, Some(1), 1 + length)
        }
        "tomorrow" => (hour(0)?, Some(1), 1),
        "midnight" => (hour(0)?, Some(1), 1),
        "evening" | "tonight" => (hour(18)?, None, 1),
        "afternoon" | "lunch" => (hour(12)?, None, 1),
        word => match usual_time(word).parse::<chrono::Weekday>() {
            Ok(weekday) => {
                let ahead = (7 + weekday.num_days_from_monday() - local.weekday().num_days_from_monday()) % 7;
                let (time, length) = clock_of_day(texts, at + 1).unwrap_or((hour(0)?, 0));
                (time, Some(if ahead == 0 { 7 } else { u64::from(ahead) }), 1 + length)
            }
            Err(_) => {
                let (time, length) = read_clock(word, text_at(texts, at + 1))?;
                match text_at(texts, at + length) {
                    "tomorrow" => (time, Some(1), length + 1),
                    _ => (time, None, length),
                }
            }
        },
    };
    let day = local.date().checked_add_days(Days::new(days.unwrap_or(0)))?;
    let mut then = day.and_time(time);
    if days.is_none() && then <= local {
        then += TimeDelta::days(1);
    }
    let then = then.and_local_timezone(zone).earliest()?;
    u64::try_from((then.with_timezone(&chrono::Utc) - now).num_seconds())
        .ok()
        .map(|seconds| (seconds, length))
}
