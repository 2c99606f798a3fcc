//! A workflow's parameters: the schema in its file, and validating what a caller sends.

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::json_schema::compile_schema;
use super::marked_document::{DefinitionFault, MarkedDocument, escape_pointer};
use botops_core::error::{Code, Error, FieldError};
use botops_core::exact_number::write_integers;

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
    let pointer = format!("/params{}", error.instance_path());
    let got = match error.instance().as_ref() {
        Value::String(text) => Value::String(botops_core::redact::line(&botops_core::text::clean(text, 80))),
        Value::Array(items) => Value::String(format!("a list of {}", items.len())),
        Value::Object(_) => Value::String("an object".to_owned()),
        other => other.clone(),
    };
    let expected = botops_core::text::clean(&error.masked_with("it").to_string(), 300);
    FieldError { pointer, got, expected }
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
