//! Failures, as every user of botops sees them.
//!
//! Code that fails makes an [`Error`]: a [`Code`] from the catalogue plus what is special to this failure. Every way
//! out of the process (REST, WebSocket close, MCP, command line) renders it as one [`Problem`]. The texts that explain
//! a code are in `catalogue.rs` alone, one row each; `detail` goes to the client, `caused_by` only to the log. There
//! is no `From` for library errors, so that the code that fails decides what the failure means.

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

/// What the failed call changed. `none` is a promise: it is given only when it is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing changed.
    None,
    /// The whole change was made; the call failed after it.
    Applied,
    /// A part of the change was made.
    Partial,
    /// The change may or may not have been made: read the state before sending it again.
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
    /// A person has to act before the call can succeed.
    AskHuman,
    /// The same request fails however often it is sent.
    Never,
}

/// Whether and when to send the request again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetryAdvice {
    /// What to do before the next attempt.
    pub class: RetryClass,
    /// Milliseconds to wait before the next attempt; `null` where waiting does not help or no time is known.
    pub after_ms: Option<u64>,
}

/// A call of the API that helps after the failure, ready to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NextAction {
    /// The operation id of the API document, also the operation's name in the log.
    pub operation: String,
    /// The HTTP method, in capitals.
    pub method: String,
    /// The path with its query, without the host.
    pub path: String,
    /// The JSON body; absent when the call needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The scope that the key needs; `null` when the path needs no key.
    pub scope: Option<String>,
}

/// One thing that is wrong with the request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body, or the name of a query parameter or header.
    pub pointer: String,
    /// What was sent, with secrets masked and long values shortened; `null` when it is missing or not repeated.
    pub got: Value,
    /// What would be accepted, in words.
    pub expected: String,
    /// What to change so that it is accepted, for a document that was checked; left out elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Why the bot refuses it, in the bot's words: information, never instructions. Left out where the bot did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The stable name of the rule that it breaks; left out where none has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Which level of a check found it: `schema`, `semantic` or `bot`; left out where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}

/// A failure with its code. Boxed inside, so a `Result` with it stays one pointer large.
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
    remediation: Option<String>,
}

impl Error {
    /// A failure with the catalogue's texts alone; the methods below add what is special to it.
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
            remediation: None,
        }))
    }

    /// What is special to this failure; the client sees it as `cause`. Never raw text from a library or a peer.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// What to do next, where the catalogue's row would advise the wrong thing in this case.
    #[must_use]
    pub fn remedy(mut self, remediation: impl Into<String>) -> Self {
        self.0.remediation = Some(remediation.into());
        self
    }

    /// Adds one wrong field, parameter or header.
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
            ..FieldError::default()
        });
        self
    }

    /// Adds several wrong fields.
    #[must_use]
    pub fn fields(mut self, fields: Vec<FieldError>) -> Self {
        self.0.errors.extend(fields);
        self
    }

    /// Adds an id or value that identifies what failed.
    #[must_use]
    pub fn context(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.context.insert(key.to_owned(), value.into());
        self
    }

    /// What the call changed, where it differs from the catalogue's row.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.0.effect = Some(effect);
        self
    }

    /// Milliseconds after which to try again, where they differ from the catalogue's row.
    #[must_use]
    pub fn after_ms(mut self, after_ms: u64) -> Self {
        self.0.after_ms = Some(after_ms);
        self
    }

    /// Adds a call that helps. The first one replaces all calls of the catalogue's row; later ones follow it.
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

    /// The technical cause, for the log only: no client sees it.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.0.caused_by = Some(cause.to_string());
        self
    }

    /// Adds a response header that belongs to the failure, such as `Allow`.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// What the failed call changed, as the problem tells it.
    pub fn told_effect(&self) -> Effect {
        self.0.effect.unwrap_or(self.0.code.row().effect)
    }

    /// The code of the catalogue.
    pub fn code(&self) -> Code {
        self.0.code
    }

    pub fn status(&self) -> u16 {
        self.0.code.row().status
    }

    /// The technical cause, if one was given; for the log only.
    pub fn cause_for_log(&self) -> Option<&str> {
        self.0.caused_by.as_deref()
    }

    /// Milliseconds after which to try again, if they are known.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.0.after_ms.or(self.0.code.row().after_ms)
    }

    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.0.headers
    }

    /// The failure as an event carries it, for failures outside of any request.
    pub fn semantic(&self, at: DateTime<Utc>) -> SemanticError {
        let row = self.0.code.row();
        SemanticError {
            error_code: row.code.to_owned(),
            error_type: format!("{:?}", row.kind),
            severity: row.severity,
            severity_raw: None,
            message: row.title.to_owned(),
            cause: self.0.detail.clone().unwrap_or_else(|| row.cause.to_owned()),
            impact: row.impact.to_owned(),
            remediation: self.0.remediation.clone().unwrap_or_else(|| row.remediation.to_owned()),
            context: if self.0.context.is_empty() { Value::Null } else { json!(self.0.context) },
            timestamp: Some(at),
        }
    }

    /// The failure as every client sees it.
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
            remediation: self.0.remediation.clone().unwrap_or_else(|| row.remediation.to_owned()),
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

/// Puts the error into the response's extensions; the guard around the router renders it with the request's id.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() =
            http::StatusCode::from_u16(self.status()).expect("the catalogue holds valid statuses");
        response.extensions_mut().insert(self);
        response
    }
}

/// `application/problem+json`: the form of every failure. The members of RFC 9457 come first, then those of botops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Path of the code's page in the error catalogue.
    pub r#type: String,
    /// What the code means, in a few words; the same for every failure with this code.
    pub title: String,
    /// The HTTP status of the response.
    pub status: u16,
    /// The code, `AREA_NNN`. A code is never reused and never changes its meaning.
    pub error_code: String,
    /// The class of failure, shared by many codes.
    pub error_type: ErrorType,
    /// How soon a person should attend to it.
    pub severity: Severity,
    /// Why it happened in this case.
    pub cause: String,
    /// What it means for the caller.
    pub impact: String,
    /// What the failed call changed.
    pub effect: Effect,
    /// What to do next, as sentences for people.
    pub remediation: String,
    /// Whether and when to send the request again.
    pub retry: RetryAdvice,
    /// Calls of the API that help, best first; may be empty.
    pub next_actions: Vec<NextAction>,
    /// Every field, parameter and header that is wrong with the request; empty when the request is not the reason.
    pub errors: Vec<FieldError>,
    /// Ids and values that identify what failed; empty when there are none.
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// The request's id, as in the header `X-Request-Id` and in the log.
    pub request_id: String,
    /// When the failure was reported, by botops' clock.
    pub timestamp: DateTime<Utc>,
}
