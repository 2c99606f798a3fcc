//! The JSON Schema of the bot's config, as the bot brought it, and what it says about each field.
//!
//! Findings carry a JSON pointer, what was sent, what is expected and how to fix it; values of secret fields are never
//! shown, which is why the validator's own messages are not used: they print values.

use std::str::FromStr;

use crate::bots::conformance::{SchemaComplaint, SchemaHints};
use botops_contract::{ConfigViolation, FieldRole};
use botops_core::text::sha256_hex;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::finding::{ConfigFinding, ValidationLevel};
use super::nodes::{child_pointer, is_secret, member_node};
use super::schema_check::{
    MOST_SCHEMA_BYTES, SchemaFault, clean_texts, expand_schema, find_roles, is_keyword, strip_values,
};

use super::undeclared_risk::fields_without_risk;
use super::unknown_marks::unknown_marks;

/// Findings of one check, at most: the first ones suffice to see what is wrong.
const MOST_FINDINGS: usize = 100;

/// What one pattern may take when it is compiled, in bytes; paperbot's longest takes a tenth of it.
const PATTERN_BYTES: usize = 1024 * 1024;

/// The schema, as a value that describes each field and as a compiled validator.
#[derive(Debug)]
pub(crate) struct ConfigSchema {
    /// With every reference replaced by what it names.
    value: Value,
    validator: jsonschema::Validator,
    roles: Vec<(FieldRole, String)>,
    /// As it is served: texts for people made harmless.
    pub served: String,
    /// SHA-256 of the text that the bot sent, lower-case hex.
    pub sha256: String,
}

/// Reads a schema as botops does when a bot brings it, and says what is right in it and could be better.
///
/// # Errors
/// Why the config of the bot would be left alone, and what its author can do.
pub fn read_bot_schema(text: &str) -> Result<SchemaHints, SchemaComplaint> {
    let read = ConfigSchema::compile(text).map(|schema| SchemaHints {
        undeclared: fields_without_risk(&schema.value),
        unknown_marks: unknown_marks(&serde_json::from_str(text).unwrap_or_default()),
    });
    read.map_err(|fault| SchemaComplaint {
        pointer: fault.pointer,
        said: format!("{}. {}.", fault.what, fault.remedy.trim_end_matches('.')),
    })
}

impl ConfigSchema {
    /// Compiles what a bot sent as the schema of its config.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn compile(text: &str) -> Result<Self, SchemaFault> {
        if text.len() > MOST_SCHEMA_BYTES {
            let what = format!("it has {} bytes, more than {MOST_SCHEMA_BYTES}", text.len());
            return Err(SchemaFault::new(
                "",
                what,
                "Describe fewer things; the bot's own check can say the rest",
            ));
        }
        let mut schema: Value = serde_json::from_str(text).map_err(|error| {
            SchemaFault::new("", format!("it is not JSON ({error})"), "Answer with one JSON Schema document")
        })?;
        clean_texts(&mut schema);
        let value = expand_schema(&schema)?;
        if value["type"] != "object" {
            let what = "the config that it describes is not an object";
            return Err(SchemaFault::new("/type", what, "Write `\"type\": \"object\"` at the root"));
        }
        jsonschema::meta::validate(&without_identity(&schema)).map_err(|error| {
            let pointer = error.instance_path().as_str();
            let what =
                format!("it is no JSON Schema 2020-12 ({} of the meta-schema)", error.kind().keyword());
            SchemaFault::new(pointer, what, "Write what JSON Schema 2020-12 has there")
        })?;
        let validator = compile_validator(&schema)?;
        strip_values(&mut schema);
        let served = serde_json::to_string_pretty(&schema).unwrap_or_default();
        let roles = find_roles(&value)?;
        Ok(Self { value, validator, roles, served, sha256: sha256_hex(text.as_bytes()) })
    }

    /// What stands for a schema while there is none: documents of any form, or ones of which no field is known.
    pub(crate) fn without_fields(any: bool) -> Self {
        let text = json!({"type": "object", "additionalProperties": any}).to_string();
        Self::compile(&text).expect("a test compiles both")
    }

    /// Where the field with this role is in a document; `None` when no field has it.
    pub(crate) fn pointer_of(&self, role: FieldRole) -> Option<&str> {
        self.roles.iter().find(|(known, _)| *known == role).map(|(_, pointer)| pointer.as_str())
    }

    /// Targets with the names that the list at `pointer` has for them: its key for `symbol`, and its one number for
    /// `weight`. Where it is not told which that is, the names stay.
    pub(crate) fn name_targets(&self, pointer: &str, targets: &Value) -> Value {
        let node = self.at(pointer).unwrap_or(&Value::Null);
        let fields = node["items"]["properties"].as_object();
        let is_number = |field: &Value| matches!(field["type"].as_str(), Some("number" | "integer"));
        let numbers: Vec<&String> = fields
            .into_iter()
            .flatten()
            .filter(|(_, field)| is_number(field))
            .map(|(name, _)| name)
            .collect();
        let weight = match numbers.as_slice() {
            [only] => only.as_str(),
            _ => "weight",
        };
        let symbol = node["x-list-key"].as_str().unwrap_or("symbol");
        let named = |target: &Value| match target {
            Value::Object(members) => {
                let name = |member: &String| match member.as_str() {
                    "symbol" => symbol.to_owned(),
                    "weight" => weight.to_owned(),
                    other => other.to_owned(),
                };
                Value::Object(members.iter().map(|(member, value)| (name(member), value.clone())).collect())
            }
            other => other.clone(),
        };
        targets.as_array().map_or_else(|| targets.clone(), |list| list.iter().map(named).collect())
    }

    /// The schema node of a pointer: items of lists and members of objects resolved.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        let mut node = &self.value;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            node = match member_node(node, &part) {
                Value::Null => node.get("items").filter(|_| part.parse::<usize>().is_ok() || part == "-")?,
                child => child,
            };
        }
        Some(node)
    }

    pub(crate) fn root(&self) -> &Value {
        &self.value
    }

    /// Everything that is wrong with a document by the schema: its structure, or else the amounts in it.
    pub(crate) fn check(&self, document: &Value) -> Vec<ConfigFinding> {
        let mut findings = self.structure(document);
        if findings.is_empty() {
            self.check_amounts(&self.value, document, "", &mut findings);
        }
        findings.truncate(MOST_FINDINGS);
        findings
    }

    /// The range of an amount holds for text too, and a mask is no value.
    fn check_amounts(&self, node: &Value, value: &Value, pointer: &str, findings: &mut Vec<ConfigFinding>) {
        if let Value::String(text) = value {
            if is_secret(node) && text == botops_core::redact::MASK {
                return findings.push(self.masked(pointer));
            }
            let takes_numbers = node["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("number")));
            let Some(number) = Decimal::from_str(text).ok().filter(|_| takes_numbers) else { return };
            let low = node.get("minimum").and_then(read_decimal).is_some_and(|limit| number < limit);
            let high = node.get("maximum").and_then(read_decimal).is_some_and(|limit| number > limit);
            if low || high {
                let (expected, fix) = self.wanted(pointer);
                findings.push(ConfigFinding {
                    pointer: pointer.to_owned(),
                    level: ValidationLevel::Semantic,
                    rule: if low { "minimum" } else { "maximum" }.to_owned(),
                    got: self.shown(pointer, value),
                    expected,
                    fix,
                    reason: None,
                });
            }
            return;
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            self.check_amounts(member_node(node, key), value, &child_pointer(pointer, key), findings);
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            self.check_amounts(&node["items"], value, &format!("{pointer}/{index}"), findings);
        }
    }

    /// A mask that was sent in place of a secret of which there is none to keep.
    fn masked(&self, pointer: &str) -> ConfigFinding {
        let (expected, _) = self.wanted(pointer);
        ConfigFinding {
            pointer: pointer.to_owned(),
            level: ValidationLevel::Semantic,
            rule: "masked".to_owned(),
            got: Value::String(botops_core::redact::MASK.to_owned()),
            expected,
            fix: "Send the secret itself: there is none yet that the mask could stand for.".to_owned(),
            reason: None,
        }
    }

    /// Everything that the schema finds wrong with a document.
    fn structure(&self, document: &Value) -> Vec<ConfigFinding> {
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
                        reason: None,
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
                        reason: None,
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
            reason: None,
        }
    }

    /// What the bot's own check found wrong with a document.
    pub(crate) fn finding_of_bot(&self, violation: ConfigViolation, document: &Value) -> ConfigFinding {
        let ConfigViolation { path: pointer, code: rule, message, fix } = violation;
        let is_given = |text: &String| !text.trim().is_empty();
        let reason = Some(message).filter(is_given);
        let fix = fix.filter(is_given).unwrap_or_else(|| {
            let place = if pointer.is_empty() { "the document" } else { pointer.as_str() };
            format!("Change {place} as `reason` says, and validate it again; the rule is the bot's own.")
        });
        let expected = match (&reason, self.at(&pointer)) {
            // The schema takes what was sent, so what it says of the field is not what is wrong.
            (Some(reason), _) if !is_keyword(&rule) => reason.clone(),
            (_, Some(_)) if !pointer.is_empty() => self.wanted(&pointer).0,
            _ => "what the bot's own check accepts: the schema does not say it".to_owned(),
        };
        ConfigFinding {
            got: document.pointer(&pointer).map_or(Value::Null, |value| self.shown(&pointer, value)),
            pointer,
            level: ValidationLevel::Bot,
            rule,
            expected,
            fix,
            reason: Some(reason.unwrap_or_else(|| "the bot gives no reason".to_owned())),
        }
    }

    /// What a field takes, in words, and what to send: its help, where the schema has one.
    fn wanted(&self, pointer: &str) -> (String, String) {
        let (expected, help) = self.described(pointer);
        let help =
            if help.trim().is_empty() { format!("Send {}.", expected.trim_end_matches(',')) } else { help };
        (expected, help)
    }

    /// What a field takes, in words, and its help; empty where the schema has none.
    fn described(&self, pointer: &str) -> (String, String) {
        let Some(node) = self.at(pointer) else {
            return ("a field of the schema".to_owned(), "Look at GET config/schema.".to_owned());
        };
        if let Some(options) = node["enum"].as_array() {
            let options: Vec<String> = options.iter().map(Value::to_string).collect();
            return with_fix(node, format!("one of {}", options.join(", ")));
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
        with_fix(node, text)
    }

    /// A value as findings may show it: masked when secret, shortened when long.
    pub(crate) fn shown(&self, pointer: &str, value: &Value) -> Value {
        if self.is_secret_at(pointer) {
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

    /// Whether a field's values are never shown: it, or what it is a part of, is secret.
    fn is_secret_at(&self, pointer: &str) -> bool {
        let ends = pointer.match_indices('/').map(|(end, _)| end).chain([pointer.len()]);
        ends.filter_map(|end| self.at(pointer.get(..end)?)).any(is_secret)
    }

    /// What is allowed and may yet be a mistake.
    pub(crate) fn warnings(&self, document: &Value) -> Vec<ConfigFinding> {
        let mut warnings = Vec::new();
        self.warn(self.root(), document, String::new(), &mut warnings);
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
            let help = node["x-help"].as_str().filter(|help| !help.is_empty());
            let fix = help.unwrap_or("Look whether this value is meant.").to_owned();
            let (rule, got) = (rule.to_owned(), self.shown(&pointer, value));
            warnings.push(ConfigFinding {
                pointer,
                level: ValidationLevel::Semantic,
                rule,
                got,
                expected,
                fix,
                reason: None,
            });
            return;
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            self.warn(member_node(node, key), value, child_pointer(&pointer, key), warnings);
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            self.warn(&node["items"], value, format!("{pointer}/{index}"), warnings);
        }
    }
}

/// What a field takes, and what to do: what the bot says of it, or else what would be right.
fn with_fix(node: &Value, wanted: String) -> (String, String) {
    let write = || format!("Write {}.", wanted.trim_end_matches(','));
    let fix = match (node["x-help"].as_str(), node["description"].as_str()) {
        (Some(help), _) if !help.is_empty() => help.to_owned(),
        (_, Some(description)) if !description.is_empty() => format!("{} {description}", write()),
        _ => write(),
    };
    (wanted, fix)
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

/// Nothing is fetched, patterns take time in proportion to the text, and each is bounded in what it takes.
fn compile_validator(schema: &Value) -> Result<jsonschema::Validator, SchemaFault> {
    let patterns =
        jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(patterns)
        .build(&without_identity(schema))
        .map_err(|error| {
            let what = format!("the validator cannot work with it ({})", error.kind().keyword());
            let remedy = "Write what JSON Schema 2020-12 has there; a pattern has no look-around, no reference to a \
                          group, and does not take much memory";
            SchemaFault::new(error.instance_path().as_str(), what, remedy)
        })
}

/// The schema without the names by which others would refer to it.
fn without_identity(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        members.remove("$id");
        members.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    }
    schema
}
