//! The guard: the checks that every request passes, once, in one place.
//!
//! One function around the whole router instead of a stack of middleware: each layer would box a future and clone the
//! service below it per request, which together cost more than everything that is done here. In order: request id,
//! operation, CORS, key, rate, scope, form of the request, then the handler under a deadline with its panics caught,
//! then the form and the log line of a failure, headers and counters.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use axum::response::Response;
use futures_util::FutureExt;
use tower::Service;

use super::BODY_LIMIT;
use super::answer_shape::{self, ShapeRequest};
use super::auth::{Actor, ApiKeys, KnownKey};
use super::extract::refuse_encoded;
use super::failed_request::{FailedRequest, method_unknown, refusal};
use super::keyed_change::{self, KeyedChanges};
use super::limits::{CorsPolicy, HeaderText, RateLeft, WrongKeyThrottle};
use super::operations::{ApiOperation, OperationIndex, PathMethods};
use super::read_method::only_reads;
use super::refusal_log::RefusalLog;
use super::unfinished_input::UnfinishedInput;
use super::waiting::{LONGEST_INSIDE_WAIT, LONGEST_WAIT, WaitingRequests};
use botops_core::error::{Code, Error};

/// How long a handler may take, besides what the request asks to wait.
const DEADLINE: Duration = Duration::from_secs(35);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The parts of the guard besides the router.
#[derive(Debug)]
pub struct GuardOptions {
    pub keys: ApiKeys,
    pub operations: OperationIndex,
    /// Origins whose pages may read answers.
    pub cors: CorsPolicy,
    /// The keeper of idempotency keys.
    pub keyed: KeyedChanges,
}

/// The guard around a router; one for all connections.
pub struct RequestGuard {
    router: Router,
    keys: ApiKeys,
    operations: OperationIndex,
    cors: CorsPolicy,
    keyed: KeyedChanges,
    wrong_keys: WrongKeyThrottle,
    refusals: RefusalLog,
    waiting: WaitingRequests,
    pub(super) input: Arc<UnfinishedInput>,
    id_prefix: String,
    next_id: AtomicU64,
    deadline: Duration,
}

impl std::fmt::Debug for RequestGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// What the guard found out about a request that it admits.
struct AdmittedRequest<'guard> {
    known: Option<&'guard KnownKey>,
    left: Option<RateLeft<'guard>>,
}

impl RequestGuard {
    /// Puts the guard around a router.
    pub fn new(router: Router, options: GuardOptions) -> Self {
        let mut random = [0_u8; 4];
        // Without randomness two processes may use the same request ids in a log; nothing else depends on it.
        let _ = getrandom::fill(&mut random);
        Self {
            router,
            keys: options.keys,
            operations: options.operations,
            cors: options.cors,
            keyed: options.keyed,
            wrong_keys: WrongKeyThrottle::new(),
            refusals: RefusalLog::default(),
            waiting: WaitingRequests::default(),
            input: Arc::default(),
            id_prefix: format!("{}-", data_encoding::HEXLOWER.encode(&random)),
            next_id: AtomicU64::new(1),
            deadline: DEADLINE,
        }
    }

    /// Replaces the deadline for handlers, for tests.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Answers one request. Never fails and never panics.
    pub async fn handle(&self, mut request: Request<Body>, peer: IpAddr) -> Response {
        let started = Instant::now();
        let id = self.request_id();
        let mut methods = self.operations.find(request.uri().path());
        if methods.is_none()
            && let Some(uri) = without_last_slash(request.uri())
        {
            methods = self.operations.find(uri.path());
            if methods.is_some() {
                *request.uri_mut() = uri;
            }
        }
        let operation = methods.and_then(|methods| methods.get(request.method()));
        if let Some(response) = self.cors.preflight(request.method(), request.headers()) {
            return response;
        }
        let origin = self.cors.origin(request.headers());
        let is_json_rpc = methods.is_some_and(PathMethods::is_json_rpc);
        let is_change = !only_reads(request.method());
        let changes = operation.filter(|operation| {
            keyed_change::is_change(request.method(), operation.scope)
                && !keyed_change::is_dry_run(request.uri())
        });
        let admitted = self.admit(&request, methods, operation, peer);
        let key_id = match &admitted {
            Ok(AdmittedRequest { known: Some(known), .. }) => Some(&*known.actor.key_id),
            _ => None,
        };
        let (mut response, left) = match admitted {
            Ok(admitted) => {
                let told = actor_of(&admitted, operation);
                (self.call(request, &id, told, is_change, operation).await, admitted.left)
            }
            Err(error) => (refusal(error), None),
        };
        if let Some(operation) = changes {
            keyed_change::log_change(id.as_str(), &operation.id, key_id.unwrap_or_default(), &response);
        }
        if response.status().as_u16() >= 400 {
            let place = FailedRequest {
                id: id.as_str(),
                operation,
                key_id,
                is_json_rpc,
                allow: methods,
                peer,
                refusals: &self.refusals,
            };
            response = place.finish(response);
        }
        let headers = response.headers_mut();
        if let Some(left) = left {
            left.write(headers);
        }
        if let Some(origin) = origin {
            CorsPolicy::allow(headers, origin);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REQUEST_ID, id.value());
        let metrics = operation.map_or(&self.operations.unknown, |operation| &operation.metrics);
        metrics.observe(response.status().as_u16(), started.elapsed());
        response
    }

    /// Answers a request that is no HTTP/1.1 although it could be read.
    pub(super) fn refuse(&self, error: Error, peer: IpAddr) -> Response {
        let started = Instant::now();
        let id = self.request_id();
        let place = FailedRequest {
            id: id.as_str(),
            operation: None,
            key_id: None,
            is_json_rpc: false,
            allow: None,
            peer,
            refusals: &self.refusals,
        };
        let mut response = place.finish(refusal(error));
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert(REQUEST_ID, id.value());
        self.operations.unknown.observe(response.status().as_u16(), started.elapsed());
        response
    }

    /// Frees memory of the throttle for wrong keys, and writes one line each about what was refused and only counted.
    /// To be called about every minute, and at the stop.
    pub fn sum_up_refusals(&self) {
        self.wrong_keys.forget_quiet();
        self.refusals.tell();
        let unfinished = self.input.take_refused();
        if unfinished > 0 {
            tracing::warn!(
                http.refused = unfinished,
                "{unfinished} requests that came in pieces were refused: too many were unfinished"
            );
        }
    }

    /// A random prefix of this process and a counter: unique, short, and cheap to make.
    fn request_id(&self) -> HeaderText {
        HeaderText::new().text(&self.id_prefix).number(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn admit<'guard>(
        &'guard self,
        request: &Request<Body>,
        methods: Option<&PathMethods>,
        operation: Option<&'guard ApiOperation>,
        peer: IpAddr,
    ) -> Result<AdmittedRequest<'guard>, Error> {
        let headers = request.headers();
        let scope = match operation {
            Some(open @ ApiOperation { scope: None, .. }) => {
                check_form(operation, headers)?;
                open.check_query(request.uri().query().unwrap_or_default())?;
                return Ok(AdmittedRequest { known: None, left: None });
            }
            Some(operation @ ApiOperation { ticket: true, .. }) if has_ticket(request) => {
                operation.check_query(request.uri().query().unwrap_or_default())?;
                return Ok(AdmittedRequest { known: None, left: None });
            }
            Some(ApiOperation { scope, .. }) => *scope,
            None if methods.is_some_and(PathMethods::has_open) => return Err(method_unknown(methods)),
            // Clients look here for a sign-in flow. There is none, and they would take a 401 for a broken one.
            None if request.uri().path().starts_with("/.well-known/") => {
                return Err(Error::new(Code::PathUnknown));
            }
            None => None,
        };
        let known = self.keys.identify(headers).map_err(|unidentified| match unidentified.is_guess {
            true => self.wrong_keys.throttle(peer, unidentified.error),
            false => unidentified.error,
        })?;
        let left = known.rate.take()?;
        if let Some(scope) = scope {
            known.actor.require_scope(scope)?;
        }
        if operation.is_none() && methods.is_some() {
            let refusal = methods.and_then(PathMethods::refusal);
            return Err(refusal.unwrap_or_else(|| method_unknown(methods)));
        }
        check_form(operation, headers)?;
        if let (Some(operation), Some(query)) = (operation, request.uri().query()) {
            operation.check_query(query)?;
        }
        Ok(AdmittedRequest { known: Some(known), left: Some(left) })
    }

    async fn call(
        &self,
        mut request: Request<Body>,
        id: &HeaderText,
        known: Option<&KnownKey>,
        is_change: bool,
        operation: Option<&ApiOperation>,
    ) -> Response {
        let shapes = operation.filter(|operation| operation.shapes);
        let shape = match shapes.map(|operation| ShapeRequest::take(&mut request, operation.own_fields)) {
            Some(Err(error)) => return refusal(error),
            Some(Ok(shape)) => shape,
            None => None,
        };
        let is_plain = shape.is_none() && request.method() == Method::GET && request.uri().query().is_none();
        let ready = operation.and_then(|operation| operation.ready.as_ref()).filter(|_| is_plain);
        let mut response = match ready {
            Some(ready) => {
                let headers = request.headers();
                std::panic::catch_unwind(AssertUnwindSafe(|| ready.answer(headers)))
                    .unwrap_or_else(|panic| refusal(panicked(&*panic)))
            }
            None => {
                if let Some(known) = known {
                    // Only changes record the client's name in the audit, so only they pay for it.
                    let client = is_change.then(|| client(request.headers())).flatten();
                    let actor = Actor { request_id: id.as_str().into(), client, ..known.actor.clone() };
                    request.extensions_mut().insert(actor);
                }
                // Boxed, to keep this future small: it is moved for every request, the plain reads included.
                Box::pin(self.call_handler(request, known, operation)).await
            }
        };
        if let Some(shape) = shape {
            response = Box::pin(shape.shape(response)).await;
        }
        if shapes.is_some() {
            answer_shape::vary(response.headers_mut());
        }
        response
    }

    /// Calls the handler of a read, or of a change that its idempotency key lets through.
    async fn call_handler(
        &self,
        request: Request<Body>,
        known: Option<&KnownKey>,
        operation: Option<&ApiOperation>,
    ) -> Response {
        let is_keyed = |operation: &&ApiOperation| keyed_change::is_change(request.method(), operation.scope);
        match known.zip(operation.filter(is_keyed)) {
            Some((known, operation)) => {
                let route = async |request| self.route(request, Duration::ZERO).await.unwrap_or_else(refusal);
                self.keyed.perform(&known.actor.key_id, &operation.id, request, route).await
            }
            None => self.call_read(request, operation).await.unwrap_or_else(refusal),
        }
    }

    /// Calls the handler of a read, which may ask to wait, or of a message that holds calls.
    async fn call_read(
        &self,
        request: Request<Body>,
        operation: Option<&ApiOperation>,
    ) -> Result<Response, Error> {
        let place = self.waiting.admit(request.uri().query())?;
        let wait = match operation {
            _ if place.is_some() => LONGEST_WAIT,
            Some(operation) if operation.json_rpc => LONGEST_INSIDE_WAIT,
            _ => Duration::ZERO,
        };
        self.route(request, wait).await
    }

    /// Calls the handler, under a deadline of so much more than the usual one, and with its panics caught.
    async fn route(&self, request: Request<Body>, wait: Duration) -> Result<Response, Error> {
        let mut router = self.router.clone();
        let handled = AssertUnwindSafe(router.call(request)).catch_unwind();
        match tokio::time::timeout(self.deadline + wait, handled).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(panic)) => Err(panicked(&*panic)),
            Err(_) => Err(Error::new(Code::DeadlineExceeded)),
        }
    }
}

/// The same without the slash that ends its path; `None` where none does.
fn without_last_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty())?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{query}").parse().ok()
}

fn check_form(operation: Option<&ApiOperation>, headers: &HeaderMap) -> Result<(), Error> {
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT) {
        return Err(Error::new(Code::BodyTooLarge).context("limit_bytes", BODY_LIMIT));
    }
    match operation {
        Some(operation) if !operation.can_meet(headers) => {
            Err(Error::new(Code::NotAcceptable).context("available", operation.media.clone()))
        }
        // What reads these bodies is not ours; all others go through the extractor, which refuses them.
        Some(ApiOperation { json_rpc: true, .. }) => refuse_encoded(headers),
        _ => Ok(()),
    }
}

/// The key that the handler learns of: none where the operation does not want an actor.
fn actor_of<'guard>(
    admitted: &AdmittedRequest<'guard>,
    operation: Option<&ApiOperation>,
) -> Option<&'guard KnownKey> {
    admitted.known.filter(|_| operation.is_none_or(ApiOperation::wants_actor))
}

fn has_ticket(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair.starts_with("ticket="))
}

fn client(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(botops_core::text::clean(text, 100).into())
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    Error::new(Code::Internal).caused_by(panic_text(panic))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}
