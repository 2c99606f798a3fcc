//! Conversions between the milliseconds health counts in and the times and numbers that readers get.

use chrono::{DateTime, Utc};

/// Wall milliseconds as a time.
pub(crate) fn time(wall: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(wall).unwrap_or_default()
}

/// Milliseconds as seconds, as a fraction.
pub(crate) fn seconds(milliseconds: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few years are exact")]
    let seconds = milliseconds as f64 / 1000.0;
    seconds
}

/// A ratio as per cent, rounded to four digits.
pub(crate) fn percent(ratio: f64) -> f64 {
    (ratio * 1_000_000.0).round() / 10_000.0
}

/// Rounds to three digits after the point, which is enough for a reader.
pub(crate) fn tidy(value: f64) -> f64 {
    if value.abs() < 1e9 { (value * 1000.0).round() / 1000.0 } else { value }
}

/// Seconds as milliseconds; values out of range are refused before this.
pub(crate) fn milliseconds(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a day")]
    let milliseconds = (seconds.clamp(0.0, 86_400.0) * 1000.0).round() as i64;
    milliseconds
}

/// Formats a value for a sentence, with at most one digit after the point.
pub(crate) fn round(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
