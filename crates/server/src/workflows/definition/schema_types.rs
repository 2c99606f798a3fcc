//! Types of references, from JSON schemas: whether a value of one schema is valid under another.
//!
//! Covers exactly the schemas that occur: parameter schemas (closed, known keywords) and those derived from the
//! actions' Rust types. It is no complete check of schema inclusion: a reference that passes is validated again as a
//! value when the step runs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// The schema of a value, and whether the value may be missing.
#[derive(Debug, Clone)]
pub(crate) struct SchemaType {
    pub(crate) schema: Value,
    pub(crate) may_be_absent: bool,
}

impl SchemaType {
    pub(crate) fn of(schema: Value) -> Self {
        Self { schema, may_be_absent: false }
    }

    pub(crate) fn of_literal(value: &Value) -> Self {
        Self::of(json!({"const": value}))
    }
}

/// The type of any number.
pub(crate) fn any_number() -> SchemaType {
    SchemaType::of(json!({"type": "number"}))
}

/// The type of any text.
pub(crate) fn any_text() -> SchemaType {
    SchemaType::of(json!({"type": "string"}))
}

/// The type of one member of an object.
pub(crate) fn member_type(schema: &Value, name: &str) -> Result<SchemaType, String> {
    let branches = branches_of(schema);
    let mut nearest = None;
    for branch in &branches {
        if is_any(branch) {
            return Ok(SchemaType { schema: Value::Bool(true), may_be_absent: true });
        }
        if let Some(property) = branch["properties"].get(name) {
            let required =
                branch["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
            let may_be_absent = !required && property.get("default").is_none();
            return Ok(SchemaType { schema: property.clone(), may_be_absent });
        }
        if branch["additionalProperties"].is_object() {
            return Ok(SchemaType { schema: branch["additionalProperties"].clone(), may_be_absent: true });
        }
        if let (Some(items), Ok(_)) = (branch.get("items"), name.parse::<usize>()) {
            return Ok(SchemaType { schema: items.clone(), may_be_absent: true });
        }
        if let Some(properties) = branch["properties"].as_object() {
            nearest = Some(properties.keys().cloned().collect::<Vec<_>>().join(", "));
        }
    }
    Err(match nearest {
        Some(known) => format!("there is no `{name}`; known: {known}"),
        None => format!("there is no `{name}` in it"),
    })
}

/// The type of the value at a path.
pub(crate) fn type_at(schema: &Value, path: &[String]) -> Result<SchemaType, String> {
    let mut shape = SchemaType::of(schema.clone());
    for name in path {
        let may_be_absent =
            shape.may_be_absent || kinds_of(&shape.schema).is_some_and(|kinds| kinds.contains("null"));
        shape = member_type(&shape.schema, name)?;
        shape.may_be_absent |= may_be_absent;
    }
    Ok(shape)
}

/// Whether every value of `source` is valid where `target` is expected.
pub(crate) fn check_assignable(source: &SchemaType, target: &SchemaType) -> Result<(), String> {
    let (Some(given), Some(wanted)) = (kinds_of(&source.schema), kinds_of(&target.schema)) else {
        return Ok(());
    };
    for kind in &given {
        let fits = wanted.contains(kind)
            || (*kind == "integer" && wanted.contains("number"))
            // For an input that may be absent, `null` means absent.
            || (*kind == "null" && target.may_be_absent);
        if !fits {
            return Err(format!("this may be {kind}; expected is {}", join_kinds(&wanted)));
        }
    }
    if source.may_be_absent && !target.may_be_absent && !wanted.contains("null") {
        return Err("this may be missing when the step runs, but the input is required".to_owned());
    }
    if let (Some(given), Some(wanted)) = (choices_of(&source.schema), choices_of(&target.schema))
        && let Some(stranger) = given.iter().find(|choice| !wanted.contains(choice))
    {
        return Err(format!("this may be {stranger}, which is not among the values that are taken"));
    }
    Ok(())
}

/// Whether some value could be on both sides of a comparison.
pub(crate) fn check_comparable(left: &SchemaType, right: &SchemaType) -> Result<(), String> {
    let (Some(a), Some(b)) = (kinds_of(&left.schema), kinds_of(&right.schema)) else { return Ok(()) };
    let as_number = |kind: &'static str| if kind == "integer" { "number" } else { kind };
    let a_numbers: BTreeSet<_> = a.iter().map(|kind| as_number(kind)).collect();
    let meets = b.iter().any(|kind| a_numbers.contains(as_number(kind)));
    if !meets {
        return Err(format!("{} is compared with {}", join_kinds(&a), join_kinds(&b)));
    }
    if let (Some(a), Some(b)) = (choices_of(&left.schema), choices_of(&right.schema))
        && !b.iter().any(|choice| a.contains(choice))
    {
        let known: Vec<_> = a.iter().map(ToString::to_string).collect();
        return Err(format!("no such value; known: {}", known.join(", ")));
    }
    Ok(())
}

fn is_any(schema: &Value) -> bool {
    match schema {
        Value::Bool(any) => *any,
        Value::Object(members) => {
            !["type", "properties", "anyOf", "oneOf", "enum", "const", "items", "additionalProperties"]
                .iter()
                .any(|keyword| members.contains_key(*keyword))
        }
        _ => false,
    }
}

/// The alternatives of a schema, without `null`.
fn branches_of(schema: &Value) -> Vec<Value> {
    let alternatives = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    match alternatives {
        Some(list) => list.iter().filter(|one| one["type"] != "null").flat_map(branches_of).collect(),
        None => vec![schema.clone()],
    }
}

/// The JSON types a schema allows; `None` for any.
fn kinds_of(schema: &Value) -> Option<BTreeSet<&'static str>> {
    if is_any(schema) {
        return None;
    }
    let alternatives = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    if let Some(list) = alternatives {
        let mut all = BTreeSet::new();
        for one in list {
            all.extend(kinds_of(one)?);
        }
        return Some(all);
    }
    if let Some(choices) = choices_of(schema) {
        return Some(choices.iter().map(kind_of).collect());
    }
    let named = |name: &str| {
        ["null", "boolean", "integer", "number", "string", "array", "object"]
            .into_iter()
            .find(|kind| *kind == name)
    };
    match &schema["type"] {
        Value::String(name) => Some(named(name).into_iter().collect()),
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).filter_map(named).collect()),
        _ => None,
    }
}

fn choices_of(schema: &Value) -> Option<Vec<Value>> {
    if let Some(constant) = schema.get("const") {
        return Some(vec![constant.clone()]);
    }
    if let Some(list) = schema.get("enum").and_then(Value::as_array) {
        return Some(list.clone());
    }
    // An enum whose variants have doc comments becomes a list of schemas with one `const` each.
    let alternatives = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
    let mut all = Vec::new();
    for one in alternatives {
        all.extend(choices_of(one)?);
    }
    Some(all)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn join_kinds(kinds: &BTreeSet<&'static str>) -> String {
    kinds.iter().copied().collect::<Vec<_>>().join(" or ")
}
