//! Calls from inside the process: MCP tools and plain language perform the same operations as REST, through the same
//! router.
//!
//! A caller therefore gets the body that a REST client would get. The guard has checked the key and the rate of the
//! outer request; what depends on the inner path (the scope, the query parameters) is checked here, from the same
//! table. A panic or a handler that takes too long ends in a problem.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use chrono::Utc;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::Service;

use super::answer_shape::ShapeRequest;
use super::auth::{Actor, KeyScope};
use super::keyed_change::{self, KeyedChanges};
use super::operations::{OperationTable, check_query};
use super::read_method::only_reads;
use super::waiting::{LONGEST_INSIDE_WAIT, WaitingRequests, check_inside_wait};
use botops_core::error::{Code, Effect, Error, Problem};
use botops_core::exact_number::read_exact_json;

/// How long a call may take, besides what it asks to wait. Shorter than the guard's deadline, so that the caller gets the problem of this call and not of the outer request.
const DEADLINE: Duration = Duration::from_secs(25);

/// The largest answer that is passed on, in bytes; the limits of every read keep it far below.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Handle for calls from inside the process; cloning is cheap.
#[derive(Clone)]
pub struct InternalCaller {
    shared: Arc<InternalCallerInner>,
}

struct InternalCallerInner {
    router: Router,
    operations: matchit::Router<Vec<(Method, OperationRules)>>,
    keyed: KeyedChanges,
    waiting: WaitingRequests,
    deadline: Duration,
}

/// What is checked before a call of one operation.
#[derive(Debug)]
struct OperationRules {
    id: String,
    scope: Option<KeyScope>,
    shapes: bool,
    own_fields: bool,
    query: Vec<String>,
}

impl std::fmt::Debug for InternalCaller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inside")
    }
}

/// One call of the API.
#[derive(Debug, Clone)]
pub struct InternalCall {
    pub method: Method,
    /// The path with its query, percent-encoded.
    pub path: String,
    /// The JSON body; `None` sends none.
    pub body: Option<Value>,
    /// Headers such as `If-Match`.
    pub headers: Vec<(&'static str, String)>,
}

impl InternalCall {
    /// A `GET` without body and headers.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, headers: Vec::new() }
    }

    /// A call with this method and body, without headers.
    pub fn with_body(method: Method, path: impl Into<String>, body: Option<Value>) -> Self {
        Self { method, path: path.into(), body, headers: Vec::new() }
    }

    /// Adds a header; does nothing when there is no value.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: Option<String>) -> Self {
        self.headers.extend(value.map(|value| (name, value)));
        self
    }
}

/// The answer of a call that succeeded.
#[derive(Debug, Clone)]
pub struct InternalAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body: parsed when it is JSON, any other text as a JSON string. A number that a float would change is a text.
    pub body: Value,
    /// The `Location` header: the path under which a started run can be followed.
    pub location: Option<String>,
    /// The `ETag` header.
    pub etag: Option<String>,
    /// Whether this was answered before, under the same idempotency key: nothing was done now.
    pub is_replayed: bool,
}

impl InternalCaller {
    /// `router` has the features' routes without a guard; `table` says which scope each path needs; `keyed` keeps the
    /// idempotency keys.
    pub fn new(router: Router, table: &OperationTable, keyed: KeyedChanges) -> Self {
        let mut operations = matchit::Router::new();
        for (path, rows) in table.by_path() {
            let methods = rows.iter().map(|row| {
                let known = OperationRules {
                    id: row.id.clone(),
                    scope: row.scope,
                    shapes: row.shapes,
                    own_fields: row.own_fields,
                    query: row.query.clone(),
                };
                (row.method.clone(), known)
            });
            // The guard reads the same table and refuses one whose paths collide.
            let _ = operations.insert(path, methods.collect());
        }
        let waiting = WaitingRequests::default();
        Self {
            shared: Arc::new(InternalCallerInner { router, operations, keyed, waiting, deadline: DEADLINE }),
        }
    }

    /// Performs a call with the scopes of this actor.
    ///
    /// # Errors
    /// The problem that a REST client would have got, boxed since it is large.
    pub async fn call(&self, actor: &Actor, call: InternalCall) -> Result<InternalAnswer, Box<Problem>> {
        let is_change = !only_reads(&call.method);
        let refused = |error: Error| Box::new(error.problem(&actor.request_id, Utc::now()));
        let known = self.permit(actor, &call).map_err(refused)?;
        let mut request = request(actor, call).map_err(refused)?;
        let place = self.shared.waiting.admit(request.uri().query()).map_err(refused)?;
        let wait = if place.is_some() { LONGEST_INSIDE_WAIT } else { Duration::ZERO };
        let shape = if known.shapes {
            ShapeRequest::take(&mut request, known.own_fields).map_err(refused)?
        } else {
            None
        };
        let router = self.shared.router.clone();
        let is_keyed = keyed_change::is_change(request.method(), known.scope);
        let handled = AssertUnwindSafe(async move {
            let route = async move |request| {
                let mut router = router;
                match router.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            };
            let response = if is_keyed {
                let is_dry_run = keyed_change::is_dry_run(request.uri());
                let response = self.shared.keyed.perform(&actor.key_id, &known.id, request, route).await;
                if !is_dry_run {
                    keyed_change::log_change(&actor.request_id, &known.id, &actor.key_id, &response);
                }
                response
            } else {
                route(request).await
            };
            let response = match shape {
                Some(shape) => shape.shape(response).await,
                None => response,
            };
            read(response).await
        });
        match tokio::time::timeout(self.shared.deadline + wait, handled.catch_unwind()).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(refused(error)),
            Ok(Err(_)) => {
                tracing::error!(request.id = &*actor.request_id, "a handler panicked under an inside call");
                Err(refused(effect_of(Code::Internal, is_change)))
            }
            Err(_) => Err(refused(effect_of(Code::DeadlineExceeded, is_change))),
        }
    }

    fn permit(&self, actor: &Actor, call: &InternalCall) -> Result<&OperationRules, Error> {
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let methods = self.shared.operations.at(path).ok().map(|found| found.value);
        let known = methods.and_then(|methods| methods.iter().find(|(method, _)| *method == call.method));
        let Some((_, known)) = known else { return Err(Error::new(Code::PathUnknown)) };
        if let Some(scope) = known.scope {
            actor.require_scope(scope)?;
        }
        if known.scope.is_some() {
            check_query(query, &known.query)?;
            check_inside_wait(query)?;
        }
        Ok(known)
    }
}

/// An error with the effect of a call that was not seen to end: none for a read, unknown for a change.
fn effect_of(code: Code, is_change: bool) -> Error {
    Error::new(code).effect(if is_change { Effect::Unknown } else { Effect::None })
}

fn request(actor: &Actor, call: InternalCall) -> Result<Request<Body>, Error> {
    let invalid = |what: &dyn std::fmt::Display| {
        Error::new(Code::ArgumentInvalid).detail("an argument cannot be part of a request").caused_by(what)
    };
    let body = match &call.body {
        Some(value) => Body::from(serde_json::to_vec(value).map_err(|error| invalid(&error))?),
        None => Body::empty(),
    };
    let mut request =
        Request::builder().method(call.method).uri(&call.path).body(body).map_err(|error| invalid(&error))?;
    let headers = request.headers_mut();
    if call.body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in call.headers {
        let value = HeaderValue::from_str(&value).map_err(|error| invalid(&error))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    request.extensions_mut().insert(actor.clone());
    Ok(request)
}

async fn read(mut response: Response) -> Result<InternalAnswer, Error> {
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        return Err(error);
    }
    let (parts, body) = response.into_parts();
    let status = parts.status;
    let text = |name: header::HeaderName| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let (location, etag, media) = (text(header::LOCATION), text(header::ETAG), text(header::CONTENT_TYPE));
    let media = media.unwrap_or_default();
    let is_replayed = parts.headers.contains_key(keyed_change::REPLAYED);
    let body = http_body_util::Limited::new(body, ANSWER_LIMIT).collect().await;
    let bytes = body.map_err(|error| Error::new(Code::Internal).caused_by(error))?.to_bytes();
    if status.is_client_error() && !media.contains("json")
        || status == StatusCode::NOT_FOUND && bytes.is_empty()
    {
        return Err(Error::new(match status.as_u16() {
            404 => Code::PathUnknown,
            405 => Code::MethodUnknown,
            _ => Code::ArgumentInvalid,
        }));
    }
    let body = if media.contains("json") {
        read_exact_json(&bytes).map_err(|error| Error::new(Code::Internal).caused_by(error))?
    } else {
        Value::String(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(InternalAnswer { status: status.as_u16(), body, location, etag, is_replayed })
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use serde_json::json;

    use super::*;
    use crate::KeyScopes;

    fn reader() -> Actor {
        Actor {
            key_id: "a-test".into(),
            scopes: Arc::new(KeyScopes::from_iter([KeyScope::Read])),
            expires_at: None,
            rate_limit: 100,
            request_id: "a-request".into(),
            client: None,
        }
    }

    fn keep_nothing() -> KeyedChanges {
        KeyedChanges::new(
            Box::new(|_| Box::pin(async { Err(Error::new(Code::Stopping)) })),
            Box::new(|_, _, _| Box::pin(async {})),
            Box::new(|_, _| {}),
        )
    }

    fn around(router: Router) -> InternalCaller {
        let operation =
            |id: &str, scope: &str| json!({"operationId": id, "security": [{"api_key": [scope]}]});
        let paths = json!({
            "/bad": {"get": operation("bad", "read"), "post": operation("bad_change", "read")},
            "/slow": {"get": operation("slow", "read"), "post": operation("slow_change", "read")},
            "/kept": {"post": operation("kept", "operate")},
        });
        let mut inside =
            InternalCaller::new(router, &OperationTable::of(&json!({"paths": paths})), keep_nothing());
        let shared = Arc::get_mut(&mut inside.shared).expect("nobody else has it yet");
        shared.deadline = Duration::from_millis(50);
        inside
    }

    #[tokio::test]
    async fn a_panic_a_stall_and_a_lesser_key_end_in_a_problem_with_the_true_effect() {
        async fn panics() -> StatusCode {
            panic!("on purpose")
        }
        async fn stalls() -> StatusCode {
            std::future::pending().await
        }
        let router = Router::new()
            .route("/bad", get(panics).post(panics))
            .route("/slow", get(stalls).post(stalls))
            .route("/kept", axum::routing::post(panics));
        let inside = around(router);
        for (method, path, code, effect) in [
            (Method::GET, "/bad", "SRV_001", Effect::None),
            (Method::POST, "/bad", "SRV_001", Effect::Unknown),
            (Method::GET, "/slow", "SRV_004", Effect::None),
            (Method::POST, "/slow", "SRV_004", Effect::Unknown),
            (Method::POST, "/kept", "AUTH_003", Effect::None),
            (Method::GET, "/nowhere", "API_001", Effect::None),
        ] {
            let call = InternalCall::with_body(method.clone(), path, None);
            let problem = inside.call(&reader(), call).await.expect_err("it cannot succeed");
            assert_eq!((problem.error_code.as_str(), problem.effect), (code, effect), "{method} {path}");
            assert!(!problem.cause.contains("on purpose"), "{}", problem.cause);
        }
    }
}
