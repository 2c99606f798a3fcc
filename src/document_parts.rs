//! Parts of the API document: one operation, or those of one tag, with everything that they refer to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use botops_core::error::Error;
use botops_http::RenderedDocument;

use super::document_published::{HEALTH, SECOND_HEALTH, references, refusal};

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
        let second = second_addresses(document);
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
        for (path, method, operation) in &second {
            let id = operation["operationId"].as_str().unwrap_or_default();
            operations.entry(id.to_owned()).or_default().push((path, method, operation));
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

/// The health operations at their second address, which the document itself does not list.
fn second_addresses(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let Some(rest) = path.strip_prefix(HEALTH) else { continue };
        for (method, operation) in item.as_object().into_iter().flatten() {
            let id = operation["operationId"].as_str().unwrap_or_default();
            // What needs no key has one address.
            if operation.get("x-scope").is_none() {
                continue;
            }
            let mut second = operation.clone();
            second["operationId"] = json!(format!("{id}{}", SECOND_HEALTH.1));
            found.push((format!("{}{rest}", SECOND_HEALTH.0), method.clone(), second));
        }
    }
    found
}

/// A document of these operations alone, valid by itself.
fn part(document: &Value, places: &[(&str, &str, &Value)]) -> Value {
    let mut paths = Map::new();
    for (path, method, operation) in places {
        paths.entry(*path).or_insert_with(|| json!({}))[*method] = (*operation).clone();
    }
    let mut kept = json!({"securitySchemes": document["components"]["securitySchemes"]});
    let mut open = references(&Value::Object(paths.clone()), COMPONENTS);
    while let Some(name) = open.pop() {
        let pointer = format!("/components/{name}");
        let Some((kind, name)) = name.split_once('/') else { continue };
        let Some(component) = document.pointer(&pointer).filter(|_| kept[kind].get(name).is_none()) else {
            continue;
        };
        open.extend(references(component, COMPONENTS));
        kept[kind][name] = component.clone();
    }
    // Which codes each call can have is known here, and the others are of no use to its reader.
    let codes: BTreeSet<&str> = places
        .iter()
        .flat_map(|(.., operation)| operation["x-error-codes"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    for (status, response) in kept["responses"].as_object_mut().into_iter().flatten() {
        if response["content"].get("application/problem+json").is_some() {
            *response = refusal(status, |code| codes.contains(code));
        }
    }
    json!({
        "openapi": document["openapi"],
        "info": {"title": document["info"]["title"], "version": document["info"]["version"]},
        "servers": document["servers"],
        "paths": paths,
        "components": kept,
    })
}

/// How a reference to anything that operations share begins.
const COMPONENTS: &str = "#/components/";
