//! The HTTP client for one freqtrade: deadlines, bounds, no proxy, no redirect, credentials marked as sensitive.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{AUTHORIZATION, DATE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::failure::UpstreamFailure;
use super::json_text::without_bare_words;
use super::secret_words::{HideSecrets, SecretWords};
use super::shown_config::shown_config;
use crate::credentials::{UpstreamCredentials, UpstreamProof};
use crate::options::UpstreamAddress;
use botops_contract::VerbatimJson;
use botops_core::object_reader::read_json_bytes;
use botops_core::redact;
use botops_core::text::clean;

/// A freqtrade that took the connection and is silent for this long hangs: a healthy one answers in 0.1 s.
pub(crate) const HUNG_AFTER: Duration = Duration::from_secs(3);

/// Within a machine or a private network a connection is made at once or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The largest answer: some thousand trades with their orders.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;

/// uvicorn, freqtrade's server, closes an idle connection after 5 s.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// Calls to one freqtrade; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct FreqtradeClient {
    http: Client,
    address: UpstreamAddress,
    authorization: HeaderValue,
    /// What must not be in any text that is shown: freqtrade's log may repeat what was sent to it.
    secrets: SecretWords,
}

/// An answer that freqtrade gave with status 200.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamAnswer {
    /// When its last byte came.
    pub at: DateTime<Utc>,
    /// What the clock of freqtrade's machine was then, to the second; `None` where its server does not say.
    pub clock: Option<DateTime<Utc>>,
    body: Bytes,
    secrets: SecretWords,
}

impl UpstreamAnswer {
    /// Reads it as the answer of its path, secrets masked in its texts for people.
    pub(crate) fn read<T: DeserializeOwned + HideSecrets>(&self) -> Result<T, UpstreamFailure> {
        let mut read: T = self.parse()?;
        read.hide_secrets(&self.secrets);
        Ok(read)
    }

    /// The config that it echoes, as it may be shown.
    pub(crate) fn read_shown_config(&self) -> Result<VerbatimJson, UpstreamFailure> {
        let text = without_bare_words(&self.body);
        let shown = std::str::from_utf8(&text).ok().and_then(|text| shown_config(text, &self.secrets));
        shown.ok_or_else(|| UpstreamFailure::Unreadable("not the JSON that this path gives".to_owned()))
    }

    /// Reads it as it is. The parser's own error is dropped, since it quotes the answer.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, UpstreamFailure> {
        let text = without_bare_words(&self.body);
        read_json_bytes(&text)
            .map_err(|_| UpstreamFailure::Unreadable("not the JSON that this path gives".to_owned()))
    }
}

impl FreqtradeClient {
    /// A client for this address.
    ///
    /// # Errors
    /// One sentence when the credentials fit into no header or the client cannot be made.
    pub(crate) fn new(address: UpstreamAddress, credentials: &UpstreamCredentials) -> Result<Self, String> {
        // Fails when another part of the process has installed one, which is the same: only ring is compiled in.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_LIMIT)
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("botops-freqtrade/", env!("CARGO_PKG_VERSION")));
        if !address.is_encrypted() {
            // The certificates of the system are some megabytes that nothing here would use.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|_| "the HTTP client cannot be made".to_owned())?;
        let mut authorization = authorization_of(&http, &address, &credentials.proof)
            .ok_or("--credentials: a value has characters that no request can carry")?;
        authorization.set_sensitive(true);
        Ok(Self { http, address, authorization, secrets: SecretWords::of(credentials) })
    }

    /// Where freqtrade answers.
    pub(crate) fn address(&self) -> &UpstreamAddress {
        &self.address
    }

    /// Asks whether freqtrade answers at all; needs no credentials and touches nothing in it.
    pub(crate) async fn ping(&self) -> Result<(), UpstreamFailure> {
        let answer = self.exchange(self.request(Method::GET, "ping")?, HUNG_AFTER).await?;
        let said: Value = answer.parse()?;
        if said["status"] == "pong" {
            return Ok(());
        }
        Err(UpstreamFailure::Unreadable("what answers there is no freqtrade".to_owned()))
    }

    /// Reads one path.
    pub(crate) async fn get(&self, path: &str, limit: Duration) -> Result<UpstreamAnswer, UpstreamFailure> {
        self.send(Method::GET, path, None, limit).await
    }

    /// Sends one request with the credentials.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<UpstreamAnswer, UpstreamFailure> {
        self.exchange(self.authorized(method, path, body)?, limit).await
    }

    /// Sends one request that changes something. Ok is freqtrade's own answer of success; one that is not in freqtrade's
    /// form, as a proxy gives it, is [`UpstreamFailure::Unreadable`]: it tells nothing of what became of the request.
    pub(crate) async fn act(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<(), UpstreamFailure> {
        let (status, answer) = self.receive(self.authorized(method, path, body)?, limit).await?;
        if !is_own_answer(status, &answer.body) {
            let status = status.as_u16();
            return Err(UpstreamFailure::Unreadable(format!("status {status}, and not in freqtrade's form")));
        }
        if status == StatusCode::OK { Ok(()) } else { Err(refusal(status, &answer.body, &self.secrets)) }
    }

    fn authorized(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<RequestBuilder, UpstreamFailure> {
        let request = self.request(method, path)?.header(AUTHORIZATION, self.authorization.clone());
        Ok(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, UpstreamFailure> {
        let url = self.address.join(path);
        let url = url.ok_or_else(|| UpstreamFailure::Unreadable("no such path".to_owned()))?;
        Ok(self.http.request(method, url))
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
        limit: Duration,
    ) -> Result<UpstreamAnswer, UpstreamFailure> {
        let (status, answer) = self.receive(request, limit).await?;
        if status == StatusCode::OK { Ok(answer) } else { Err(refusal(status, &answer.body, &self.secrets)) }
    }

    async fn receive(
        &self,
        request: RequestBuilder,
        limit: Duration,
    ) -> Result<(StatusCode, UpstreamAnswer), UpstreamFailure> {
        let mut response = request.timeout(limit).send().await.map_err(|error| classify(&error))?;
        let status = response.status();
        let clock = response.headers().get(DATE).and_then(clock_of);
        let too_large = || UpstreamFailure::Unreadable("the answer is too large".to_owned());
        if response.content_length().is_some_and(|length| length > LARGEST_ANSWER as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let secrets = self.secrets.clone();
        Ok((status, UpstreamAnswer { at: Utc::now(), clock, body: body.into(), secrets }))
    }
}

fn clock_of(date: &HeaderValue) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(date.to_str().ok()?).ok().map(|at| at.to_utc())
}

fn authorization_of(http: &Client, address: &UpstreamAddress, proof: &UpstreamProof) -> Option<HeaderValue> {
    let request = http.get(address.join("ping")?);
    let request = match proof {
        UpstreamProof::Password { username, password } => {
            request.basic_auth(username, Some(password.expose_secret()))
        }
        UpstreamProof::Token(token) => request.bearer_auth(token.expose_secret()),
    };
    request.build().ok()?.headers().get(AUTHORIZATION).cloned()
}

/// Whether freqtrade itself gave this answer to a request that changes something, and no proxy before it.
fn is_own_answer(status: StatusCode, body: &[u8]) -> bool {
    let json: Option<Value> = serde_json::from_slice(&without_bare_words(body)).ok();
    let has = |name: &str| json.as_ref().and_then(|json| json.get(name)).is_some_and(|said| !said.is_null());
    match status {
        StatusCode::OK => json.is_some(),
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::BAD_GATEWAY => json.as_ref().is_some_and(|json| json["error"].is_string()),
        // freqtrade says so of a path that another mode of it has.
        StatusCode::SERVICE_UNAVAILABLE => has("detail"),
        _ => status.is_client_error() && (has("detail") || json.as_ref().is_some_and(Value::is_array)),
    }
}

/// What a status other than 200 means. freqtrade's own reason stands in `error` (502) or `detail`.
fn refusal(status: StatusCode, body: &[u8], secrets: &SecretWords) -> UpstreamFailure {
    let json: Value = serde_json::from_slice(body).unwrap_or(json!(null));
    let said = json["error"].as_str().or_else(|| json["detail"].as_str());
    let said = said
        .map_or_else(|| "no reason given".to_owned(), |said| redact::line(&clean(&secrets.hide(said), 300)));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => UpstreamFailure::Unauthorized,
        StatusCode::BAD_GATEWAY if json["error"].is_string() => UpstreamFailure::Domain(said),
        StatusCode::TOO_MANY_REQUESTS => UpstreamFailure::TooOften,
        StatusCode::SERVICE_UNAVAILABLE => UpstreamFailure::Unavailable(said),
        _ => UpstreamFailure::Status(status.as_u16(), said),
    }
}

/// A library error by its kind; its text quotes the URL and goes nowhere.
fn classify(error: &reqwest::Error) -> UpstreamFailure {
    if error.is_connect() {
        let why = io_kind(error).map_or_else(
            || {
                if error.is_timeout() {
                    "no connection in time".to_owned()
                } else {
                    "no connection".to_owned()
                }
            },
            |kind| kind.to_string(),
        );
        return UpstreamFailure::Unreachable(why);
    }
    if error.is_timeout() {
        return UpstreamFailure::Late;
    }
    if error.is_redirect() {
        return UpstreamFailure::Unreadable("a redirect".to_owned());
    }
    UpstreamFailure::Cut
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_in_the_form_of_freqtrade_tells_what_became_of_a_request() {
        let is_own =
            |status, body: &str| is_own_answer(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        for (status, body) in [
            (200, r#"{"result": "Created exit order.", "profit": NaN}"#),
            (502, r#"{"error": "Error querying /api/v1/forceexit: no active trade"}"#),
            (401, r#"{"detail": "Unauthorized"}"#),
            (422, r#"{"detail": [{"loc": ["body"], "msg": "field required"}]}"#),
            (503, r#"{"detail": "Bot is not in the correct state."}"#),
            (429, "slow down"),
        ] {
            assert!(is_own(status, body), "{status} {body}");
        }
        for (status, body) in [
            (200, "<html>log in</html>"),
            (200, ""),
            (302, ""),
            (404, "<html>not found</html>"),
            (408, ""),
            (500, "Internal Server Error"),
            (502, "<html>Bad Gateway</html>"),
            (502, r#"{"detail": "of something else"}"#),
            (503, "<html>Service Unavailable</html>"),
            (504, r#"{"error": "upstream timed out"}"#),
        ] {
            assert!(!is_own(status, body), "{status} {body}");
        }
    }
}
