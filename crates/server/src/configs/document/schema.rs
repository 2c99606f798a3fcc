//! The JSON Schema of the bot's config, and what it says about each field.
//!
//! Findings carry a JSON pointer, what was sent, what is expected and how to fix it; values of secret fields are never
//! shown, which is why the validator's own messages are not used: they print values.

use std::str::FromStr;

use botops_core::text::sha256_hex;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::finding::{ConfigFinding, ValidationLevel};

/// The schema, as it is served.
pub(crate) const SCHEMA_TEXT: &str = include_str!("../../../../../schemas/bot-config.schema.json");

/// Findings of one check, at most: the first ones suffice to see what is wrong.
pub(super) const MOST_FINDINGS: usize = 100;

/// The schema, as a value that describes each field and as a compiled validator.
#[derive(Debug)]
pub(crate) struct ConfigSchema {
    value: Value,
    validator: jsonschema::Validator,
    pub sha256: String,
}

impl ConfigSchema {
    /// Compiles the schema that is built in.
    pub(crate) fn built_in() -> Self {
        let value: Value = serde_json::from_str(SCHEMA_TEXT).expect("a test reads the built-in schema");
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(&value)
            .expect("a test compiles the built-in schema");
        Self { value, validator, sha256: sha256_hex(SCHEMA_TEXT.as_bytes()) }
    }

    /// The schema node of a pointer: items of lists and members of objects resolved.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        let mut node = &self.value;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            node = match node.get("properties").and_then(|properties| properties.get(&part)) {
                Some(child) => child,
                None => node.get("items").filter(|_| part.parse::<usize>().is_ok() || part == "-")?,
            };
        }
        Some(node)
    }

    pub(crate) fn root(&self) -> &Value {
        &self.value
    }

    /// Everything that the schema finds wrong with a document.
    pub(super) fn structure(&self, document: &Value) -> Vec<ConfigFinding> {
        let mut findings = Vec::new();
        for error in self.validator.iter_errors(document).take(MOST_FINDINGS) {
            let pointer = error.instance_path().as_str().to_owned();
            let rule = error.kind().keyword().to_owned();
            match error.kind() {
                jsonschema::error::ValidationErrorKind::AdditionalProperties { unexpected } => {
                    for name in unexpected.iter().take(MOST_FINDINGS) {
                        findings.push(self.unknown(&pointer, name));
                    }
                }
                jsonschema::error::ValidationErrorKind::Required { property } => {
                    let name = property.as_str().unwrap_or_default();
                    let pointer = child_pointer(&pointer, name);
                    let (expected, fix) = self.wanted(&pointer);
                    let fix = format!("Add `{name}`. {fix}");
                    findings.push(ConfigFinding {
                        pointer,
                        level: ValidationLevel::Schema,
                        rule,
                        got: Value::Null,
                        expected,
                        fix,
                    });
                }
                _ => {
                    let (expected, fix) = self.wanted(&pointer);
                    let got = self.shown(&pointer, error.instance());
                    findings.push(ConfigFinding {
                        pointer,
                        level: ValidationLevel::Schema,
                        rule,
                        got,
                        expected,
                        fix,
                    });
                }
            }
        }
        findings
    }

    /// A field that nobody knows. Its value is not shown: it may be a secret in the wrong place.
    fn unknown(&self, parent: &str, name: &str) -> ConfigFinding {
        let shown = botops_core::text::clean(name, 60);
        let known: Vec<&str> = self
            .at(parent)
            .and_then(|node| node["properties"].as_object())
            .into_iter()
            .flat_map(|properties| properties.keys().map(String::as_str))
            .collect();
        let near = known
            .iter()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let fix = match near {
            Some((_, near)) => format!("Did you mean `{near}`? Otherwise remove it."),
            None => "Remove it.".to_owned(),
        };
        ConfigFinding {
            pointer: child_pointer(parent, &shown),
            level: ValidationLevel::Schema,
            rule: "additionalProperties".to_owned(),
            got: Value::String("an unknown field".to_owned()),
            expected: format!("one of {}", known.join(", ")),
            fix,
        }
    }

    /// What a field takes, in words, and its help.
    pub(super) fn wanted(&self, pointer: &str) -> (String, String) {
        let Some(node) = self.at(pointer) else {
            return ("a field of the schema".to_owned(), "Look at GET config/schema.".to_owned());
        };
        let help = node["x-help"].as_str().or(node["description"].as_str()).unwrap_or_default().to_owned();
        if let Some(options) = node["enum"].as_array() {
            let options: Vec<String> = options.iter().map(Value::to_string).collect();
            return (format!("one of {}", options.join(", ")), help);
        }
        let kinds: Vec<&str> = match &node["type"] {
            Value::String(kind) => vec![kind.as_str()],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut text = match kinds.as_slice() {
            ["number", "string"] => "a number, or an amount as text,".to_owned(),
            ["integer"] => "a whole number".to_owned(),
            ["number"] => "a number".to_owned(),
            ["string"] => "text".to_owned(),
            ["array"] => "a list".to_owned(),
            ["object"] => "an object".to_owned(),
            _ => "a value".to_owned(),
        };
        match (node.get("minimum"), node.get("maximum")) {
            (Some(low), Some(high)) => text.push_str(&format!(" from {low} to {high}")),
            (Some(low), None) => text.push_str(&format!(" of at least {low}")),
            (None, Some(high)) => text.push_str(&format!(" of at most {high}")),
            (None, None) => {}
        }
        if let Some(unit) = node["x-unit"].as_str() {
            text.push_str(&format!(" ({unit})"));
        }
        if let Some(pattern) = node["pattern"].as_str().filter(|_| kinds.contains(&"string")) {
            text.push_str(&format!(" like {pattern}"));
        }
        if let Some(most) = node["maxLength"].as_u64() {
            text.push_str(&format!(" of at most {most} characters"));
        }
        if let Some(most) = node["maxItems"].as_u64() {
            text.push_str(&format!(" of at most {most} items"));
        }
        (text, help)
    }

    /// A value as findings may show it: masked when secret, shortened when long.
    pub(super) fn shown(&self, pointer: &str, value: &Value) -> Value {
        if self.is_secret(pointer) {
            return Value::String(botops_core::redact::MASK.to_owned());
        }
        match value {
            Value::String(text) => {
                Value::String(botops_core::text::clean(text, botops_core::text::SYMBOL_MAX))
            }
            Value::Array(items) => Value::String(format!("a list of {} items", items.len())),
            Value::Object(members) => Value::String(format!("an object with {} members", members.len())),
            other => other.clone(),
        }
    }

    /// Whether a field's values are never shown.
    fn is_secret(&self, pointer: &str) -> bool {
        self.at(pointer).is_some_and(|node| node["x-secret"].as_bool().unwrap_or_default())
    }

    /// What is allowed and may yet be a mistake.
    pub(crate) fn warnings(&self, document: &Value) -> Vec<ConfigFinding> {
        let mut warnings = Vec::new();
        self.warn(self.root(), document, String::new(), &mut warnings);
        let number = |pointer: &str| document.pointer(pointer).and_then(read_decimal);
        if let (Some(risk), Some(day)) =
            (number("/risk_management/risk_per_trade"), number("/risk_management/max_daily_loss_pct"))
            && risk * Decimal::ONE_HUNDRED > day
        {
            warnings.push(ConfigFinding {
                pointer: "/risk_management/risk_per_trade".to_owned(),
                level: ValidationLevel::Semantic,
                rule: "one_trade_above_day".to_owned(),
                got: json!(risk),
                expected: format!("at most {day} % of the equity, the loss of a whole day"),
                fix: "One losing trade alone would end the day; lower risk_per_trade.".to_owned(),
            });
        }
        warnings
    }

    fn warn(&self, node: &Value, value: &Value, pointer: String, warnings: &mut Vec<ConfigFinding>) {
        if let Some(number) = read_decimal(value) {
            let above = node.get("x-warn-above").and_then(read_decimal).filter(|limit| number > *limit);
            let below = node.get("x-warn-below").and_then(read_decimal).filter(|limit| number < *limit);
            let (rule, expected) = match (above, below) {
                (Some(limit), _) => ("high", format!("rather not above {limit}")),
                (None, Some(limit)) => ("low", format!("rather not below {limit}")),
                (None, None) => return,
            };
            let fix = node["x-help"].as_str().unwrap_or_default().to_owned();
            let (rule, got) = (rule.to_owned(), self.shown(&pointer, value));
            warnings.push(ConfigFinding {
                pointer,
                level: ValidationLevel::Semantic,
                rule,
                got,
                expected,
                fix,
            });
            return;
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            self.warn(&node["properties"][key], value, child_pointer(&pointer, key), warnings);
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            self.warn(&node["items"], value, format!("{pointer}/{index}"), warnings);
        }
    }
}

/// A number, or an amount as text.
pub(crate) fn read_decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            Decimal::from_str(&text).or_else(|_| Decimal::from_scientific(&text)).ok()
        }
        Value::String(text) => Decimal::from_str(text).ok(),
        _ => None,
    }
}

/// The JSON pointer of a member of `parent`.
pub(super) fn child_pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every keyword that means something to the validator or to us. A typo such as `maximun` would pass unnoticed.
    const KEYWORDS: &[&str] = &[
        "$schema",
        "$id",
        "title",
        "description",
        "type",
        "additionalProperties",
        "required",
        "properties",
        "items",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "maxItems",
        "x-apply",
        "x-risk",
        "x-secret",
        "x-list-key",
        "x-unit",
        "x-help",
        "x-warn-above",
        "x-warn-below",
    ];

    fn lint(node: &Value, at: &str) {
        for key in node.as_object().unwrap().keys() {
            assert!(KEYWORDS.contains(&key.as_str()), "`{key}` at {at} is no keyword");
        }
        let is_object = node["type"] == "object";
        let is_list = node["type"] == "array";
        assert_eq!(is_object, node.get("additionalProperties") == Some(&json!(false)), "{at}");
        if is_object {
            for (name, child) in node["properties"].as_object().unwrap() {
                lint(child, &format!("{at}/{name}"));
            }
            for name in node["required"].as_array().unwrap() {
                assert!(node["properties"].get(name.as_str().unwrap()).is_some(), "{at}: {name}");
            }
        } else if is_list {
            lint(&node["items"], &format!("{at}/*"));
        } else {
            assert!(["hot", "restart", "never"].contains(&node["x-apply"].as_str().unwrap_or("")), "{at}");
            assert!(
                ["up", "down", "both", "none"].contains(&node["x-risk"]["direction"].as_str().unwrap()),
                "{at}"
            );
            assert!(["low", "high"].contains(&node["x-risk"]["class"].as_str().unwrap()), "{at}");
            assert!(node["x-help"].is_string(), "{at}");
        }
    }

    #[test]
    fn the_schema_has_no_unknown_keyword_and_every_field_is_annotated() {
        let schema = ConfigSchema::built_in();
        jsonschema::meta::validate(schema.root()).unwrap();
        lint(schema.root(), "");
    }
}
