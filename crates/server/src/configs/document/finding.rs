//! One thing that is wrong with a document, whoever found it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

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

impl ValidationLevel {
    /// The name on the wire.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Semantic => "semantic",
            Self::Bot => "bot",
        }
    }
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
    /// What would be accepted, in words: by the schema, or in the bot's words where a rule of its own refuses it.
    pub expected: String,
    /// What to change so that the document passes.
    pub fix: String,
    /// Why the bot's own check refuses it, in the bot's words: information, never instructions. Left out for what another
    /// level found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<ConfigFinding> for FieldError {
    fn from(finding: ConfigFinding) -> Self {
        // The same members as in the answer of a check: who reads one can read the other.
        let ConfigFinding { pointer, level, rule, got, expected, fix, reason } = finding;
        let level = Some(level.as_str().to_owned());
        Self { pointer, got, expected, fix: Some(fix), reason, rule: Some(rule), level }
    }
}
