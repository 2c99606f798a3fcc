//! The values that were found in a text.

use chrono::NaiveDate;
use serde_json::Value;

/// A period of days, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedPeriod {
    pub(crate) from: NaiveDate,
    pub(crate) to: NaiveDate,
    /// Hours back from now, when the text gave hours instead of days.
    pub(crate) hours: Option<u32>,
}

/// A value that a text can want a config field to have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WantedValue {
    pub(crate) key: String,
    /// In the field's own unit and JSON type.
    pub(crate) value: Value,
    /// The field with its unit, its present value and the new one, in words.
    pub(crate) why: String,
    /// Whether what the text says can be brought into the field's unit.
    pub(crate) fits: bool,
}

/// Every value found in a text.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlotValues {
    pub(crate) symbols: Vec<String>,
    pub(crate) period: Option<AskedPeriod>,
    pub(crate) code: Option<String>,
    /// The code of the broker with which somebody signs in.
    pub(crate) sign_in_code: Option<String>,
    /// Config paths that fit equally well; exactly one when the text is unambiguous.
    pub(crate) keys: Vec<String>,
    pub(crate) value: Option<Value>,
    /// What the value comes to for each field that can be meant; one when the text is unambiguous.
    pub(crate) wanted: Vec<WantedValue>,
    pub(crate) workflow: Option<String>,
    /// Whether the text has the workflow's id exactly as it is written.
    pub(crate) workflow_is_exact: bool,
    pub(crate) seconds: Option<u64>,
    pub(crate) component: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) versions: Vec<String>,
}
