//! Idempotency keys: the one place where a change with a key is let through, answered again or refused.
//!
//! The guard (REST) and calls from inside the process (MCP, plain language) pass every change of the API through
//! [`KeyedChanges`], so no handler has a mechanism of its own and no new route can forget it. What is kept, and for how
//! long, is up to the keeper behind it, which lies above this crate.

use std::future::Future;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::auth::KeyScope;
use super::extract::{read_body, read_key};
use super::read_method::only_reads;
use botops_core::error::{Code, Effect, Error};
use botops_core::exact_number::read_exact_json;
use botops_core::failpoints;
use botops_core::telemetry::CHANGES_BY_OPERATORS;

/// Says on an answer that it was given before, under the same key.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Says on an answer that its key could not be kept: the same key may act a second time.
const NOT_KEPT: HeaderName = HeaderName::from_static("idempotency-not-kept");

/// A change with a key, before it is performed.
#[derive(Debug, Clone)]
pub struct KeyedChange {
    /// The name of the API key. Idempotency keys of different API keys never meet.
    pub actor: Arc<str>,
    /// The idempotency key.
    pub key: String,
    /// The operation id.
    pub operation: String,
    /// Method and path, for people.
    pub call: String,
    /// A hash of method, path, query and body.
    pub digest: String,
}

/// The right to perform the change that a key stands for. The handler finds it in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeClaim {
    /// The idempotency key, as the caller knows it.
    pub key: String,
    /// The id of this use of the key: another one when the key is used again after its time.
    pub id: String,
    /// False when the key could not be made durable: it may act again after a restart.
    pub is_kept: bool,
    /// Whether the change was begun before under this key, and what that did is not known or is the handler's to say.
    pub is_again: bool,
}

/// The claim of the request's `Idempotency-Key`, for handlers that record under which key a change was made.
///
/// The key itself is honoured before the handler, for every change alike. A dry run uses up no key: its claim is nowhere
/// recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<ChangeClaim>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        if let Some(claim) = parts.extensions.get::<ChangeClaim>() {
            return Ok(Self(Some(claim.clone())));
        }
        let claim = |key: String| ChangeClaim { id: key.clone(), key, is_kept: false, is_again: false };
        Ok(Self(read_key(&parts.headers)?.map(claim)))
    }
}

/// What is to be done about a change with a key.
#[derive(Debug)]
pub enum KeyDecision {
    /// It is performed.
    Perform(ChangeClaim),
    /// It was performed before: its answer.
    Replay(KeptAnswer),
}

/// The answer of a change, as it is kept under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// What became of a change.
#[derive(Debug)]
pub enum ChangeOutcome {
    /// It is proven that nothing was changed: the key is not used up.
    Nothing,
    /// It was made.
    Answered(KeptAnswer),
    /// A part of it was made, or all of it before it failed: the failure is its answer.
    Failed(Error),
    /// It was not seen to end, or nobody can tell what it did: the failure that says so, if there was an answer.
    Unknown(Option<Error>),
}

/// Decides about a change; an error is its answer.
pub type DecideKey = Box<dyn Fn(KeyedChange) -> BoxFuture<'static, Result<KeyDecision, Error>> + Send + Sync>;

/// Takes what became of a change; the future ends once that is durable, or cannot be made so in time.
pub type EndKey = Box<dyn Fn(Arc<str>, ChangeClaim, ChangeOutcome) -> BoxFuture<'static, ()> + Send + Sync>;

/// Takes a change that was given up before its end. Called where nothing can be waited for.
pub type AbandonKey = Box<dyn Fn(Arc<str>, ChangeClaim) + Send + Sync>;

/// The keeper of the keys, as the guard and calls from inside use it; cloning is cheap.
#[derive(Clone)]
pub struct KeyedChanges(Arc<KeyedChangesInner>);

struct KeyedChangesInner {
    decide: DecideKey,
    end: EndKey,
    abandon: AbandonKey,
}

impl std::fmt::Debug for KeyedChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedChanges")
    }
}

/// Whether an operation is a change, whose key is honoured.
///
/// A `POST` that needs only the scope `read` asks something and changes nothing.
pub(super) fn is_change(method: &Method, scope: Option<KeyScope>) -> bool {
    !only_reads(method) && scope.is_some_and(|scope| scope != KeyScope::Read)
}

impl KeyedChanges {
    /// A keeper made of these three functions.
    pub fn new(decide: DecideKey, end: EndKey, abandon: AbandonKey) -> Self {
        Self(Arc::new(KeyedChangesInner { decide, end, abandon }))
    }

    /// Performs a change, unless its key says that it was performed before. Without a key, and for a dry run, it is just
    /// performed.
    pub(super) async fn perform<F, R>(
        &self,
        actor: &Arc<str>,
        operation: &str,
        request: Request<Body>,
        perform: F,
    ) -> Response
    where
        F: FnOnce(Request<Body>) -> R,
        R: Future<Output = Response>,
    {
        let key = match read_key(request.headers()) {
            Err(error) => return error.into_response(),
            Ok(None) => return perform(request).await,
            Ok(Some(_)) if is_dry_run(request.uri()) => return perform(request).await,
            Ok(Some(key)) => key,
        };
        let (parts, body) = request.into_parts();
        let body = match read_body(body).await {
            Ok(body) => body,
            Err(error) => return error.into_response(),
        };
        let change = KeyedChange {
            actor: actor.clone(),
            key,
            operation: operation.to_owned(),
            call: format!("{} {}", parts.method, parts.uri.path()),
            digest: digest_of(&parts.method, &parts.uri, &body),
        };
        let claim = match (self.0.decide)(change).await {
            Err(error) => return error.into_response(),
            Ok(KeyDecision::Replay(answer)) => return replayed(answer),
            Ok(KeyDecision::Perform(claim)) => claim,
        };
        let mut running =
            RunningClaim { keeper: self.0.clone(), actor: actor.clone(), claim: Some(claim.clone()) };
        let mut request = Request::from_parts(parts, Body::from(body));
        request.extensions_mut().insert(claim.clone());
        let response = perform(request).await;
        failpoints::point("change.performed");
        let (outcome, mut response) = outcome_of(response).await;
        if !claim.is_kept {
            mark_not_kept(&mut response);
        }
        running.claim = None;
        (self.0.end)(actor.clone(), claim, outcome).await;
        failpoints::point("change.answered");
        response
    }
}

/// A change under way. When its future is dropped before the end, what it did is not known.
struct RunningClaim {
    keeper: Arc<KeyedChangesInner>,
    actor: Arc<str>,
    claim: Option<ChangeClaim>,
}

impl Drop for RunningClaim {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            (self.keeper.abandon)(self.actor.clone(), claim);
        }
    }
}

/// One line about a change that was made, or of which nobody knows whether it was, for the log of what operators changed.
/// A refusal that did nothing has none there.
pub(super) fn log_change(request_id: &str, operation: &str, key_id: &str, response: &Response) {
    let effect = response.extensions().get::<Error>().map(Error::told_effect);
    let status = response.status().as_u16();
    let said = match effect {
        Some(Effect::Unknown) => ", and whether it was done is not known",
        Some(Effect::Partial) => ", and a part of it was done",
        Some(Effect::Applied) => ", although it was done",
        Some(Effect::None) => return,
        None if status >= 400 => return,
        None if response.headers().contains_key(REPLAYED) => " as before: nothing was done now",
        None => "",
    };
    tracing::info!(
        target: CHANGES_BY_OPERATORS,
        {
        request.id = request_id,
        operation = operation,
        key.id = key_id,
        http.status = status,
        http.replayed = response.headers().contains_key(REPLAYED)
        },
        "{operation} by {key_id}: {status}{said}"
    );
}

/// Whether a call only says what it would do.
pub(super) fn is_dry_run(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| pair == "dry_run=true")
}

/// A hash of what is asked for. The order of members and white space do not count; every digit of a number does.
fn digest_of(method: &Method, uri: &Uri, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    for part in [method.as_str(), uri.path(), uri.query().unwrap_or_default()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    match read_exact_json(body) {
        Ok(mut asked) => {
            // The code of a broker is short: out of a digest it could be guessed.
            if let Some(args) = asked.get_mut("args").and_then(Value::as_object_mut) {
                args.remove("code");
            }
            hash.update(sorted(asked).to_string().as_bytes());
        }
        // The handler refuses it, or needs no body.
        Err(_) => hash.update(body),
    }
    data_encoding::HEXLOWER.encode(&hash.finalize())
}

/// The value with the members of its objects sorted by name.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(name, one)| (name, sorted(one))).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        plain => plain,
    }
}

/// What an answer proves, and the answer.
async fn outcome_of(response: Response) -> (ChangeOutcome, Response) {
    if let Some(error) = response.extensions().get::<Error>().cloned() {
        let outcome = match error.problem("", Utc::now()).effect {
            Effect::None => ChangeOutcome::Nothing,
            Effect::Unknown => ChangeOutcome::Unknown(Some(error)),
            Effect::Applied | Effect::Partial => ChangeOutcome::Failed(error),
        };
        return (outcome, response);
    }
    if response.status().is_client_error() {
        // Refused by the router: no handler ran.
        return (ChangeOutcome::Nothing, response);
    }
    let media =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if response.status().is_server_error() && !media.contains("json") {
        // No handler's own answer: it broke off somewhere.
        return (ChangeOutcome::Unknown(None), response);
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        let error = Error::new(Code::Internal).caused_by("the answer of a change broke off");
        return (ChangeOutcome::Unknown(Some(error.clone())), error.into_response());
    };
    let body = body.to_bytes();
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    let headers = parts.headers.iter().filter_map(text).collect();
    let answer = KeptAnswer { status: parts.status.as_u16(), headers, body: body.clone() };
    (ChangeOutcome::Answered(answer), Response::from_parts(parts, Body::from(body)))
}

/// The answer that was given before. Where its body says whether it is one, it says so.
fn replayed(answer: KeptAnswer) -> Response {
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(mut said) if said.get("replayed").is_some_and(Value::is_boolean) => {
            said["replayed"] = json!(true);
            Bytes::from(said.to_string())
        }
        _ => answer.body,
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    copy_headers(&answer.headers, response.headers_mut());
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn copy_headers(from: &[(String, String)], into: &mut HeaderMap) {
    for (name, value) in from {
        let pair = name.parse::<HeaderName>().ok().zip(value.parse::<HeaderValue>().ok());
        // The body may have another length by now.
        if let Some((name, value)) = pair.filter(|(name, _)| name != CONTENT_LENGTH) {
            into.append(name, value);
        }
    }
}

/// A failure says it in its context, every other answer by a header; those of commands have a member of their own.
fn mark_not_kept(response: &mut Response) {
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        response.extensions_mut().insert(error.context("key_kept", false));
    }
    response.headers_mut().insert(NOT_KEPT, HeaderValue::from_static("true"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(path: &str, body: &str) -> String {
        digest_of(&Method::POST, &path.parse().unwrap(), body.as_bytes())
    }

    #[test]
    fn a_digest_is_of_what_is_asked_for_and_not_of_how_it_is_written() {
        let one = digest("/a", r#"{"x": {"b": 1, "a": [1, 2]}, "y": 1.10}"#);
        assert_eq!(one, digest("/a", r#"{"y":1.10,"x":{"a":[1,2],"b":1}}"#));
        let others = [
            digest("/b", r#"{"x": {"b": 1, "a": [1, 2]}, "y": 1.10}"#),
            digest("/a?q=1", r#"{"x": {"b": 1, "a": [1, 2]}, "y": 1.10}"#),
            digest("/a", r#"{"x": {"b": 1, "a": [2, 1]}, "y": 1.10}"#),
            digest("/a", r#"{"x": {"b": 1, "a": [1, 2]}, "y": 1.10000000000000000001}"#),
            digest("/a", ""),
        ];
        assert!(others.iter().all(|other| *other != one), "{others:#?}");
    }

    #[test]
    fn the_code_of_a_broker_is_in_no_digest() {
        let with =
            |code: &str| digest("/reauth", &format!(r#"{{"reason": "why", "args": {{"code": "{code}"}}}}"#));
        assert_eq!(with("123456"), with("654321"));
    }
}
