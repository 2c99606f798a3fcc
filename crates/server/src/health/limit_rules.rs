//! Limits that decide something in health and cannot be set, as `GET monitoring/status` shows them.
//!
//! Each file names its own limits, from the very constants that it decides by.

use serde::Serialize;
use utoipa::ToSchema;

/// A limit that decides something in health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LimitRuleView {
    /// Its name, unique among the rules.
    name: &'static str,
    /// The value in its unit.
    value: u64,
    /// The unit of the value.
    unit: &'static str,
    /// What it decides.
    decides: &'static str,
    /// Where it comes from: `code` for one that cannot be set.
    source: &'static str,
}

impl LimitRuleView {
    /// A limit that is a constant of the code.
    pub(crate) fn fixed<N: TryInto<u64>>(
        name: &'static str,
        value: N,
        unit: &'static str,
        decides: &'static str,
    ) -> Self {
        Self { name, value: value.try_into().unwrap_or_default(), unit, decides, source: "code" }
    }

    /// A time that is a constant of the code in milliseconds, shown in seconds.
    pub(crate) fn fixed_ms(name: &'static str, milliseconds: i64, decides: &'static str) -> Self {
        Self::fixed(name, milliseconds / 1_000, "s", decides)
    }
}
