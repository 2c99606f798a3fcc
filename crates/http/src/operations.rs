//! Which operation a request is: taken from the API document, so that the document is what is enforced.
//!
//! A handler's annotation gives its operation id (also its name in the log and the metrics), the scope of its key and
//! its media types. A path that is not documented is not served without a key. The document is two hundred times
//! as long as what is needed of it, so a start reads a [`OperationTable`] that is kept beside it.

use std::collections::HashMap;
use std::fmt;

use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use serde_json::Value;

use super::auth::KeyScope;
use botops_core::error::{Code, Error};
use botops_core::telemetry::{HttpMetrics, OperationMetrics};

/// One documented operation.
#[derive(Debug)]
pub struct ApiOperation {
    /// The handler's name: operation id, tool name, log and metric name.
    pub id: String,
    /// The scope the key needs; `None` for open operations.
    pub scope: Option<KeyScope>,
    /// Whether a stream ticket may stand in for the key.
    pub ticket: bool,
    /// The media types of its 200 answer.
    pub media: Vec<String>,
    /// Whether its failures are JSON-RPC errors, with the problem as their data.
    pub(super) json_rpc: bool,
    /// Whether its answer can be cut to size and shown as a table.
    pub(super) shapes: bool,
    /// Whether it takes `fields` itself.
    pub(super) own_fields: bool,
    /// The query parameters it takes, as documented.
    query: Vec<String>,
    /// The codes it may fail with, as documented.
    codes: Vec<String>,
    pub(super) ready: Option<ReadyAnswer>,
    pub(super) metrics: OperationMetrics,
}

/// A plain read (no query, nothing special accepted) answered from what was rendered before: no waiting, no router.
/// The handler of the same operation gives the same answer.
pub struct ReadyAnswer(Box<dyn Fn(&HeaderMap) -> Response + Send + Sync>);

impl ReadyAnswer {
    /// Answers by this function, which gets the request's headers.
    pub fn new(answer: impl Fn(&HeaderMap) -> Response + Send + Sync + 'static) -> Self {
        Self(Box::new(answer))
    }

    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        (self.0)(headers)
    }
}

impl fmt::Debug for ReadyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}

/// The methods of one path.
#[derive(Debug, Default)]
pub(super) struct PathMethods {
    by_method: Vec<(Method, ApiOperation)>,
}

impl PathMethods {
    pub(super) fn get(&self, method: &Method) -> Option<&ApiOperation> {
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        self.by_method.iter().find(|(known, _)| known == wanted).map(|(_, operation)| operation)
    }

    pub(super) fn has_open(&self) -> bool {
        self.by_method.iter().any(|(_, operation)| operation.scope.is_none())
    }

    /// Whether failures at this path are JSON-RPC errors, those of unknown methods included.
    pub(super) fn is_json_rpc(&self) -> bool {
        self.by_method.iter().any(|(_, operation)| operation.json_rpc)
    }

    pub(super) fn allow(&self) -> String {
        let names: Vec<_> = self.by_method.iter().map(|(method, _)| method.as_str()).collect();
        names.join(", ")
    }
}

/// All documented operations, by path.
#[derive(Debug)]
pub struct OperationIndex {
    /// By length, then by text: most look-ups compare one text.
    exact: Vec<(String, PathMethods)>,
    with_parameters: matchit::Router<PathMethods>,
    /// What is counted under no operation: unknown paths and methods.
    pub(super) unknown: OperationMetrics,
}

impl OperationIndex {
    /// These operations.
    ///
    /// # Panics
    /// When two documented paths collide: a defect found at the first start.
    pub fn new(table: &OperationTable, metrics: &HttpMetrics) -> Self {
        let mut exact = Vec::new();
        let mut with_parameters = matchit::Router::new();
        for (path, rows) in table.by_path() {
            let by_method =
                rows.iter().map(|row| (row.method.clone(), ApiOperation::new(row, metrics))).collect();
            let methods = PathMethods { by_method };
            if path.contains('{') {
                with_parameters.insert(path, methods).expect("documented paths do not collide");
            } else {
                exact.push((path.to_owned(), methods));
            }
        }
        exact.sort_by(|(one, _), (other, _)| by_length(one, other));
        Self { exact, with_parameters, unknown: metrics.operation("unknown") }
    }

    /// The same with this operation's plain reads answered at once.
    ///
    /// # Panics
    /// When there is no such operation: a defect found at the first start.
    #[must_use]
    pub fn with_ready(mut self, id: &str, ready: ReadyAnswer) -> Self {
        let all = self.exact.iter_mut().flat_map(|(_, methods)| &mut methods.by_method);
        let (_, operation) =
            all.into_iter().find(|(_, operation)| operation.id == id).expect("it is documented");
        operation.ready = Some(ready);
        self
    }

    pub(super) fn find(&self, path: &str) -> Option<&PathMethods> {
        if let Ok(at) = self.exact.binary_search_by(|(known, _)| by_length(known, path)) {
            return self.exact.get(at).map(|(_, methods)| methods);
        }
        self.with_parameters.at(path).ok().map(|found| found.value)
    }

    /// Every operation by id with its scope, for self-description.
    pub fn scopes(&self) -> HashMap<String, Option<KeyScope>> {
        let exact = self.exact.iter().flat_map(|(_, methods)| &methods.by_method);
        exact.map(|(_, operation)| (operation.id.clone(), operation.scope)).collect()
    }
}

fn by_length(one: &str, other: &str) -> std::cmp::Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

impl ApiOperation {
    fn new(row: &OperationTableRow, metrics: &HttpMetrics) -> Self {
        Self {
            id: row.id.clone(),
            scope: row.scope,
            ticket: row.ticket,
            media: row.media.clone(),
            json_rpc: row.json_rpc,
            shapes: row.shapes,
            own_fields: row.own_fields,
            query: row.query.clone(),
            codes: row.codes.clone(),
            ready: None,
            metrics: metrics.operation(&row.id),
        }
    }

    /// Whether the handler is told who asks. What is rendered ahead answers everybody alike, and is asked far more often
    /// than all else: nobody's name is put together for it.
    pub(super) fn wants_actor(&self) -> bool {
        self.ready.is_none()
    }

    /// Refuses a query parameter that the operation does not have. Open operations are not asked.
    ///
    /// # Errors
    /// [`Code::ArgumentInvalid`] with the parameter and those that there are.
    pub(super) fn check_query(&self, query: &str) -> Result<(), Error> {
        check_query(query, &self.query)
    }

    /// Whether the API document says that the operation can fail so.
    #[cfg(debug_assertions)]
    pub(super) fn may_fail_with(&self, code: &str) -> bool {
        self.codes.iter().any(|known| known == code)
    }

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

fn parameter_names(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').map(|pair| pair.split('=').next().unwrap_or_default()).filter(|name| !name.is_empty())
}

/// Refuses a query parameter that is not among the known ones.
///
/// # Errors
/// [`Code::ArgumentInvalid`] with the parameter and those that there are.
pub(super) fn check_query(query: &str, known: &[String]) -> Result<(), Error> {
    match parameter_names(query).find(|name| !known.iter().any(|one| one == name)) {
        Some(name) => Err(unknown_parameter(name, known)),
        None => Ok(()),
    }
}

fn unknown_parameter(name: &str, known: &[String]) -> Error {
    let name = botops_core::text::clean(name, 60);
    let expected = match known {
        [] => "no query parameter".to_owned(),
        known => format!("one of {}", known.join(", ")),
    };
    Error::new(Code::ArgumentInvalid)
        .detail(format!("there is no query parameter `{name}` here; this call takes {expected}"))
        .field(format!("?{name}"), name, expected)
}

/// What a start needs of the API document: one line per operation, sorted by path.
#[derive(Debug)]
pub struct OperationTable {
    rows: Vec<OperationTableRow>,
}

/// One line: method, path, operation id, `open` or the scope (`+ticket` where one may stand in), how the answer can
/// be shaped (or `json-rpc`), its media types, its query parameters, the codes it may fail with. A dash where there is
/// none.
#[derive(Debug)]
pub(super) struct OperationTableRow {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) id: String,
    pub(super) scope: Option<KeyScope>,
    pub(super) ticket: bool,
    pub(super) shapes: bool,
    pub(super) own_fields: bool,
    pub(super) json_rpc: bool,
    pub(super) media: Vec<String>,
    pub(super) query: Vec<String>,
    pub(super) codes: Vec<String>,
}

impl OperationTable {
    /// Takes the operations out of an OpenAPI document.
    pub fn of(document: &Value) -> Self {
        let mut rows = Vec::new();
        for (path, item) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let operations = item.as_object().into_iter().flatten();
            rows.extend(
                operations.filter_map(|(method, operation)| OperationTableRow::of(path, method, operation)),
            );
        }
        // Stable: the methods of a path keep the document's order, which `Allow` shows.
        rows.sort_by(|one, other| one.path.cmp(&other.path));
        Self { rows }
    }

    /// Reads what `Display` wrote.
    ///
    /// # Panics
    /// When a line is none: a defect found at the first start.
    pub fn read(text: &str) -> Self {
        let rows = text
            .lines()
            .map(|line| OperationTableRow::read(line).expect("a test holds the table to the document"));
        Self { rows: rows.collect() }
    }

    pub(super) fn by_path(&self) -> impl Iterator<Item = (&str, &[OperationTableRow])> {
        self.rows.chunk_by(|one, other| one.path == other.path).map(|rows| (rows[0].path.as_str(), rows))
    }
}

impl fmt::Display for OperationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl OperationTableRow {
    fn of(path: &str, method: &str, operation: &Value) -> Option<Self> {
        let requirements = operation.get("security").and_then(Value::as_array);
        let listed =
            |scheme: &str| requirements.into_iter().flatten().find_map(|requirement| requirement.get(scheme));
        let open = requirements
            .is_some_and(|list| list.iter().all(|one| one.as_object().is_some_and(|o| o.is_empty())));
        let named = listed("api_key").and_then(|scopes| scopes.get(0)).and_then(Value::as_str);
        // Without a readable scope the strictest one holds.
        let scope = named.and_then(|name| name.parse().ok()).unwrap_or(KeyScope::Admin);
        let media = operation.pointer("/responses/200/content").and_then(Value::as_object);
        let shapes = operation.get("x-shapes").and_then(Value::as_str);
        let parameters = operation.get("parameters").and_then(Value::as_array);
        let in_query = parameters.into_iter().flatten().filter(|parameter| parameter["in"] == "query");
        let codes = operation.get("x-error-codes").and_then(Value::as_array);
        Some(Self {
            method: Method::from_bytes(method.to_uppercase().as_bytes()).ok()?,
            path: path.to_owned(),
            id: operation.get("operationId").and_then(Value::as_str)?.to_owned(),
            scope: (!open).then_some(scope),
            ticket: listed("ticket").is_some(),
            shapes: shapes.is_some(),
            own_fields: shapes == Some("own-fields"),
            json_rpc: operation.get("x-json-rpc").is_some(),
            media: media.into_iter().flat_map(|content| content.keys().cloned()).collect(),
            query: in_query.filter_map(|parameter| text(&parameter["name"])).collect(),
            codes: codes.into_iter().flatten().filter_map(text).collect(),
        })
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (method, path, id) = (words.next()?, words.next()?, words.next()?);
        let (key, shapes) = (words.next()?, words.next()?);
        let mut list = || Some(listed(words.next()?));
        let (media, query, codes) = (list()?, list()?, list()?);
        let (scope, ticket) = match key.strip_suffix("+ticket") {
            Some(scope) => (scope, true),
            None => (key, false),
        };
        Some(Self {
            method: method.parse().ok()?,
            path: path.to_owned(),
            id: id.to_owned(),
            scope: if scope == "open" { None } else { Some(scope.parse().ok()?) },
            ticket,
            shapes: matches!(shapes, "all" | "own-fields"),
            own_fields: shapes == "own-fields",
            json_rpc: shapes == "json-rpc",
            media,
            query,
            codes,
        })
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// What [`dashed`] wrote.
fn listed(text: &str) -> Vec<String> {
    text.split(',').filter(|one| *one != "-").map(str::to_owned).collect()
}

fn dashed(list: &[String]) -> String {
    if list.is_empty() { "-".to_owned() } else { list.join(",") }
}

impl fmt::Display for OperationTableRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = self.scope.map_or("open".to_owned(), |scope| scope.to_string());
        let ticket = if self.ticket { "+ticket" } else { "" };
        let shapes = match (self.shapes, self.own_fields, self.json_rpc) {
            (_, _, true) => "json-rpc",
            (false, _, _) => "-",
            (true, false, _) => "all",
            (true, true, _) => "own-fields",
        };
        let [media, query, codes] = [&self.media, &self.query, &self.codes].map(|list| dashed(list));
        write!(
            f,
            "{} {} {} {scope}{ticket} {shapes} {media} {query} {codes}",
            self.method, self.path, self.id
        )
    }
}
