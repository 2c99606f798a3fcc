//! Amounts, durations and sentences as answers show them.

use std::time::Duration;

use rust_decimal::{Decimal, RoundingStrategy};

/// Two digits after the point, halves to even. Amounts are rounded only when they are shown.
pub(super) fn to_cents(amount: Decimal) -> Decimal {
    let mut cents = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven);
    cents.rescale(2);
    cents
}

/// Seconds with three digits after the point.
pub(super) fn to_seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A reason without its full stop, so that it can stand inside a sentence.
pub(super) fn without_full_stop(reason: &str) -> &str {
    reason.trim().trim_end_matches('.')
}
