//! One HTTP exchange with a broker, with every limit in place.
//!
//! Total and connect deadlines, no redirects, no proxy, https only (plain HTTP for loopback), a body cap, bytes read
//! before anything is parsed. Library errors become [`BrokerError`]s here and their texts go nowhere: they quote URLs
//! and server text. Nothing is repeated but a read on a connection that the peer had closed.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use super::error::{BrokerError, TransientFailure};
use crate::command_line::secret;
use botops_core::object_reader::read_json_bytes;

/// The longest body in bytes that is read: the answers in use are far shorter, and memory must stay bounded.
const MAX_BODY: usize = 1024 * 1024;

/// A broker's wait is capped at a day; a longer one is taken for a mistake of the server.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The wait after a rate limit whose answer names none.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// Address, deadlines and trusted certificates of a broker.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `https://…`; plain `http://` only for loopback.
    pub base_url: String,
    /// Deadline of a whole exchange, from connecting to the last byte read.
    pub total: Duration,
    /// Deadline of connecting alone.
    pub connect: Duration,
    /// Only certificates of this PEM file are trusted, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl HttpSettings {
    /// The usual deadlines for a base URL.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            total: Duration::from_secs(10),
            connect: Duration::from_secs(3),
            ca_file: None,
        }
    }
}

/// Where the broker's API is, when the usual place is not meant.
#[derive(Debug, Clone, Args)]
pub(super) struct BrokerAddress {
    /// Where the broker's API lives, if not at its usual place
    #[arg(long, env = "PAPERBOT_BROKER_URL", hide_env_values = true, value_name = "URL", value_parser = secret)]
    broker_url: Option<SecretString>,
    /// Trust only the certificates of this PEM file
    #[arg(long, env = "PAPERBOT_BROKER_CA_FILE", hide_env_values = true, value_name = "FILE")]
    broker_ca_file: Option<PathBuf>,
}

impl BrokerAddress {
    pub(super) fn http_settings(&self, usual: &str) -> HttpSettings {
        let given = self.broker_url.as_ref().map(ExposeSecret::expose_secret);
        let mut http = HttpSettings::new(given.unwrap_or(usual));
        http.ca_file.clone_from(&self.broker_ca_file);
        http
    }
}

/// An HTTP client that calls one origin only.
#[derive(Debug)]
pub(super) struct BrokerHttp {
    client: Client,
    base: Url,
    total: Duration,
}

/// One request to the broker; built up, then passed to [`BrokerHttp::send`].
#[derive(Debug)]
pub(super) struct BrokerRequest {
    pub(super) method: Method,
    /// Path and query, or a full URL of the same origin.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
    pub(super) limit: Duration,
}

impl BrokerRequest {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        let (path, headers) = (path.into(), HeaderMap::new());
        Self { method, path, headers, body: None, limit: Duration::MAX }
    }

    /// Adds a header that is marked sensitive, so that no debug output shows its value.
    pub(super) fn secret_header(mut self, name: &'static str, value: &str) -> Result<Self, BrokerError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| BrokerError::Config {
            what: "a credential has characters no header can carry".into(),
        })?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    pub(super) fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = Some(("application/json", body.to_string().into_bytes()));
        self
    }

    pub(super) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let mut url = Url::parse("http://form/").expect("a constant URL");
        url.query_pairs_mut().extend_pairs(fields);
        let encoded = url.query().unwrap_or_default().as_bytes().to_vec();
        self.body = Some(("application/x-www-form-urlencoded; charset=utf-8", encoded));
        self
    }

    pub(super) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

/// What the headers of an answer say about clock and quota.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerMeta {
    /// The broker's clock minus this machine's; `None` without a usable `Date` header.
    pub(super) skew: Option<TimeDelta>,
    /// The quota of calls is used up for this long; `None` while calls are left.
    pub(super) quota_wait: Option<Duration>,
}

/// An answer with its whole body in memory.
#[derive(Debug)]
pub(super) struct BrokerAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) received_at: DateTime<Utc>,
}

impl BrokerHttp {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, BrokerError> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Fails when another part of the process has installed one, which is the same: only ring is compiled in.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let config = |what: &str| BrokerError::Config { what: what.to_owned() };
        let base = Url::parse(&settings.base_url).map_err(|_| config("the base URL is not a URL"))?;
        let is_plain = base.scheme() == "http";
        if !(base.scheme() == "https" || is_plain && is_loopback(&base)) {
            return Err(config("the base URL has to begin with https:// (plain http only for loopback)"));
        }
        if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
            return Err(config("the base URL carries credentials or a query"));
        }
        let mut client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .https_only(!is_plain)
            .timeout(settings.total)
            .connect_timeout(settings.connect)
            .pool_idle_timeout(Duration::from_secs(60))
            .user_agent(concat!("botops-paperbot/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path).map_err(|_| config("the CA file cannot be read"))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| config("the CA file is not PEM"))?;
            client = client.tls_certs_only(certificates);
        }
        let client = client.build().map_err(|_| config("the TLS set-up failed"))?;
        Ok(Self { client, base, total: settings.total })
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&self, ask: &BrokerRequest) -> Result<BrokerAnswer, BrokerError> {
        let started = tokio::time::Instant::now();
        let first = self.exchange(ask).await;
        // A pooled connection may be closed between two calls; the server has not seen a read that failed that way.
        let connection_had_died = ask.method == Method::GET
            && first.as_ref().is_err_and(|error| {
                matches!(error, BrokerError::Transient { kind: TransientFailure::Reset, .. })
            })
            && started.elapsed() < Duration::from_millis(100);
        if connection_had_died { self.exchange(ask).await } else { first }
    }

    async fn exchange(&self, ask: &BrokerRequest) -> Result<BrokerAnswer, BrokerError> {
        let url = self.base.join(&ask.path).map_err(|_| BrokerError::Protocol { what: "not a URL" })?;
        if url.origin() != self.base.origin() {
            return Err(BrokerError::Protocol { what: "a link to another origin" });
        }
        let limit = ask.limit.min(self.total);
        let mut request =
            self.client.request(ask.method.clone(), url).headers(ask.headers.clone()).timeout(limit);
        if let Some((media_type, body)) = &ask.body {
            request = request.header("content-type", *media_type).body(body.clone());
        }
        let mut response = request.send().await.map_err(|error| classify(&error, false))?;
        if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
            return Err(BrokerError::Protocol { what: "the answer is too large" });
        }
        if response.headers().contains_key("content-encoding") {
            return Err(BrokerError::Protocol { what: "an encoding nobody asked for" });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error, true))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(BrokerError::Protocol { what: "the answer is too large" });
            }
            body.extend_from_slice(&chunk);
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(BrokerAnswer { status, headers, body, received_at: Utc::now() })
    }
}

impl BrokerAnswer {
    /// Turns the statuses that mean the same with every broker into errors; the rest is for the adapter.
    pub(super) fn check(self) -> Result<Self, BrokerError> {
        match self.status {
            429 => Err(BrokerError::RateLimited { wait: self.wait() }),
            500..=599 => {
                Err(BrokerError::Transient { kind: TransientFailure::Server, status: Some(self.status) })
            }
            300..=399 => Err(BrokerError::Protocol { what: "a redirect" }),
            206 => Err(BrokerError::Protocol { what: "a part of an answer" }),
            _ => Ok(self),
        }
    }

    /// Parses the body. The parser's own error is dropped, since it quotes the server's text.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, BrokerError> {
        if self.body.is_empty() {
            return Err(BrokerError::Protocol { what: "an empty answer" });
        }
        read_json_bytes(&self.body)
            .map_err(|_| BrokerError::Protocol { what: "not the JSON that the API promises" })
    }

    pub(super) fn meta(&self) -> AnswerMeta {
        let skew = self.header("date").and_then(http_date).map(|date| {
            // The header has whole seconds: half a second is the mean of what it leaves out.
            date + TimeDelta::milliseconds(500) - self.received_at
        });
        let used_up = self.header("x-ratelimit-remaining").is_some_and(|left| left.trim() == "0");
        let quota_wait = if used_up { self.reset_wait() } else { None };
        AnswerMeta { skew, quota_wait }
    }

    /// How long to wait: by `Retry-After`, else `X-RateLimit-Reset`, else a number in the text, else a minute.
    fn wait(&self) -> Duration {
        let told = self.retry_after().or_else(|| self.reset_wait()).or_else(|| self.wait_in_text());
        told.unwrap_or(DEFAULT_WAIT).min(LONGEST_WAIT)
    }

    fn retry_after(&self) -> Option<Duration> {
        let text = self.header("retry-after")?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        self.until(http_date(text)?)
    }

    fn reset_wait(&self) -> Option<Duration> {
        let seconds = self.header("x-ratelimit-reset")?.trim().parse().ok()?;
        self.until(DateTime::from_timestamp(seconds, 0)?)
    }

    /// The wait in a text such as `Request was throttled. Expected available in 17 seconds.`
    fn wait_in_text(&self) -> Option<Duration> {
        let text = std::str::from_utf8(&self.body).ok()?;
        let (_, after) = text.split_once("available in ")?;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().map(Duration::from_secs)
    }

    /// The time until `at`; `None` when that is in the past, which says nothing.
    fn until(&self, at: DateTime<Utc>) -> Option<Duration> {
        (at - self.received_at).to_std().ok()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Whether a URL's host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// Parses an HTTP date, which the RFC 2822 parser accepts as an older form.
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.with_timezone(&Utc))
}

/// Maps a library error to a kind. The order matters: a deadline in the middle of a body also reports a decoding error.
fn classify(error: &reqwest::Error, in_body: bool) -> BrokerError {
    let transient = |kind| BrokerError::Transient { kind, status: None };
    // A timeout while connecting counts as no connection: nothing was sent.
    if error.is_timeout() {
        return transient(if error.is_connect() {
            TransientFailure::Connect
        } else {
            TransientFailure::Timeout
        });
    }
    if let Some(tls) = find_tls(error) {
        return BrokerError::Tls { what: tls_reason(tls) };
    }
    if error.is_connect() {
        let is_dns = chain(error).any(|cause| cause.to_string().starts_with("dns error"));
        return transient(if is_dns { TransientFailure::Dns } else { TransientFailure::Connect });
    }
    if chain(error).any(|cause| cause.to_string().contains("invalid HTTP")) {
        return BrokerError::Protocol { what: "not HTTP" };
    }
    transient(if in_body { TransientFailure::Truncated } else { TransientFailure::Reset })
}

/// The causes of an error, including the inner errors of I/O errors, which `source` skips.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

fn find_tls(error: &reqwest::Error) -> Option<&rustls::Error> {
    chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>())
}

fn tls_reason(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => "unknown issuer",
            Bad::Expired | Bad::ExpiredContext { .. } => "expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "not valid yet",
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "issued for another name",
            Bad::Revoked => "revoked",
            _ => "not a proper certificate",
        },
        rustls::Error::InvalidMessage(_) => "the peer does not speak TLS",
        _ => "the handshake failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&'static str, &str)], body: &str) -> BrokerAnswer {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        BrokerAnswer {
            status: 429,
            headers: headers.collect(),
            body: body.into(),
            received_at: "2026-03-06T12:00:00Z".parse().unwrap(),
        }
    }

    #[track_caller]
    fn waits(headers: &[(&'static str, &str)], body: &str, seconds: u64) {
        assert_eq!(answer(headers, body).wait().as_secs(), seconds, "{headers:?} {body}");
    }

    #[test]
    fn the_wait_is_read_where_the_broker_says_it_and_capped() {
        waits(&[("retry-after", "2")], "", 2);
        waits(&[("retry-after", "Fri, 06 Mar 2026 12:00:30 GMT")], "", 30);
        waits(&[("retry-after", "Fri, 06 Mar 2026 11:00:00 GMT")], "", 60);
        waits(&[("retry-after", "-5")], "", 60);
        waits(&[("retry-after", "soon")], "", 60);
        waits(&[("retry-after", "1000000000")], "", 86_400);
        waits(&[("retry-after", "99999999999999999999999")], "", 60);
        waits(&[("x-ratelimit-reset", "1772798417")], "", 17);
        waits(&[("retry-after", "soon"), ("x-ratelimit-reset", "1772798417")], "", 17);
        waits(&[("x-ratelimit-reset", "5")], "", 60);
        waits(&[], "Request was throttled. Expected available in 1154515 seconds.", 86_400);
        waits(&[], "Request was throttled. Expected available in 9 seconds.", 9);
        waits(&[], "", 60);
    }

    #[test]
    fn a_used_up_quota_is_noticed_on_a_good_answer() {
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1772798407")];
        assert_eq!(answer(&headers, "").meta().quota_wait, Some(Duration::from_secs(7)));
        let headers = [("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "1772798407")];
        assert_eq!(answer(&headers, "").meta().quota_wait, None);
    }

    #[test]
    fn the_date_header_shows_a_skewed_clock() {
        let meta = answer(&[("date", "Fri, 06 Mar 2026 12:05:00 GMT")], "").meta();
        assert_eq!(meta.skew.unwrap().num_seconds(), 300);
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        let allowed = |url: &str| BrokerHttp::new(&HttpSettings::new(url)).is_ok();
        for url in ["https://api.example.org", "http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9"] {
            assert!(allowed(url), "{url}");
        }
        for url in [
            "http://api.example.org",
            "http://127.0.0.1.example.org",
            "ftp://127.0.0.1",
            "https://user:pass@example.org",
            "https://example.org/?key=1",
            "example.org",
        ] {
            assert!(!allowed(url), "{url}");
        }
    }

    #[test]
    fn a_form_is_encoded() {
        let ask = BrokerRequest::new(Method::POST, "/").form(&[("a b", "c&d"), ("e", "ü")]);
        assert_eq!(ask.body.unwrap().1, b"a+b=c%26d&e=%C3%BC");
    }
}
