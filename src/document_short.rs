//! The published API document in few words: whole, but short enough to be read at once.
//!
//! Every operation, argument, member, type and example is kept; what goes is what a part of the document
//! (`?operation=`, `?tag=`) says at length: the meaning of each member of an answer, and refusals that any call can get.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::any_call_codes::is_code_of_any_call;
use crate::document_published::{SCHEMAS, keep_used_schemas, operations, parameters, reachable, references};
use botops_core::error::Code;

/// Formats that say no more than the type does.
const IDLE_FORMATS: &[&str] = &["int32", "int64", "double"];

/// The longest explanation of a member of a request, in bytes; a longer one is left to the part.
const MEMBER_TEXT: usize = 28;

/// The longest explanation of an operation beside its summary.
const OPERATION_TEXT: usize = 80;

/// The longest explanation of a parameter.
const PARAMETER_TEXT: usize = 60;

/// The document in short.
pub(crate) fn shorten(published: &Value) -> Value {
    let mut document = published.clone();
    let sent = sent_schemas(&document);
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        for (name, schema) in schemas.iter_mut() {
            clean(schema, sent.contains(name));
        }
    }
    document["security"] = json!([{"api_key": ["read"]}]);
    let mut statuses = BTreeSet::new();
    for operation in operations(&mut document) {
        shorten_operation(operation, &mut statuses);
    }
    if let Some(parameters) = document["components"]["parameters"].as_object_mut() {
        parameters.values_mut().for_each(shorten_parameter);
    }
    if let Some(responses) = document["components"]["responses"].as_object_mut() {
        responses.retain(|status, _| statuses.contains(status));
        for (status, response) in responses.iter_mut().filter(|(status, _)| *status != "304") {
            response["description"] = json!(format!("Refused ({status})"));
        }
        responses.insert("default".to_owned(), any_refusal());
    }
    inline_schemas(&mut document);
    keep_used_schemas(&mut document);
    document
}

/// The schemas of what a client sends: their members are explained here too.
fn sent_schemas(document: &Value) -> BTreeSet<String> {
    let mut open = references(&document["components"]["parameters"], SCHEMAS);
    for item in document["paths"].as_object().into_iter().flat_map(Map::values) {
        for operation in item.as_object().into_iter().flat_map(Map::values) {
            open.extend(references(&operation["requestBody"], SCHEMAS));
            open.extend(references(&operation["parameters"], SCHEMAS));
        }
    }
    reachable(open, &document["components"]["schemas"])
}

fn shorten_operation(operation: &mut Value, statuses: &mut BTreeSet<String>) {
    if operation["security"] == json!([{"api_key": ["read"]}]) {
        remove(operation, "security");
    }
    // The scope stands in `security`.
    remove(operation, "x-scope");
    let is_shaped = operation.get("x-shapes").is_some();
    parameters(operation).for_each(shorten_parameter);
    let text = operation.get("description").and_then(Value::as_str).map(first_sentence);
    remove(operation, "description");
    if let Some(text) = text.filter(|text| text.len() <= OPERATION_TEXT) {
        operation["description"] = json!(text);
    }
    let request = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
    for content in request.into_iter().flat_map(Map::values_mut) {
        if let Some(schema) = content.get_mut("schema") {
            clean(schema, true);
        }
    }
    let listed = operation.get("x-error-codes").cloned().unwrap_or_default();
    remove(operation, "x-error-codes");
    let is_listed = |code: &Code| listed.as_array().into_iter().flatten().any(|one| one == code.row().code);
    let own = Code::ALL.iter().filter(|code| is_listed(code) && !is_code_of_any_call(**code));
    let own_statuses: BTreeSet<String> = own.map(|code| code.row().status.to_string()).collect();
    if let Some(responses) = operation["responses"].as_object_mut() {
        let before = responses.len();
        responses.retain(|status, response| {
            let is_refusal = status.starts_with(['4', '5']) && response.get("$ref").is_some();
            !is_refusal || own_statuses.contains(status)
        });
        if responses.len() < before {
            responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/default"}));
        }
        statuses.extend(responses.keys().cloned());
        for (status, response) in responses {
            if status == "200" {
                response["description"] = json!("Done");
            }
            shorten_answer(response, is_shaped);
        }
    }
}

fn shorten_answer(response: &mut Value, is_shaped: bool) {
    if let Some(contents) = response.get_mut("content").and_then(Value::as_object_mut) {
        // `x-shapes` says that the tables are there.
        if is_shaped && contents.contains_key("application/json") {
            contents.retain(|media, _| !botops_http::answer_shape::FORMS.contains(&media.as_str()));
        }
        for schema in contents.values_mut().filter_map(|content| content.get_mut("schema")) {
            clean(schema, false);
        }
    }
}

fn shorten_parameter(parameter: &mut Value) {
    let text = parameter.get("description").and_then(Value::as_str).map(first_sentence);
    remove(parameter, "description");
    if let Some(text) = text.filter(|text| text.len() <= PARAMETER_TEXT) {
        parameter["description"] = json!(text);
    }
    if parameter.get("required").is_some_and(|required| required == false) {
        remove(parameter, "required");
    }
    remove(parameter, "example");
    if let Some(schema) = parameter.get_mut("schema") {
        clean(schema, true);
    }
}

/// What any call can be refused with, by status.
fn any_refusal() -> Value {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for row in Code::ALL.iter().filter(|code| is_code_of_any_call(**code)).map(|code| code.row()) {
        by_status.entry(row.status).or_default().push(row.code);
    }
    let named: Vec<_> =
        by_status.iter().map(|(status, codes)| format!("{status} {}", codes.join(" "))).collect();
    json!({
        "description": format!("Refused as any call can be: {}", named.join(", ")),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

/// The first sentence of a text, on one line.
fn first_sentence(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.split_inclusive(". ").next().unwrap_or_default().trim_end().to_owned()
}

/// Takes out of a schema what is said elsewhere or says nothing.
fn clean(schema: &mut Value, is_sent: bool) {
    let text = schema["description"].as_str().filter(|_| is_sent).map(first_sentence);
    let Some(members) = schema.as_object_mut() else { return };
    members.remove("description");
    if let Some(text) = text.filter(|text| text.len() <= MEMBER_TEXT) {
        members.insert("description".to_owned(), json!(text));
    }
    if members.get("default").is_some_and(Value::is_null) {
        members.remove("default");
    }
    if members.get("format").and_then(Value::as_str).is_some_and(|format| IDLE_FORMATS.contains(&format)) {
        members.remove("format");
    }
    if !is_sent && members.get("minimum").is_some_and(|least| *least == 0) {
        members.remove("minimum");
    }
    // The names of any JSON object are strings.
    members.remove("propertyNames");
    members.remove("example");
    merge_parts(members);
    if !is_sent {
        // Which members an answer always has, its part says.
        members.remove("required");
    }
    for (keyword, value) in members.iter_mut() {
        match keyword.as_str() {
            "properties" => value
                .as_object_mut()
                .into_iter()
                .flat_map(Map::values_mut)
                .for_each(|member| clean(member, is_sent)),
            "allOf" | "anyOf" | "oneOf" => {
                value.as_array_mut().into_iter().flatten().for_each(|part| clean(part, is_sent));
            }
            "items" | "additionalProperties" => clean(value, is_sent),
            _ => {}
        }
    }
}

/// Makes one object of an `allOf` of objects that stand there themselves.
fn merge_parts(members: &mut Map<String, Value>) {
    let parts = members.get("allOf").and_then(Value::as_array).cloned().unwrap_or_default();
    if parts.is_empty() || parts.iter().any(|part| !part["properties"].is_object()) {
        return;
    }
    members.remove("allOf");
    let mut whole = json!({"type": "object", "properties": {}});
    let mut required = Vec::new();
    for part in &parts {
        for (name, member) in part["properties"].as_object().into_iter().flatten() {
            whole["properties"][name] = member.clone();
        }
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
    }
    if !required.is_empty() {
        whole["required"] = Value::Array(required);
    }
    if let Some(whole) = whole.as_object_mut() {
        members.append(whole);
    }
}

fn remove(value: &mut Value, name: &str) {
    if let Some(members) = value.as_object_mut() {
        members.remove(name);
    }
}

/// Puts schemas in the place of the references to them: those that are used once, and single values.
fn inline_schemas(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for name in references(document, SCHEMAS) {
        let count = uses.entry(name).or_default();
        *count = count.saturating_add(1);
    }
    let inlined: Map<String, Value> = schemas
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, schema)| {
            let is_value = schema["type"].is_string() && !is_structured(schema);
            let is_of_one = uses.get(*name) == Some(&1);
            (is_value || is_of_one) && !reachable(references(schema, SCHEMAS), &schemas).contains(*name)
        })
        .map(|(name, schema)| (name.clone(), schema.clone()))
        .collect();
    inline(document, &inlined);
}

/// Whether a schema has more than a type.
fn is_structured(schema: &Value) -> bool {
    ["enum", "properties", "items", "oneOf", "anyOf", "allOf", "additionalProperties"]
        .iter()
        .any(|keyword| schema.get(*keyword).is_some())
}

fn inline(value: &mut Value, inlined: &Map<String, Value>) {
    let target = value.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(SCHEMAS));
    if let Some(schema) = target.and_then(|name| inlined.get(name)) {
        let mut whole = schema.clone();
        // What stands beside a reference is about this place.
        if let (Some(members), Some(own)) = (whole.as_object_mut(), value.as_object_mut()) {
            own.remove("$ref");
            members.append(own);
        }
        *value = whole;
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| inline(member, inlined)),
        Value::Array(items) => items.iter_mut().for_each(|item| inline(item, inlined)),
        _ => {}
    }
    fold_null(value);
}

/// `oneOf` a value and `null` is a value whose type may be `null`.
fn fold_null(value: &mut Value) {
    let Some([one, other]) = value.get("oneOf").and_then(Value::as_array).map(Vec::as_slice) else { return };
    let null = json!({"type": "null"});
    let kept = if *one == null { other } else { one };
    let is_pair = *one == null || *other == null;
    if !is_pair || !kept["type"].is_string() || kept.get("enum").is_some() {
        return;
    }
    let mut folded = kept.clone();
    folded["type"] = json!([kept["type"], "null"]);
    if let (Some(members), Some(own)) = (folded.as_object_mut(), value.as_object_mut()) {
        own.remove("oneOf");
        members.append(own);
    }
    *value = folded;
}
