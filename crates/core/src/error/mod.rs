//! Failures, as every user of botops sees them.
//!
//! Code that fails makes an [`Error`]: a [`Code`] from the catalogue plus what was special this time. Whoever
//! carries it out of the process (REST, WebSocket close, MCP, command line) renders it as one [`Problem`]. The texts
//! that explain a code live in `catalogue.rs` alone, one row each; `detail` goes to the client, `caused_by` only to
//! the log. Library errors are not converted by `?`: the spot that fails says what it means.

mod catalogue;

use std::fmt;

use axum_core::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

pub use catalogue::{CatalogueRow, Code, ErrorType};

use botops_contract::SemanticError;
pub use botops_contract::Severity;

/// What the failed call did to the world. `none` is said only when that is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing changed.
    None,
    /// The change was made although the call failed later.
    Applied,
    /// Some of it was made.
    Partial,
    /// It may or may not have been made: read back before repeating.
    Unknown,
}

/// How to go on after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryClass {
    /// Change the request, then send it again.
    FixArgs,
    /// Read the current state, then decide again.
    Refetch,
    /// Send the same again after `after_ms`.
    Wait,
    /// A person has to act first.
    AskHuman,
    /// It will not work, however often it is sent.
    Never,
}

/// When and how to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetryAdvice {
    /// How to go on.
    pub class: RetryClass,
    /// Milliseconds to wait first, where waiting helps.
    pub after_ms: Option<u64>,
}

/// A call that helps, ready to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NextAction {
    /// The operation id, also the MCP tool or log name.
    pub operation: String,
    /// The HTTP method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The body, when one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The scope the key needs; `null` for open paths.
    pub scope: Option<String>,
}

/// One thing that is wrong with the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body, or the name of a query parameter or header.
    pub pointer: String,
    /// What was sent, masked and shortened where needed.
    pub got: Value,
    /// What would be accepted.
    pub expected: String,
}

/// A failure with its code. Cheap to pass up: one pointer.
#[derive(Debug, Clone)]
pub struct Error(Box<ErrorInner>);

#[derive(Debug, Clone)]
struct ErrorInner {
    code: Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    context: Map<String, Value>,
    effect: Option<Effect>,
    after_ms: Option<u64>,
    next: Vec<NextAction>,
    caused_by: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Error {
    /// A failure of this kind, with nothing special about it yet.
    pub fn new(code: Code) -> Self {
        Self(Box::new(ErrorInner {
            code,
            detail: None,
            errors: Vec::new(),
            context: Map::new(),
            effect: None,
            after_ms: None,
            next: Vec::new(),
            caused_by: None,
            headers: Vec::new(),
        }))
    }

    /// What was special this time; the client sees it as `cause`. Never raw text from a library or a peer.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// One wrong field, parameter or header.
    #[must_use]
    pub fn field(
        mut self,
        pointer: impl Into<String>,
        got: impl Into<Value>,
        expected: impl Into<String>,
    ) -> Self {
        self.0.errors.push(FieldError {
            pointer: pointer.into(),
            got: got.into(),
            expected: expected.into(),
        });
        self
    }

    /// All wrong fields at once.
    #[must_use]
    pub fn fields(mut self, fields: Vec<FieldError>) -> Self {
        self.0.errors.extend(fields);
        self
    }

    /// An id or value that places the failure.
    #[must_use]
    pub fn context(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.context.insert(key.to_owned(), value.into());
        self
    }

    /// What the call did, when it differs from the catalogue's word.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.0.effect = Some(effect);
        self
    }

    /// When to try again.
    #[must_use]
    pub fn after_ms(mut self, after_ms: u64) -> Self {
        self.0.after_ms = Some(after_ms);
        self
    }

    /// A call that helps; the first one given comes first and replaces the catalogue's.
    #[must_use]
    pub fn next(
        mut self,
        operation: &str,
        method: &str,
        path: impl Into<String>,
        body: Option<Value>,
        scope: Option<&str>,
    ) -> Self {
        self.0.next.push(NextAction {
            operation: operation.to_owned(),
            method: method.to_owned(),
            path: path.into(),
            body,
            scope: scope.map(str::to_owned),
        });
        self
    }

    /// What lies behind it. For the log only.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.0.caused_by = Some(cause.to_string());
        self
    }

    /// A response header that belongs to the failure, such as `Allow`.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// The catalogue's name for it.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.0.code.row().status
    }

    /// What lies behind it, for the log.
    pub fn cause_for_log(&self) -> Option<&str> {
        self.0.caused_by.as_deref()
    }

    /// The wait in milliseconds, if one is known.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.0.after_ms.or(self.0.code.row().after_ms)
    }

    /// Response headers that belong to the failure.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.0.headers
    }

    /// The same for the journal, where nobody asked for anything.
    pub fn semantic(&self, at: DateTime<Utc>) -> SemanticError {
        let row = self.0.code.row();
        SemanticError {
            error_code: row.code.to_owned(),
            error_type: format!("{:?}", row.kind),
            severity: row.severity,
            message: row.title.to_owned(),
            cause: self.0.detail.clone().unwrap_or_else(|| row.cause.to_owned()),
            impact: row.impact.to_owned(),
            remediation: row.remediation.to_owned(),
            context: if self.0.context.is_empty() { Value::Null } else { json!(self.0.context) },
            timestamp: at,
        }
    }

    /// The form every user sees.
    pub fn problem(&self, request_id: &str, at: DateTime<Utc>) -> Problem {
        let row = self.0.code.row();
        let next_actions = if self.0.next.is_empty() { row.next_actions() } else { self.0.next.clone() };
        Problem {
            r#type: format!("/api/v1/errors/catalogue/{}", row.code),
            title: row.title.to_owned(),
            status: row.status,
            error_code: row.code.to_owned(),
            error_type: row.kind,
            severity: row.severity,
            cause: self.0.detail.clone().unwrap_or_else(|| row.cause.to_owned()),
            impact: row.impact.to_owned(),
            effect: self.0.effect.unwrap_or(row.effect),
            remediation: row.remediation.to_owned(),
            retry: RetryAdvice { class: row.class, after_ms: self.retry_after_ms() },
            next_actions,
            errors: self.0.errors.clone(),
            context: self.0.context.clone(),
            request_id: request_id.to_owned(),
            timestamp: at,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.0.code.row();
        match &self.0.detail {
            Some(detail) => write!(f, "{} {}: {detail}", row.code, row.title),
            None => write!(f, "{} {}", row.code, row.title),
        }
    }
}

impl std::error::Error for Error {}

/// The error rides in the response's extensions; the guard around the router renders it with the request's id.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() =
            http::StatusCode::from_u16(self.status()).expect("the catalogue holds valid statuses");
        response.extensions_mut().insert(self);
        response
    }
}

/// `application/problem+json`: the one form of every failure (RFC 9457 members first, then ours).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Link to the catalogue page of the code.
    pub r#type: String,
    /// What the code means, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// `AREA_NNN`; constant for ever.
    pub error_code: String,
    /// The class of failure.
    pub error_type: ErrorType,
    /// How much attention it wants.
    pub severity: Severity,
    /// Why it happened this time.
    pub cause: String,
    /// What it means.
    pub impact: String,
    /// What the failed call did to the world.
    pub effect: Effect,
    /// What to do next, in words.
    pub remediation: String,
    /// When and how to repeat.
    pub retry: RetryAdvice,
    /// Calls that help, best first.
    pub next_actions: Vec<NextAction>,
    /// What is wrong with the request, all at once.
    pub errors: Vec<FieldError>,
    /// Ids and values that place the failure.
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// The request, as in the `X-Request-Id` header and the log.
    pub request_id: String,
    /// When.
    pub timestamp: DateTime<Utc>,
}
