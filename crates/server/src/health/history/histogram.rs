//! Latencies that can be added up: a histogram with 1 % relative error.
//!
//! Percentiles cannot be averaged, but the buckets of two hours can be added. Buckets grow by a constant factor, so a
//! quantile (nearest rank) is off by at most 1 % of its value. Stored as a short byte string.

use std::collections::BTreeMap;

/// The largest relative error of a quantile.
const ERROR: f64 = 0.01;

/// Milliseconds below which all values fall into one bucket: one microsecond.
const LEAST: f64 = 0.001;

/// A mergeable histogram of milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LatencyHistogram {
    buckets: BTreeMap<i16, u32>,
}

impl LatencyHistogram {
    /// Counts one value; NaN and infinities are left out.
    pub(crate) fn add(&mut self, milliseconds: f64) {
        if milliseconds.is_finite() && milliseconds >= 0.0 {
            *self.buckets.entry(bucket(milliseconds)).or_default() += 1;
        }
    }

    /// Adds the counts of another histogram.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            let here = self.buckets.entry(*bucket).or_default();
            *here = here.saturating_add(*count);
        }
    }

    /// How many values were counted.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.values().map(|count| u64::from(*count)).sum()
    }

    /// The value of rank `ceil(count · p / 100)`, within 1 %.
    pub(crate) fn percentile(&self, percent: u32) -> Option<f64> {
        let count = self.count();
        let rank = (count * u64::from(percent)).div_ceil(100).max(1);
        let mut below = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            below += u64::from(**count);
            below >= rank
        });
        found.map(|(bucket, _)| middle(*bucket))
    }

    /// As bytes: pairs of bucket and count, each in as few bytes as it needs.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut last = i32::from(i16::MIN);
        for (bucket, count) in &self.buckets {
            push(&mut bytes, u32::try_from(i32::from(*bucket) - last).unwrap_or(0));
            push(&mut bytes, *count);
            last = i32::from(*bucket);
        }
        bytes
    }

    /// Reads [`LatencyHistogram::to_bytes`]; bytes that do not fit the format are left out.
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Self {
        let mut buckets = BTreeMap::new();
        let mut last = i32::from(i16::MIN);
        while let (Some(step), Some(count)) = (pull(&mut bytes), pull(&mut bytes)) {
            last = last.saturating_add(i32::try_from(step).unwrap_or(i32::MAX));
            let Ok(bucket) = i16::try_from(last) else { break };
            buckets.insert(bucket, count);
        }
        Self { buckets }
    }
}

fn growth() -> f64 {
    ((1.0 + ERROR) / (1.0 - ERROR)).ln()
}

fn bucket(milliseconds: f64) -> i16 {
    let place = (milliseconds.max(LEAST).ln() / growth()).ceil();
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm of milliseconds is within ±10,000")]
    let place = place.clamp(-10_000.0, 10_000.0) as i16;
    place
}

/// The value whose relative distance to both ends of its bucket is the same 1 %.
fn middle(bucket: i16) -> f64 {
    let upper = (f64::from(bucket) * growth()).exp();
    upper * (1.0 - ERROR)
}

fn push(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or(0));
}

fn pull(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for shift in (0..35).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percentiles_are_within_one_percent_of_the_exact_ones(
            mut values in prop::collection::vec(0.001_f64..100_000.0, 1..300), percent in 1_u32..=100)
        {
            let mut histogram = LatencyHistogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            values.sort_by(f64::total_cmp);
            let rank = (values.len() * percent as usize).div_ceil(100).max(1);
            let exact = values[rank - 1];
            let found = histogram.percentile(percent).unwrap();
            prop_assert!((found - exact).abs() <= exact * 0.0101, "{found} for {exact}");
        }

        #[test]
        fn merged_and_stored_it_is_the_same(
            left in prop::collection::vec(0.0_f64..1e6, 0..50), right in prop::collection::vec(0.0_f64..1e6, 0..50))
        {
            let of = |values: &[f64]| {
                let mut histogram = LatencyHistogram::default();
                values.iter().for_each(|value| histogram.add(*value));
                histogram
            };
            let mut merged = of(&left);
            merged.merge(&LatencyHistogram::from_bytes(&of(&right).to_bytes()));
            let both: Vec<f64> = left.iter().chain(&right).copied().collect();
            prop_assert_eq!(merged, of(&both));
        }
    }

    #[test]
    fn nothing_counted_has_no_percentile_and_noise_is_no_histogram() {
        assert_eq!(LatencyHistogram::default().percentile(99), None);
        let mut odd = LatencyHistogram::default();
        odd.add(f64::NAN);
        assert_eq!(odd.count(), 0);
        LatencyHistogram::from_bytes(&[0xff; 40]);
    }
}
