//! Times and numbers as readers get them, and as the engine counts them.

use chrono::{DateTime, Utc};

/// Wall milliseconds as a time.
pub(crate) fn time(wall: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(wall).unwrap_or_default()
}

/// Milliseconds as seconds.
pub(crate) fn seconds(milliseconds: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few years are exact")]
    let seconds = milliseconds as f64 / 1000.0;
    seconds
}

/// A ratio as per cent with four digits.
pub(crate) fn percent(ratio: f64) -> f64 {
    (ratio * 1_000_000.0).round() / 10_000.0
}

/// Three digits after the point are enough for a reader.
pub(crate) fn tidy(value: f64) -> f64 {
    if value.abs() < 1e9 { (value * 1000.0).round() / 1000.0 } else { value }
}

/// Seconds as milliseconds; what is out of range was refused before.
pub(crate) fn milliseconds(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a day")]
    let milliseconds = (seconds.clamp(0.0, 86_400.0) * 1000.0).round() as i64;
    milliseconds
}
