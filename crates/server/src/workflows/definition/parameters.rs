//! A workflow's parameters: the schema in its file, and validating what a caller sends.

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::{Map, Value};

use super::json_schema::compile_schema;
use super::marked_document::{DefinitionFault, MarkedDocument, escape_pointer};
use botops_core::error::{Code, Error, FieldError};
use botops_core::exact_number::write_integers;
use botops_http::time_words;

/// Keywords that a parameter schema may use. Validators ignore what they do not know, so a typo would pass silently.
const KEYWORDS: &[&str] = &[
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minItems",
    "maxItems",
    "uniqueItems",
    "default",
    "title",
    "description",
    "examples",
];

/// The parameters that a workflow takes.
#[derive(Debug)]
pub(crate) struct WorkflowParameters {
    schema: Value,
    validator: Validator,
}

impl WorkflowParameters {
    pub(crate) fn new(schema: &Value) -> Result<Self, String> {
        Ok(Self { schema: schema.clone(), validator: compile_schema(schema)? })
    }

    /// The parameters with defaults filled in, or an error with all their faults.
    pub(crate) fn accept_params(&self, workflow_id: &str, params: Value) -> Result<Value, Error> {
        let mut params = if params.is_null() { Value::Object(Map::new()) } else { params };
        if let (Some(given), Some(known)) = (params.as_object_mut(), self.schema["properties"].as_object()) {
            for (name, schema) in known {
                if let Some(default) = schema.get("default") {
                    given.entry(name.clone()).or_insert_with(|| default.clone());
                }
            }
        }
        write_integers(&self.schema, &mut params);
        let mut fields: Vec<FieldError> =
            self.validator.iter_errors(&params).take(50).map(|error| field_error(&error)).collect();
        if let Some(pointer) = find_nul(&params, "/params") {
            fields.push(FieldError {
                pointer,
                got: Value::Null,
                expected: "text without NUL characters".to_owned(),
                ..FieldError::default()
            });
        }
        if fields.is_empty() {
            return Ok(params);
        }
        let count = fields.len();
        Err(Error::new(Code::WorkflowParamsInvalid)
            .detail(format!("{count} parameter(s) of `{workflow_id}` do not fit its schema"))
            .context("workflow_id", workflow_id)
            .next("get_workflow", "GET", format!("/api/v1/workflows/{workflow_id}"), None, Some("read"))
            .fields(fields))
    }
}

/// Most values of a parameter that are tried in its place.
const MOST_CHOICES: usize = 8;

impl WorkflowParameters {
    /// The parameters of a call that gives none; one that is required and has no default is left out.
    pub(crate) fn defaults(&self) -> Value {
        let known = self.schema["properties"].as_object().into_iter().flatten();
        let defaults =
            known.filter_map(|(name, schema)| Some((name.clone(), schema.get("default")?.clone())));
        Value::Object(defaults.collect())
    }

    /// The parameters that take only a few values, each with those.
    pub(crate) fn choices(&self) -> Vec<(String, Vec<Value>)> {
        let known = self.schema["properties"].as_object().into_iter().flatten();
        let choices = known.filter_map(|(name, schema)| {
            let values = match schema.get("enum").and_then(Value::as_array) {
                Some(values) => values.iter().take(MOST_CHOICES).cloned().collect(),
                None if schema["type"] == "boolean" => vec![Value::Bool(true), Value::Bool(false)],
                None => return None,
            };
            Some((name.clone(), values))
        });
        choices.collect()
    }
}

/// Finds a NUL character: it is legal in JSON, but many tools that read logs cannot handle it.
fn find_nul(value: &Value, pointer: &str) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(|| pointer.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| find_nul(item, &format!("{pointer}/{index}")))
        }
        Value::Object(members) => members
            .iter()
            .find_map(|(name, member)| find_nul(member, &format!("{pointer}/{}", escape_pointer(name)))),
        _ => None,
    }
}

fn field_error(error: &jsonschema::ValidationError<'_>) -> FieldError {
    let at = format!("/params{}", error.instance_path());
    if let Kind::Required { property } = error.kind() {
        let pointer = format!("{at}/{}", escape_pointer(property.as_str().unwrap_or_default()));
        let expected = "a value: it is required".to_owned();
        return FieldError { pointer, expected, ..FieldError::default() };
    }
    let got = match error.instance().as_ref() {
        Value::String(text) => Value::String(botops_core::redact::line(&botops_core::text::clean(text, 80))),
        Value::Array(items) => Value::String(format!("a list of {}", items.len())),
        Value::Object(_) => Value::String("an object".to_owned()),
        other => other.clone(),
    };
    let expected = botops_core::text::clean(&expected_by(error), 300);
    FieldError { pointer: at, got, expected, ..FieldError::default() }
}

/// What would be right. Of a rule that has no short form, what it says of the value.
fn expected_by(error: &jsonschema::ValidationError<'_>) -> String {
    match error.kind() {
        Kind::MinLength { limit } => format!("at least {limit} characters"),
        Kind::MaxLength { limit } => format!("at most {limit} characters"),
        Kind::MinItems { limit } => format!("at least {limit} items"),
        Kind::MaxItems { limit } => format!("at most {limit} items"),
        Kind::Minimum { limit } => format!("at least {limit}"),
        Kind::Maximum { limit } => format!("at most {limit}"),
        Kind::Enum { options } => format!("one of {options}"),
        Kind::Pattern { pattern } => format!("a text that matches `{pattern}`"),
        Kind::AdditionalProperties { unexpected } => {
            let names: Vec<String> = unexpected.iter().take(5).map(|name| format!("`{name}`")).collect();
            format!("no {}: the workflow takes no such parameter", names.join(", "))
        }
        Kind::Format { format } if format == "date-time" => {
            time_words(error.instance().as_str().unwrap_or_default())
        }
        _ => error.masked_with("it").to_string(),
    }
}

/// All faults of a file's schema for its parameters.
pub(crate) fn check_parameter_schema(marked: &MarkedDocument, schema: &Value) -> Vec<DefinitionFault> {
    let mut check = ParameterSchemaCheck { marked, faults: Vec::new() };
    check.check_schema(schema, "/params", true);
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            check.check_default(name, property);
        }
    }
    check.faults
}

struct ParameterSchemaCheck<'a> {
    marked: &'a MarkedDocument,
    faults: Vec<DefinitionFault>,
}

impl ParameterSchemaCheck<'_> {
    fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        self.faults.push(self.marked.fault_at(pointer, message));
    }

    /// Checks, at any depth, that a schema is closed and uses known keywords only.
    fn check_schema(&mut self, schema: &Value, at: &str, is_root: bool) {
        let Some(members) = schema.as_object() else {
            return self.refuse(at, "a schema must be an object");
        };
        for keyword in members.keys() {
            if !KEYWORDS.contains(&keyword.as_str()) {
                let note = if keyword == "x-secret" { ": secrets are not taken as parameters" } else { "" };
                self.refuse(
                    &format!("{at}/{}", escape_pointer(keyword)),
                    format!("`{keyword}` is no keyword that is taken{note}"),
                );
            }
        }
        let is_object = schema["type"] == "object";
        if is_root && !is_object {
            self.refuse(at, "parameters must be of type object");
        }
        if is_object && schema["additionalProperties"] != Value::Bool(false) {
            self.refuse(at, "an object must say `additionalProperties: false`");
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (name, property) in properties {
                self.check_schema(property, &format!("{at}/properties/{}", escape_pointer(name)), false);
            }
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !properties.contains_key(name) {
                    self.refuse(
                        &format!("{at}/required"),
                        format!("`{name}` is required but not a property"),
                    );
                }
            }
        }
        if let Some(items) = schema.get("items") {
            self.check_schema(items, &format!("{at}/items"), false);
        }
    }

    fn check_default(&mut self, name: &str, schema: &Value) {
        let Some(default) = schema.get("default") else { return };
        let at = format!("/params/properties/{}/default", escape_pointer(name));
        match compile_schema(schema) {
            Ok(validator) if !validator.is_valid(default) => {
                self.refuse(&at, "the default does not fit its own schema");
            }
            Ok(_) => {}
            Err(message) => self.refuse(&at, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_parameter_is_told_with_what_would_be_right() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["reason"],
            "properties": {
                "reason": {"type": "string", "minLength": 8},
                "drain_s": {"type": "integer", "minimum": 1},
                "mode": {"enum": ["graceful", "hard"]},
            },
        });
        let parameters = WorkflowParameters::new(&schema).unwrap();
        let refused = |params: Value| {
            let error = parameters.accept_params("restart-bot", params).unwrap_err();
            let problem = json!(error.problem("r", chrono::Utc::now()));
            let field = &problem["errors"][0];
            let text = |name: &str| field[name].as_str().unwrap_or_default().to_owned();
            (text("pointer"), field["got"].clone(), text("expected"))
        };
        let told = |pointer: &str, got: Value, expected: &str| (pointer.to_owned(), got, expected.to_owned());
        assert_eq!(refused(json!({})), told("/params/reason", Value::Null, "a value: it is required"));
        assert_eq!(
            refused(json!({"reason": "try"})),
            told("/params/reason", json!("try"), "at least 8 characters")
        );
        let reason = "a good reason";
        assert_eq!(
            refused(json!({"reason": reason, "drain_s": 0})),
            told("/params/drain_s", json!(0), "at least 1")
        );
        assert_eq!(
            refused(json!({"reason": reason, "mode": "soft"})),
            told("/params/mode", json!("soft"), "one of [\"graceful\",\"hard\"]")
        );
        let (pointer, _, expected) = refused(json!({"reason": reason, "mod": "hard"}));
        assert!(pointer == "/params" && expected.contains("`mod`"), "{pointer} {expected}");
    }
}
