//! The values that were found in a text.

use chrono::NaiveDate;
use serde_json::Value;

/// A stretch of days, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedPeriod {
    pub(crate) from: NaiveDate,
    pub(crate) to: NaiveDate,
    /// Hours back from now, when the text spoke of hours.
    pub(crate) hours: Option<u32>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlotValues {
    pub(crate) symbols: Vec<String>,
    pub(crate) period: Option<AskedPeriod>,
    pub(crate) code: Option<String>,
    /// Config paths that fit equally well; one, when the text is clear.
    pub(crate) keys: Vec<String>,
    pub(crate) value: Option<Value>,
    pub(crate) workflow: Option<String>,
    /// Whether the workflow's id stood there letter by letter.
    pub(crate) workflow_is_exact: bool,
    pub(crate) seconds: Option<u64>,
    pub(crate) component: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) versions: Vec<String>,
}
