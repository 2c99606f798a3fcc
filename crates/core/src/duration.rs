//! Durations as people write them, such as `200ms`.

use std::time::Duration;

/// `5s`, `200ms`, `2m` or `2min`, `1h`, `30d`, or bare seconds; fractions are taken, signs are not.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let number: f64 = number.parse().ok()?;
    let seconds = match unit.trim() {
        "" | "s" => number,
        "ms" => number / 1_000.0,
        "m" | "min" => number * 60.0,
        "h" => number * 3_600.0,
        "d" => number * 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// How long ago something was, as [`parse_duration`]; `None` for a number that can only be the seconds since 1970.
pub fn parse_time_ago(text: &str) -> Option<Duration> {
    /// Thirty years: nothing here is as old, and 1970 was longer ago.
    const LONGEST: Duration = Duration::from_secs(1_000_000_000);
    parse_duration(text).filter(|ago| *ago < LONGEST)
}

/// Whole milliseconds, as answers and the store have them; capped at `u64::MAX`.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<f64>) {
        assert_eq!(parse_duration(text), expected.map(Duration::from_secs_f64), "{text}");
    }

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        check("5", Some(5.0));
        check("200ms", Some(0.2));
        check(" 1.5m ", Some(90.0));
        check("2 min", Some(120.0));
        check("1h", Some(3_600.0));
        check("30d", Some(2_592_000.0));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in ["", "s", "5 weeks", "-1s", "1.2.3", "1e9", "99999999999999999999d"] {
            check(text, None);
        }
    }
}
