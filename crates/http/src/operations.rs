//! The operations of the API and which of them a request is; what the API document says of them is enforced.
//!
//! A handler's annotation gives its operation id (also its name in the log and the metrics), the scope of its key and
//! its media types. A path that is not documented is not served without a key. The document is two hundred times
//! as long as what a start needs of it, so a start reads an [`OperationTable`] instead: `schemas/operations.txt`.

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
    /// The handler's name: the operation id, and its name in the log and the metrics.
    pub id: String,
    /// The scope that the key needs; `None` when the operation needs no key.
    pub scope: Option<KeyScope>,
    /// Whether a stream ticket is accepted instead of a key.
    pub ticket: bool,
    /// The media types that its 200 answer can have.
    pub media: Vec<String>,
    /// Whether its failures are JSON-RPC errors, with the problem as their data.
    pub(super) json_rpc: bool,
    /// Whether `answer_shape` may shorten its answer or make a table of it.
    pub(super) shapes: bool,
    /// Whether its handler reads the parameter `fields` itself.
    pub(super) own_fields: bool,
    /// Whether a query parameter that is not documented is refused.
    pub(super) checks_query: bool,
    /// Names of the documented query parameters.
    query: Vec<String>,
    /// The documented error codes, as text.
    #[cfg(debug_assertions)]
    codes: Vec<String>,
    pub(super) ready: Option<ReadyAnswer>,
    pub(super) metrics: OperationMetrics,
}

/// Answers the plain read of an operation (no query, no special media type) without the router and without waiting.
///
/// It promises the same answer as the operation's handler.
pub struct ReadyAnswer(Box<dyn Fn(&HeaderMap) -> Response + Send + Sync>);

impl ReadyAnswer {
    /// `answer` gets the request's headers and must not block.
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

/// Says why a path takes no method but its own, where more than their names can be said.
///
/// `None` means that nothing more can be said at this moment.
pub struct MethodRefusal(Box<dyn Fn() -> Option<Error> + Send + Sync>);

impl MethodRefusal {
    /// `explain` must not block.
    pub fn new(explain: impl Fn() -> Option<Error> + Send + Sync + 'static) -> Self {
        Self(Box::new(explain))
    }
}

impl fmt::Debug for MethodRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MethodRefusal")
    }
}

/// The operations of one path, by method.
#[derive(Debug, Default)]
pub(super) struct PathMethods {
    by_method: Vec<(Method, ApiOperation)>,
    refusal: Option<MethodRefusal>,
}

impl PathMethods {
    pub(super) fn get(&self, method: &Method) -> Option<&ApiOperation> {
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        self.by_method.iter().find(|(known, _)| known == wanted).map(|(_, operation)| operation)
    }

    pub(super) fn has_open(&self) -> bool {
        self.by_method.iter().any(|(_, operation)| operation.scope.is_none())
    }

    /// Whether failures at this path, also those of unknown methods, are JSON-RPC errors.
    pub(super) fn is_json_rpc(&self) -> bool {
        self.by_method.iter().any(|(_, operation)| operation.json_rpc)
    }

    /// Why another method is refused, beyond its name.
    pub(super) fn refusal(&self) -> Option<Error> {
        self.refusal.as_ref().and_then(|refusal| refusal.0())
    }

    pub(super) fn allow(&self) -> String {
        let names: Vec<_> = self.by_method.iter().map(|(method, _)| method.as_str()).collect();
        names.join(", ")
    }
}

/// All documented operations, by path.
#[derive(Debug)]
pub struct OperationIndex {
    /// Paths without parameters. Sorted by length, then by text, so that most look-ups compare one text.
    exact: Vec<(String, PathMethods)>,
    with_parameters: matchit::Router<PathMethods>,
    /// Metrics of requests to unknown paths and methods.
    pub(super) unknown: OperationMetrics,
}

impl OperationIndex {
    /// The operations of the table, with their metrics.
    ///
    /// # Panics
    /// When two documented paths collide: a defect found at the first start.
    pub fn new(table: &OperationTable, metrics: &HttpMetrics) -> Self {
        let mut exact = Vec::new();
        let mut with_parameters = matchit::Router::new();
        for (path, rows) in table.by_path() {
            let by_method =
                rows.iter().map(|row| (row.method.clone(), ApiOperation::new(row, metrics))).collect();
            let methods = PathMethods { by_method, refusal: None };
            if path.contains('{') {
                with_parameters.insert(path, methods).expect("documented paths do not collide");
            } else {
                exact.push((path.to_owned(), methods));
            }
        }
        exact.sort_by(|(one, _), (other, _)| by_length(one, other));
        Self { exact, with_parameters, unknown: metrics.operation("unknown") }
    }

    /// Has the plain reads of one operation answered by `ready`.
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

    /// Has other methods than those of a path refused with a reason.
    ///
    /// # Panics
    /// When there is no such path: a defect found at the first start.
    #[must_use]
    pub fn with_refusal(mut self, path: &str, refusal: MethodRefusal) -> Self {
        let found = self.exact.iter_mut().find(|(known, _)| known == path);
        let (_, methods) = found.expect("it is documented");
        methods.refusal = Some(refusal);
        self
    }

    pub(super) fn find(&self, path: &str) -> Option<&PathMethods> {
        if let Ok(at) = self.exact.binary_search_by(|(known, _)| by_length(known, path)) {
            return self.exact.get(at).map(|(_, methods)| methods);
        }
        self.with_parameters.at(path).ok().map(|found| found.value)
    }

    /// The scope of every operation, by operation id; `None` where no key is needed.
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
            checks_query: row.checks_query(),
            query: row.query.clone(),
            #[cfg(debug_assertions)]
            codes: row.codes.clone(),
            ready: None,
            metrics: metrics.operation(&row.id),
        }
    }

    /// Whether the handler gets an [`Actor`](super::Actor). Operations whose answer is rendered ahead answer every key
    /// alike and are by far the most frequent, so no actor is built for them.
    pub(super) fn wants_actor(&self) -> bool {
        self.ready.is_none()
    }

    /// Refuses a query parameter that the operation does not have, unless it takes any.
    ///
    /// # Errors
    /// [`Code::ArgumentInvalid`] with the parameter and the known ones.
    pub(super) fn check_query(&self, query: &str) -> Result<(), Error> {
        if self.checks_query { check_query(query, &self.query) } else { Ok(()) }
    }

    /// Whether the API document lists this code for the operation.
    #[cfg(debug_assertions)]
    pub(super) fn may_fail_with(&self, code: &str) -> bool {
        self.codes.iter().any(|known| known == code)
    }

    /// Whether the operation has a media type that the request's `Accept` header allows. Without the header all are
    /// allowed.
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
/// [`Code::ArgumentInvalid`] with the parameter and the known ones.
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

/// The part of the API document that a start needs: one row per operation, sorted by path.
#[derive(Debug)]
pub struct OperationTable {
    rows: Vec<OperationTableRow>,
}

/// One row, a line of `schemas/operations.txt` with fields separated by blanks.
///
/// Method, path, operation id, `open` or the scope (with `+ticket` where a ticket is accepted instead of a key), how
/// the answer can be shaped (or `json-rpc`), media types, query parameters, error codes. A dash stands for an empty
/// field.
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
    /// Extracts the operations of an OpenAPI document.
    pub fn of(document: &Value) -> Self {
        let mut rows = Vec::new();
        for (path, item) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let operations = item.as_object().into_iter().flatten();
            rows.extend(
                operations.filter_map(|(method, operation)| OperationTableRow::of(path, method, operation)),
            );
        }
        // A stable sort: the methods of a path keep the document's order, which `Allow` shows.
        rows.sort_by(|one, other| one.path.cmp(&other.path));
        Self { rows }
    }

    /// Reads the text that `Display` writes.
    ///
    /// # Panics
    /// When a line cannot be read: a defect found at the first start.
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
        // Without a readable scope the strictest one applies.
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

    /// Probes, scrapers and links to pages add parameters of their own, and those operations cannot fail by an
    /// argument. Who asks for anything else means something by what they send.
    fn checks_query(&self) -> bool {
        self.scope.is_some() || self.codes.iter().any(|code| code == Code::ArgumentInvalid.row().code)
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

/// Reads a list that [`dashed`] wrote.
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
