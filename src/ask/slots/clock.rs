//! Times of a day, and the words around them, as every reader of periods needs them.

use chrono::NaiveTime;

use super::values::AskedPeriod;

/// A period, and the number of words that name it.
pub(super) type FoundPeriod = (AskedPeriod, usize);

pub(super) fn text_at(texts: &[String], at: usize) -> &str {
    texts.get(at).map_or("", String::as_str)
}

/// Whether the word before means "from there up to now".
pub(super) fn is_open_end(word: &str) -> bool {
    matches!(word, "since" | "from" | "after")
}

/// `0930`, `930`: a time of day without its sign.
pub(super) fn read_joined_clock(word: &str) -> Option<(NaiveTime, usize)> {
    let is_clock = (3..=4).contains(&word.len()) && word.chars().all(|c| c.is_ascii_digit());
    let (hour, minute) = word.split_at_checked(word.len().checked_sub(2)?).filter(|_| is_clock)?;
    Some((NaiveTime::from_hms_opt(hour.parse().ok()?, minute.parse().ok()?, 0)?, 1))
}

/// A full hour without more: `10`.
pub(super) fn read_hour(word: &str) -> Option<(NaiveTime, usize)> {
    let hour = word.parse::<u32>().ok()?;
    Some((NaiveTime::from_hms_opt(hour, 0, 0)?, 1))
}

/// A time of day and how many words name it: `9:30`, `14:00`, `2pm`, `2 pm`, `noon`.
pub(super) fn read_clock(first: &str, second: &str) -> Option<(NaiveTime, usize)> {
    match first {
        "noon" | "midday" => return Some((NaiveTime::from_hms_opt(12, 0, 0)?, 1)),
        "midnight" => return Some((NaiveTime::MIN, 1)),
        _ => {}
    }
    let joined = ["am", "pm"].into_iter().find_map(|half| Some((first.strip_suffix(half)?, half, 1)));
    let apart = ["am", "pm"].into_iter().find(|half| *half == second).map(|half| (first, half, 2));
    let (digits, half, length) = joined.or(apart).unwrap_or((first, "", 1));
    let (hour, minute) = digits.split_once(':').unwrap_or((digits, "0"));
    if half.is_empty() && !digits.contains(':') {
        return None;
    }
    let hour: u32 = hour.parse().ok()?;
    let hour = match half {
        "pm" if hour < 12 => hour + 12,
        "am" if hour == 12 => 0,
        _ => hour,
    };
    Some((NaiveTime::from_hms_opt(hour, minute.parse().ok()?, 0)?, length))
}
