//! Parts of the API document: one operation, or those of one tag, with the schemas that they need.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use botops_core::error::Error;
use botops_http::RenderedDocument;

/// The parts of the document, rendered.
#[derive(Debug)]
pub(crate) struct DocumentParts {
    pub(crate) by_operation: BTreeMap<String, RenderedDocument>,
    pub(crate) by_tag: BTreeMap<String, RenderedDocument>,
}

impl DocumentParts {
    /// Every part of this document.
    ///
    /// # Errors
    /// When a part cannot be written, which is a defect.
    pub(crate) fn of(document: &Value) -> Result<Self, Error> {
        let mut operations: BTreeMap<String, Vec<(&str, &str, &Value)>> = BTreeMap::new();
        let mut tags: BTreeMap<String, Vec<(&str, &str, &Value)>> = BTreeMap::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let place = (path.as_str(), method.as_str(), operation);
                if let Some(id) = operation["operationId"].as_str() {
                    operations.entry(id.to_owned()).or_default().push(place);
                }
                for tag in operation["tags"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    tags.entry(tag.to_owned()).or_default().push(place);
                }
            }
        }
        let rendered = |parts: BTreeMap<String, Vec<(&str, &str, &Value)>>| {
            let parts = parts.into_iter().map(|(name, places)| {
                let page = RenderedDocument::of_json(&part(document, &places))?;
                Ok::<_, Error>((name, page))
            });
            parts.collect::<Result<BTreeMap<_, _>, _>>()
        };
        Ok(Self { by_operation: rendered(operations)?, by_tag: rendered(tags)? })
    }
}

/// A document of these operations alone, valid by itself.
fn part(document: &Value, places: &[(&str, &str, &Value)]) -> Value {
    let mut paths = Map::new();
    for (path, method, operation) in places {
        paths.entry(*path).or_insert_with(|| json!({}))[*method] = (*operation).clone();
    }
    let mut needed = BTreeSet::new();
    let mut open = references(&Value::Object(paths.clone()));
    while let Some(name) = open.pop() {
        if needed.insert(name.clone()) {
            open.extend(references(&document["components"]["schemas"][&name]));
        }
    }
    let schemas: Map<String, Value> = needed
        .into_iter()
        .map(|name| (name.clone(), document["components"]["schemas"][&name].clone()))
        .collect();
    json!({
        "openapi": document["openapi"],
        "info": {"title": document["info"]["title"], "version": document["info"]["version"]},
        "servers": document["servers"],
        "paths": paths,
        "components": {"securitySchemes": document["components"]["securitySchemes"], "schemas": schemas},
    })
}

/// The names of the schemas that a value refers to.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let named = members.get("$ref").and_then(Value::as_str);
            let named = named.and_then(|text| text.strip_prefix("#/components/schemas/")).map(str::to_owned);
            named.into_iter().chain(members.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
