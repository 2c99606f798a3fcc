//! The form of a failure: the problem that the client gets, and the one line of the log.

use std::net::IpAddr;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::Utc;

use super::json_with_status;
use super::operations::{ApiOperation, PathMethods};
use super::refusal_log::RefusalLog;
use botops_core::error::{Code, Error, Problem, Severity};

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The operation that answers with the guide for agents.
const GUIDE: &str = "get_llms_txt";

/// What is known about a failed request, for its problem and its log line.
pub(super) struct FailedRequest<'a> {
    pub(super) id: &'a str,
    pub(super) operation: Option<&'a ApiOperation>,
    pub(super) key_id: Option<&'a str>,
    pub(super) is_json_rpc: bool,
    pub(super) allow: Option<&'a PathMethods>,
    pub(super) peer: IpAddr,
    pub(super) refusals: &'a RefusalLog,
}

impl FailedRequest<'_> {
    /// Renders a failure as a problem, logs it once, and keeps the headers that belong to it.
    pub(super) fn finish(&self, mut response: Response) -> Response {
        let error = match response.extensions_mut().remove::<Error>() {
            Some(error) => error,
            None if is_ours(&response, self.is_json_rpc) => return response,
            None => self.of_status(response.status()),
        };
        #[cfg(debug_assertions)]
        let (error, response) = self.documented(error, response);
        let mut problem = error.problem(self.id, Utc::now());
        self.point_to_operation(&mut problem);
        // Whoever was not let in can be refused without number, and must not push everything else out of the log.
        let is_counted = self.key_id.is_none() && problem.status < 500;
        if !is_counted || self.refusals.admit_line(error.code().row().code, self.peer) {
            self.log(&error, &problem);
        }
        let mut finished = if self.is_json_rpc {
            let body = serde_json::json!({
                "jsonrpc": "2.0",
                "id": null,
                "error": {"code": -32001, "message": format!("{}: {}", problem.error_code, problem.cause), "data": problem},
            });
            json_with_status(response.status(), &body)
        } else {
            let mut finished = json_with_status(response.status(), &problem);
            finished.headers_mut().insert(header::CONTENT_TYPE, PROBLEM);
            finished
        };
        finished.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if problem.status == 401 {
            // `X-API-Key` has no registered scheme; the challenge names the bearer scheme, which is accepted as well.
            finished
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"botops\""));
        }
        if let Some(after_ms) = problem.retry.after_ms
            && matches!(problem.status, 429 | 503)
        {
            finished.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after_ms.div_ceil(1_000)));
        }
        for (name, value) in error.headers() {
            if let Ok(value) = HeaderValue::from_str(value) {
                finished.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        finished
    }

    /// Where an answer would point to the guide, and the call is known, it points to the call's part of the API document.
    fn point_to_operation(&self, problem: &mut Problem) {
        // Whoever has no good key yet needs the guide.
        let operation = self.operation.filter(|operation| !operation.json_rpc && problem.status != 401);
        for action in problem.next_actions.iter_mut().filter(|action| action.operation == GUIDE) {
            if let Some(operation) = operation {
                action.operation = "get_openapi".to_owned();
                action.path = format!("/api/openapi.json?operation={}", operation.id);
            }
        }
    }

    /// Turns a failure that the API document does not list for its operation into an internal error, so that tests
    /// find it.
    ///
    /// Not for MCP: the failures it passes on are listed at the operation that it calls.
    #[cfg(debug_assertions)]
    fn documented(&self, error: Error, response: Response) -> (Error, Response) {
        let code = error.code().row().code;
        let Some(operation) = self.operation.filter(|one| !one.json_rpc && !one.may_fail_with(code)) else {
            return (error, response);
        };
        let error = Error::new(Code::Internal)
            .detail(format!("`{}` failed with {code}, which its route does not list: {error}", operation.id));
        let response = refusal(error.clone());
        (error, response)
    }

    /// The error for a refusal by the framework, which has a status and nothing else.
    fn of_status(&self, status: StatusCode) -> Error {
        match status.as_u16() {
            403 if self.is_json_rpc => Error::new(Code::OriginRefused),
            404 => Error::new(Code::PathUnknown),
            405 => method_unknown(self.allow),
            406 => Error::new(Code::NotAcceptable),
            408 => Error::new(Code::RequestTimeout),
            413 => Error::new(Code::BodyTooLarge),
            415 => Error::new(Code::MediaTypeUnknown),
            426 => Error::new(Code::UpgradeRequired),
            400..=499 => Error::new(Code::ArgumentInvalid),
            _ => Error::new(Code::Internal).caused_by(format!("a bare {status} from inside")),
        }
    }

    /// Logs a failure with its fields; the level follows from its severity.
    fn log(&self, error: &Error, problem: &Problem) {
        let operation = self.operation.map_or("unknown", |operation| &operation.id);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request.id = self.id,
                    operation,
                    key.id = self.key_id,
                    http.status = problem.status,
                    error.code = problem.error_code,
                    error.r#type = ?problem.error_type,
                    error.severity = ?problem.severity,
                    error.cause = problem.cause,
                    error.impact = problem.impact,
                    error.remediation = problem.remediation,
                    error.recommended_action = problem.remediation,
                    error.caused_by = error.cause_for_log(),
                    "{operation} failed: {} {}",
                    problem.error_code,
                    problem.cause,
                )
            };
        }
        match problem.severity {
            Severity::Critical | Severity::High => line!(error),
            Severity::Medium | Severity::Other => line!(warn),
            Severity::Low => line!(info),
        }
    }
}

/// Whether a failing answer has its final form already: health documents with 503, JSON-RPC from MCP.
fn is_ours(response: &Response, is_json_rpc: bool) -> bool {
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media.is_some_and(|media| {
        media.contains("json") || (is_json_rpc && media.starts_with("text/event-stream"))
    })
}

/// A failure on its way to the guard's end, which renders it.
pub(super) fn refusal(error: Error) -> Response {
    axum::response::IntoResponse::into_response(error)
}

/// The refusal of a method that a path does not take.
pub(super) fn method_unknown(methods: Option<&PathMethods>) -> Error {
    let allow = methods.map(PathMethods::allow).unwrap_or_default();
    Error::new(Code::MethodUnknown)
        .detail(format!("this path takes {allow}"))
        .context("allow", allow.clone())
        .header("allow", allow)
}
