//! One thing that is wrong with a document, whoever found it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use botops_contract::ConfigViolation;
use botops_core::error::FieldError;

/// Which level of the check found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValidationLevel {
    /// Structure: the document against the JSON Schema.
    Schema,
    /// The rules between fields, and against open positions.
    Semantic,
    /// The bot's own check.
    Bot,
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigFinding {
    /// JSON pointer into the document.
    pub pointer: String,
    /// Which level found it.
    pub level: ValidationLevel,
    /// A stable name for it: the schema's keyword, or the rule's name.
    pub rule: String,
    /// What was sent; masked where it is secret, shortened where it is long.
    pub got: Value,
    /// What would be accepted, in words.
    pub expected: String,
    /// What to change so that the document passes.
    pub fix: String,
}

impl ConfigFinding {
    /// A violation that the bot found, as a finding.
    pub(crate) fn of_violation(violation: ConfigViolation) -> Self {
        Self {
            pointer: violation.path,
            level: ValidationLevel::Bot,
            rule: violation.code,
            got: Value::Null,
            expected: violation.message,
            fix: violation.fix.unwrap_or_default(),
        }
    }
}

impl From<ConfigFinding> for FieldError {
    fn from(finding: ConfigFinding) -> Self {
        let expected = if finding.fix.is_empty() {
            finding.expected
        } else {
            format!("{}. {}", finding.expected, finding.fix)
        };
        Self { pointer: finding.pointer, got: finding.got, expected }
    }
}
