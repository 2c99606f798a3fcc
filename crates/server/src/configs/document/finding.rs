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
        let named = violation.fix.filter(|fix| !fix.trim().is_empty());
        let fix = named.unwrap_or_else(|| match violation.path.as_str() {
            "" => "Change the document so that the bot's own check takes it: it names no place and no value."
                .to_owned(),
            path => format!("Change {path} so that the bot's own check takes it: it names no value."),
        });
        Self {
            pointer: violation.path,
            level: ValidationLevel::Bot,
            rule: violation.code,
            got: Value::Null,
            expected: violation.message,
            fix,
        }
    }
}

impl From<ConfigFinding> for FieldError {
    fn from(finding: ConfigFinding) -> Self {
        // A fix may say what is expected, and then says it alone.
        let expected = if finding.fix.is_empty() {
            finding.expected
        } else if finding.fix.contains(&finding.expected) {
            finding.fix
        } else {
            format!("{}. {}", finding.expected, finding.fix)
        };
        Self { pointer: finding.pointer, got: finding.got, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_without_a_fix_says_what_to_change() {
        let violation = |path: &str, fix: Option<&str>| ConfigViolation {
            path: path.to_owned(),
            code: "rule".to_owned(),
            message: "it is too much".to_owned(),
            fix: fix.map(str::to_owned),
        };
        for (path, fix, said) in [
            ("/size", Some("at most 5"), "at most 5"),
            ("/size", None, "Change /size so that"),
            ("/size", Some(" "), "Change /size so that"),
            ("", None, "Change the document so that"),
        ] {
            let finding = ConfigFinding::of_violation(violation(path, fix));
            assert!(finding.fix.starts_with(said), "{finding:?}");
        }
    }
}
