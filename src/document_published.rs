//! The API document as it is published: each operation once, and what many operations share once.
//!
//! [`crate::routes::document`] says everything at every operation, because the table that the guard enforces is made of
//! it. A reader wants each thing said once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use botops_core::error::Code;

/// The second address of the health operations, and how their operation ids end there.
pub(crate) const SECOND_HEALTH: (&str, &str) = ("/api/trading-engine/health", "_at_trading_engine");

/// The first address of the health operations.
pub(crate) const HEALTH: &str = "/api/v1/health";

/// The methods of a path item; its other members are no operations.
const METHODS: &[&str] = &["get", "put", "post", "delete"];

/// The published form of the whole document.
pub(crate) fn publish(whole: &Value) -> Value {
    let mut document = whole.clone();
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|path, _| !path.starts_with(SECOND_HEALTH.0) && path != "/api/docs/");
        // `{*name}` is how the router says that a name may have slashes; to OpenAPI it is a parameter of another name.
        if let Some(asset) = paths.remove("/api/docs/{*asset}") {
            paths.insert("/api/docs/{asset}".to_owned(), asset);
        }
    }
    refer_to_refusals(&mut document);
    share(&mut document, "parameters", |operation, visit| {
        for parameter in parameters(operation) {
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            visit(parameter, &name);
        }
    });
    share(&mut document, "headers", |operation, visit| {
        for response in members(&mut operation["responses"]) {
            if let Some(headers) = response.get_mut("headers").and_then(Value::as_object_mut) {
                headers.iter_mut().for_each(|(name, header)| visit(header, name));
            }
        }
    });
    share(&mut document, "examples", |operation, visit| {
        for response in members(&mut operation["responses"]) {
            for content in response.get_mut("content").into_iter().flat_map(members) {
                let name = schema_name(&content["schema"]).unwrap_or("example").to_owned();
                if let Some(example) = content.as_object_mut().and_then(|content| content.remove("example")) {
                    // Examples stand in a member of their own, under a name, and there as a `value`.
                    let mut named = json!({"value": example});
                    visit(&mut named, &name);
                    match named.get("value") {
                        Some(_) => content["example"] = named["value"].take(),
                        None => content["examples"] = json!({"usual": named}),
                    }
                }
            }
        }
    });
    keep_used_schemas(&mut document);
    document
}

/// Every operation of a document.
pub(crate) fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let items = members(&mut document["paths"]).filter_map(Value::as_object_mut);
    items.flatten().filter(|(method, _)| METHODS.contains(&method.as_str())).map(|(_, operation)| operation)
}

/// The parameters of an operation.
pub(crate) fn parameters(operation: &mut Value) -> impl Iterator<Item = &mut Value> {
    operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
}

fn members(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_object_mut().into_iter().flat_map(|members| members.values_mut())
}

/// The name of the schema that a schema is, or whose part it may be.
pub(crate) fn schema_name(schema: &Value) -> Option<&str> {
    let whole = if schema["anyOf"].is_array() { &schema["anyOf"][0] } else { schema };
    whole["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

/// Gives every operation the same response of a status: which codes are its own, the operation says.
fn refer_to_refusals(document: &mut Value) {
    let mut shared = Map::new();
    for operation in operations(document) {
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            let is_problem = response["content"].get("application/problem+json").is_some();
            let described = match status.as_bytes().first() {
                Some(b'4' | b'5') if is_problem => refusal(status, |_| true),
                _ if status == "304" => response.clone(),
                _ => continue,
            };
            shared.entry(status.clone()).or_insert(described);
            *response = json!({"$ref": format!("#/components/responses/{status}")});
        }
    }
    document["components"]["responses"] = Value::Object(shared);
}

/// The response of a refusal with this status, which names those of its codes that are `wanted`.
pub(crate) fn refusal(status: &str, wanted: impl Fn(&str) -> bool) -> Value {
    let rows = Code::ALL.iter().map(|code| code.row());
    let rows = rows.filter(|row| row.status.to_string() == status && wanted(row.code));
    let named: Vec<_> = rows.map(|row| format!("{} ({})", row.code, row.title)).collect();
    json!({
        "description": format!("Refused; the codes of a call are its `x-error-codes`, of these: {}", named.join(", ")),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

/// Replaces what stands at several operations by a reference to one in `components`.
///
/// `each` shows every such value of an operation, with the name it would have there.
fn share(document: &mut Value, kind: &str, each: impl Fn(&mut Value, &mut dyn FnMut(&mut Value, &str))) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for operation in operations(&mut document.clone()) {
        each(operation, &mut |value, _| {
            let count = counts.entry(value.to_string()).or_default();
            *count = count.saturating_add(1);
        });
    }
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut shared = Map::new();
    for operation in operations(document) {
        each(operation, &mut |value, wanted| {
            let text = value.to_string();
            if counts.get(&text).is_none_or(|count| *count < 2) {
                return;
            }
            let name = names.entry(text).or_insert_with(|| {
                let name = free_name(wanted, &shared);
                shared.insert(name.clone(), value.clone());
                name
            });
            *value = json!({"$ref": format!("#/components/{kind}/{name}")});
        });
    }
    document["components"][kind] = Value::Object(shared);
}

/// A name for a shared value: what it is called, with a number where two that differ are called the same.
fn free_name(wanted: &str, taken: &Map<String, Value>) -> String {
    let numbered = (2..).map(|number| format!("{wanted}_{number}"));
    std::iter::once(wanted.to_owned())
        .chain(numbered)
        .find(|name| !taken.contains_key(name))
        .unwrap_or_default()
}

/// Drops the schemas that nothing refers to.
pub(crate) fn keep_used_schemas(document: &mut Value) {
    let mut components = document["components"].clone();
    let schemas = components["schemas"].take();
    let mut open = references(&document["paths"], SCHEMAS);
    open.extend(references(&components, SCHEMAS));
    let used = reachable(open, &schemas);
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.retain(|name, _| used.contains(name));
    }
}

/// How a reference to a schema begins.
pub(crate) const SCHEMAS: &str = "#/components/schemas/";

/// The names of the schemas that these lead to, themselves included.
pub(crate) fn reachable(mut open: Vec<String>, schemas: &Value) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            open.extend(references(&schemas[&name], SCHEMAS));
        }
    }
    seen
}

/// The ends of all references of a value that begin so, as often as they stand there.
pub(crate) fn references(value: &Value, begin: &str) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let named = members.get("$ref").and_then(Value::as_str);
            let named = named.and_then(|text| text.strip_prefix(begin)).map(str::to_owned);
            named.into_iter().chain(members.values().flat_map(|value| references(value, begin))).collect()
        }
        Value::Array(items) => items.iter().flat_map(|value| references(value, begin)).collect(),
        _ => Vec::new(),
    }
}
