//! Durations and sentences as answers show them.

use std::time::Duration;

/// Seconds with three digits after the point.
pub(super) fn to_seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A reason without its full stop, so that it can stand inside a sentence.
pub(super) fn without_full_stop(reason: &str) -> &str {
    reason.trim().trim_end_matches('.')
}
