//! Which operation a request is: read once from the API document, so that the document is what is enforced.
//!
//! A handler's annotation gives its operation id (also its name in the log and the metrics), the scope of its key and
//! its media types. A path that is not documented is not served without a key.

use std::collections::{BTreeMap, HashMap};

use axum::http::{HeaderMap, Method, header};
use serde_json::Value;

use super::auth::Scope;
use crate::telemetry::{HttpMetrics, OperationMetrics};

/// One documented operation.
#[derive(Debug)]
pub struct Operation {
    /// The handler's name: operation id, tool name, log and metric name.
    pub id: String,
    /// The scope the key needs; `None` for open operations.
    pub scope: Option<Scope>,
    /// Whether a stream ticket may stand in for the key.
    pub ticket: bool,
    /// The media types of its 200 answer.
    pub media: Vec<String>,
    /// Whether the handler wants to know who asks; a cached read answers everybody alike.
    pub(super) wants_actor: bool,
    /// Whether its answer can be cut to size and shown as a table.
    pub(super) shapes: bool,
    /// Whether it takes `fields` itself.
    pub(super) own_fields: bool,
    pub(super) metrics: OperationMetrics,
}

/// Reads that answer everybody alike, asked far more often than all others: nobody's name is put together for them.
const ANSWER_ALIKE: &[&str] = &["get_summary", "get_state", "get_metrics"];

/// The methods of one path.
#[derive(Debug, Default)]
pub(super) struct Methods {
    by_method: Vec<(Method, Operation)>,
}

impl Methods {
    pub(super) fn get(&self, method: &Method) -> Option<&Operation> {
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        self.by_method.iter().find(|(known, _)| known == wanted).map(|(_, operation)| operation)
    }

    pub(super) fn has_open(&self) -> bool {
        self.by_method.iter().any(|(_, operation)| operation.scope.is_none())
    }

    pub(super) fn allow(&self) -> String {
        let names: Vec<_> = self.by_method.iter().map(|(method, _)| method.as_str()).collect();
        names.join(", ")
    }
}

/// All documented operations, by path.
#[derive(Debug)]
pub struct Operations {
    exact: BTreeMap<String, Methods>,
    with_parameters: matchit::Router<Methods>,
    /// What is counted under no operation: unknown paths and methods.
    pub(super) unknown: OperationMetrics,
}

impl Operations {
    /// Reads an OpenAPI document.
    ///
    /// # Panics
    /// When two documented paths collide: a defect found at the first start.
    pub fn read(document: &Value, metrics: &HttpMetrics) -> Self {
        let mut exact = BTreeMap::new();
        let mut with_parameters = matchit::Router::new();
        for (path, item) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let methods = read_methods(item, metrics);
            if path.contains('{') {
                with_parameters.insert(path.clone(), methods).expect("documented paths do not collide");
            } else {
                exact.insert(path.clone(), methods);
            }
        }
        Self { exact, with_parameters, unknown: metrics.operation("unknown") }
    }

    pub(super) fn find(&self, path: &str) -> Option<&Methods> {
        if let Some(methods) = self.exact.get(path) {
            return Some(methods);
        }
        self.with_parameters.at(path).ok().map(|found| found.value)
    }

    /// Every operation by id with its scope, for self-description.
    pub fn scopes(&self) -> HashMap<String, Option<Scope>> {
        let exact = self.exact.values().flat_map(|methods| &methods.by_method);
        exact.map(|(_, operation)| (operation.id.clone(), operation.scope)).collect()
    }
}

impl Operation {
    /// Whether the request's `Accept` header can be met. No header means anything goes.
    pub(super) fn can_meet(&self, headers: &HeaderMap) -> bool {
        let mut asked = headers.get_all(header::ACCEPT).iter().peekable();
        if asked.peek().is_none() || self.media.is_empty() {
            return true;
        }
        let meets = |wanted: &str| {
            let wanted = wanted.split(';').next().unwrap_or_default().trim();
            if let Some(kind) = wanted.strip_suffix("/*") {
                return kind == "*" || self.media.iter().any(|media| media.starts_with(kind));
            }
            self.media.iter().any(|media| media.eq_ignore_ascii_case(wanted))
        };
        asked.filter_map(|value| value.to_str().ok()).any(|value| value.split(',').any(meets))
    }
}

fn read_methods(item: &Value, metrics: &HttpMetrics) -> Methods {
    let mut by_method = Vec::new();
    for (name, operation) in item.as_object().into_iter().flatten() {
        let Ok(method) = Method::from_bytes(name.to_uppercase().as_bytes()) else { continue };
        let Some(id) = operation.get("operationId").and_then(Value::as_str) else { continue };
        let requirements = operation.get("security").and_then(Value::as_array);
        let listed =
            |scheme: &str| requirements.into_iter().flatten().find_map(|requirement| requirement.get(scheme));
        let open = requirements
            .is_some_and(|list| list.iter().all(|one| one.as_object().is_some_and(|o| o.is_empty())));
        let named = listed("api_key").and_then(|scopes| scopes.get(0)).and_then(Value::as_str);
        // Without a readable scope the strictest one holds.
        let scope = named.and_then(|name| name.parse().ok()).unwrap_or(Scope::Admin);
        let media = operation.pointer("/responses/200/content").and_then(Value::as_object);
        by_method.push((
            method,
            Operation {
                id: id.to_owned(),
                scope: (!open).then_some(scope),
                ticket: listed("ticket").is_some(),
                media: media.into_iter().flat_map(|content| content.keys().cloned()).collect(),
                wants_actor: !ANSWER_ALIKE.contains(&id),
                shapes: operation.get("x-shapes").is_some(),
                own_fields: operation.get("x-shapes").and_then(Value::as_str) == Some("own-fields"),
                metrics: metrics.operation(id),
            },
        ));
    }
    Methods { by_method }
}
