//! HTTP checks: botops' own API, an API of ours with several endpoints, and an external API.
//!
//! Connections are new for each check, redirects are not followed, and a body is read only up to a limit and never
//! kept.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Instant;

use reqwest::{Client, Response, StatusCode, Url, header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::address_guard::RefusedAddress;
use super::certificate::certificate_days_left;
use super::metric_limits::{
    CheckMeasure, ENDPOINT_AVAILABILITY, ENDPOINT_RESPONSE_TIME, EXTERNAL_RESPONSE_TIME, RATE_LIMIT_USAGE,
    TLS_EXPIRES_IN,
};
use super::retry_after::NextRequest;
use super::review::CheckerReview;
use super::sample::{CheckOutcome, CheckSample, count};
use super::targets::CheckTargets;

/// Bytes of a body that are read; a longer one is cut off by closing the connection.
const BODY: usize = 64 * 1024;

/// An API of ours: several endpoints under one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiConfig {
    /// The address of the API, such as `https://bot.example.com`.
    pub(crate) base_url: String,
    /// Paths below it that must answer; at most 20.
    #[serde(default = "root")]
    pub(crate) endpoints: Vec<String>,
}

fn root() -> Vec<String> {
    vec!["/".to_owned()]
}

/// An API of another party, such as a market data service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExternalConfig {
    /// The URL to request.
    pub(crate) api_url: String,
    /// HTTP statuses that count as good; any 2xx when empty.
    #[serde(default)]
    pub(crate) expected_status: Vec<u16>,
    /// Name of an environment variable (`BOT_CHECK_SECRET_*`) that holds the key. The key itself is never taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_env: Option<String>,
    /// The header the key goes into.
    #[serde(default = "authorization")]
    pub(crate) api_key_header: String,
    /// What precedes the key in the header, such as `Bearer `; may be empty.
    #[serde(default = "bearer")]
    pub(crate) api_key_prefix: String,
}

fn authorization() -> String {
    "Authorization".to_owned()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

impl ApiConfig {
    /// Checks that the address and the paths below it may be requested.
    pub(crate) fn review(&self, review: &mut CheckerReview<'_>) {
        review.review_url("/config/base_url", &self.base_url);
        if self.endpoints.is_empty() || self.endpoints.len() > 20 {
            review.defects.wrong("/config/endpoints", self.endpoints.len(), "1 to 20 paths");
        }
        for (index, path) in self.endpoints.iter().enumerate() {
            let is_path = path.starts_with('/') && !path.starts_with("//") && !path.starts_with("/\\");
            if !is_path || path.len() > 500 {
                let got = botops_core::text::clean(path, 80);
                let pointer = format!("/config/endpoints/{index}");
                review.defects.wrong(pointer, got, "a path that begins with one /");
            }
        }
    }
}

impl ExternalConfig {
    /// Checks that the URL may be requested, that the key is set, and that a key is sent only over TLS or to this
    /// machine.
    pub(crate) fn review(&self, review: &mut CheckerReview<'_>) {
        review.review_url("/config/api_url", &self.api_url);
        if let Some(name) = &self.api_key_env {
            review.review_secret("/config/api_key_env", name);
            let is_open = self.api_url.starts_with("http://");
            let is_local = ["http://127.", "http://localhost", "http://[::1]"]
                .iter()
                .any(|start| self.api_url.starts_with(start));
            if is_open && !is_local {
                review.defects.wrong("/config/api_url", "http", "https, since a key is sent");
            }
        }
        let is_header = header::HeaderName::from_bytes(self.api_key_header.as_bytes()).is_ok();
        if !is_header {
            let got = botops_core::text::clean(&self.api_key_header, 60);
            review.defects.wrong("/config/api_key_header", got, "the name of a header");
        }
        let is_prefix = self.api_key_prefix.chars().all(|c| c == ' ' || c.is_ascii_graphic());
        if self.api_key_prefix.len() > 40 || !is_prefix {
            review.defects.wrong("/config/api_key_prefix", "", "at most 40 visible ASCII characters");
        }
        if self.expected_status.iter().any(|status| !(100..600).contains(status)) {
            let got = serde_json::json!(self.expected_status);
            review.defects.wrong("/config/expected_status", got, "HTTP statuses");
        }
    }
}

/// botops requests its own API over the network, as a client would.
pub(crate) async fn check_own_api(targets: Arc<CheckTargets>) -> CheckSample {
    let Some(address) = targets.own_address.get() else {
        return CheckSample::failed(CheckOutcome::Internal, "the API is not bound yet");
    };
    let urls: Vec<Url> = ["livez", "readyz", "llms.txt"]
        .into_iter()
        .filter_map(|path| format!("http://{address}/{path}").parse().ok())
        .collect();
    // `readyz` answers 503 while the store cannot be written; that is the store's failure, and the API works.
    endpoints(&targets.own_http, &urls, |status| status.is_success() || status.as_u16() == 503).await
}

pub(crate) async fn check_api(config: ApiConfig, targets: Arc<CheckTargets>) -> CheckSample {
    let Ok(base) = config.base_url.parse::<Url>() else {
        return CheckSample::failed(CheckOutcome::Internal, "the base URL is none");
    };
    let urls: Vec<Url> = config.endpoints.iter().filter_map(|path| base.join(path).ok()).collect();
    // An endpoint such as `//elsewhere/` would change the host.
    if urls.iter().any(|url| url.host_str() != base.host_str() || targets.guard.check_url(url).is_err()) {
        return CheckSample::failed(CheckOutcome::Internal, "an endpoint may not be asked");
    }
    endpoints(&targets.http, &urls, |status| status.is_success()).await
}

async fn endpoints(client: &Client, urls: &[Url], is_good: impl Fn(StatusCode) -> bool) -> CheckSample {
    let (mut good, mut answered, mut total_ms) = (0, 0, 0.0);
    let mut failure: Option<CheckSample> = None;
    // One endpoint that asks to wait holds back the check as a whole.
    let mut next_request = NextRequest::AsUsual;
    for url in urls {
        let started = Instant::now();
        match ask(client.get(url.clone())).await {
            Ok(answer) => {
                answered += 1;
                total_ms += started.elapsed().as_secs_f64() * 1000.0;
                if is_good(answer.status()) {
                    good += 1;
                } else {
                    next_request = next_request.max(NextRequest::of(answer.status(), answer.headers()));
                    let note = format!("an endpoint answers {}", answer.status().as_u16());
                    failure.get_or_insert_with(|| CheckSample::failed(CheckOutcome::HttpStatus, note));
                }
                drain(answer).await;
            }
            Err(sample) => failure = Some(sample),
        }
    }
    let share = 100.0 * count(good) / count(urls.len().max(1));
    let is_open = if answered > 0 { 1.0 } else { 0.0 };
    let mut measures = vec![
        ENDPOINT_AVAILABILITY.measure(share),
        CheckMeasure::without_limits("port_open", is_open, "bool"),
    ];
    if answered > 0 {
        measures.push(ENDPOINT_RESPONSE_TIME.measure(total_ms / count(answered)));
    }
    let sample = match failure {
        Some(sample) if answered == 0 => CheckSample { measures, ..sample },
        // At least one endpoint answered: the share of good answers decides, and the note names what failed.
        Some(sample) => CheckSample { note: sample.note, ..CheckSample::ok(measures) },
        None => CheckSample::ok(measures),
    };
    CheckSample { next_request, ..sample }
}

pub(crate) async fn check_external(config: ExternalConfig, targets: Arc<CheckTargets>) -> CheckSample {
    let Some(url) = config.api_url.parse::<Url>().ok().filter(|url| targets.guard.check_url(url).is_ok())
    else {
        return CheckSample::failed(CheckOutcome::Internal, "the URL may not be asked");
    };
    let mut request = targets.http.get(url);
    if let Some(name) = &config.api_key_env {
        let Some(key) = targets.secrets.get(name) else {
            return CheckSample::failed(
                CheckOutcome::Internal,
                "the environment variable with the key is not set",
            );
        };
        let value = format!("{}{}", config.api_key_prefix, key.expose_secret());
        let Ok(mut value) = header::HeaderValue::from_str(&value) else {
            return CheckSample::failed(CheckOutcome::Internal, "the key cannot be sent as a header");
        };
        value.set_sensitive(true);
        request = request.header(config.api_key_header.as_str(), value);
    }
    let started = Instant::now();
    let answer = match ask(request).await {
        Ok(answer) => answer,
        Err(sample) => return sample,
    };
    let took = started.elapsed();
    let status = answer.status();
    let mut measures = vec![EXTERNAL_RESPONSE_TIME.measure(took.as_secs_f64() * 1000.0)];
    let expires = answer.extensions().get::<reqwest::tls::TlsInfo>().and_then(|info| info.peer_certificate());
    measures.extend(expires.and_then(certificate_days_left).map(|days| TLS_EXPIRES_IN.measure(days)));
    measures.extend(rate_limit_used(answer.headers()).map(|used| RATE_LIMIT_USAGE.measure(used)));
    let expected = match config.expected_status.as_slice() {
        [] => status.is_success(),
        listed => listed.contains(&status.as_u16()),
    };
    let next_request = match NextRequest::of(status, answer.headers()) {
        // A status that counts as good limits nothing by itself.
        NextRequest::BackOff if expected => NextRequest::AsUsual,
        next => next,
    };
    drain(answer).await;
    let code = status.as_u16();
    let sample = match code {
        _ if expected => CheckSample::ok(Vec::new()),
        401 | 403 => CheckSample::failed(CheckOutcome::Auth, format!("it refuses the credentials ({code})")),
        429 => CheckSample::failed(CheckOutcome::RateLimited, "it asks to wait (429)"),
        _ => CheckSample::failed(CheckOutcome::HttpStatus, format!("it answers {code}")),
    };
    CheckSample { measures, latency: Some(took), next_request, ..sample }
}

async fn ask(request: reqwest::RequestBuilder) -> Result<Response, CheckSample> {
    request.send().await.map_err(|error| failure(&error))
}

/// Reads a small body to its end, so that the connection closes cleanly; a large one is cut off.
async fn drain(mut answer: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read > BODY {
            return;
        }
    }
}

fn failure(error: &reqwest::Error) -> CheckSample {
    if error.is_timeout() {
        return CheckSample::failed(CheckOutcome::Timeout, "it does not answer in time");
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if inner.is::<RefusedAddress>() {
            return CheckSample::failed(
                CheckOutcome::Dns,
                "its name resolves to an address that may not be reached",
            );
        }
        if inner.is::<rustls::Error>() {
            return CheckSample::failed(
                CheckOutcome::Tls,
                "its certificate cannot be trusted, or the handshake failed",
            );
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                return CheckSample::failed(
                    CheckOutcome::Tls,
                    "its certificate cannot be trusted, or the handshake failed",
                );
            }
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused => {
                    return CheckSample::failed(CheckOutcome::Refused, "nothing listens there");
                }
                std::io::ErrorKind::TimedOut => {
                    return CheckSample::failed(CheckOutcome::Timeout, "it does not answer in time");
                }
                _ => {}
            }
        }
        if inner.to_string() == "dns error" {
            let refused = inner.source().is_some_and(|source| source.is::<RefusedAddress>());
            let note = if refused {
                "its name resolves to an address that may not be reached"
            } else {
                "its name does not resolve"
            };
            return CheckSample::failed(CheckOutcome::Dns, note);
        }
        cause = inner.source();
    }
    if error.is_connect() {
        return CheckSample::failed(CheckOutcome::Unreachable, "it cannot be reached");
    }
    CheckSample::failed(CheckOutcome::Protocol, "its answer is no HTTP, or broke off")
}

fn number(headers: &header::HeaderMap, names: &[&str]) -> Option<f64> {
    let text = names.iter().find_map(|name| headers.get(*name))?.to_str().ok()?;
    let first = text.split([',', ';']).next()?.trim();
    first.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// The share of the rate limit that is used, in per cent, from the answer's headers.
fn rate_limit_used(headers: &header::HeaderMap) -> Option<f64> {
    let limit = number(headers, &["x-ratelimit-limit", "ratelimit-limit", "x-rate-limit-limit"])?;
    let left = number(headers, &["x-ratelimit-remaining", "ratelimit-remaining", "x-rate-limit-remaining"])?;
    (limit > 0.0).then(|| (100.0 * (limit - left) / limit).clamp(0.0, 100.0))
}
