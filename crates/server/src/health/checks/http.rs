//! APIs: our own, one of ours with several endpoints, and somebody else's. Connections are fresh, redirects are not
//! followed, and of a body only a little is read and nothing kept.

use std::error::Error as _;
use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode, Url, header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Measure, Outcome, Reach, Sample, count};
use crate::health::certificate;
use crate::health::ssrf::Refused;
use crate::health::status::Limits;

/// As much of a body is read; a longer one is cut off with its connection.
const BODY: usize = 64 * 1024;

/// An API of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Where it is, such as `https://bot.example.com`.
    pub base_url: String,
    /// Paths that must answer; at most 20.
    #[serde(default = "root")]
    pub endpoints: Vec<String>,
}

fn root() -> Vec<String> {
    vec!["/".to_owned()]
}

/// An API of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalConfig {
    /// What to ask for.
    pub api_url: String,
    /// Statuses that count as good; any 2xx when empty.
    #[serde(default)]
    pub expected_status: Vec<u16>,
    /// Name of an environment variable (`BOT_CHECK_SECRET_*`) that holds the key. The key itself is never taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The header the key goes into.
    #[serde(default = "authorization")]
    pub api_key_header: String,
    /// What stands before the key in the header.
    #[serde(default = "bearer")]
    pub api_key_prefix: String,
}

fn authorization() -> String {
    "Authorization".to_owned()
}

fn bearer() -> String {
    "Bearer ".to_owned()
}

/// botops asks itself, over the network: what a client would see.
pub(super) async fn check_own(reach: &Reach) -> Sample {
    let Some(address) = reach.own_address.get() else {
        return Sample::failed(Outcome::Internal, "the API is not bound yet");
    };
    let urls: Vec<Url> = ["livez", "readyz", "llms.txt"]
        .into_iter()
        .filter_map(|path| format!("http://{address}/{path}").parse().ok())
        .collect();
    // `readyz` says 503 while the store cannot be written: that is the store's trouble, and an answer.
    endpoints(&reach.own_http, &urls, |status| status.is_success() || status.as_u16() == 503).await
}

pub(super) async fn check_api(config: &ApiConfig, reach: &Reach) -> Sample {
    let Ok(base) = config.base_url.parse::<Url>() else {
        return Sample::failed(Outcome::Internal, "the base URL is none");
    };
    let urls: Vec<Url> = config.endpoints.iter().filter_map(|path| base.join(path).ok()).collect();
    // An endpoint like `//elsewhere/` would leave the host.
    if urls.iter().any(|url| url.host_str() != base.host_str() || reach.guard.check_url(url).is_err()) {
        return Sample::failed(Outcome::Internal, "an endpoint may not be asked");
    }
    endpoints(&reach.http, &urls, |status| status.is_success()).await
}

async fn endpoints(client: &Client, urls: &[Url], is_good: impl Fn(StatusCode) -> bool) -> Sample {
    let (mut good, mut answered, mut total_ms) = (0, 0, 0.0);
    let mut failure: Option<Sample> = None;
    for url in urls {
        let started = Instant::now();
        match ask(client.get(url.clone())).await {
            Ok(answer) => {
                answered += 1;
                total_ms += started.elapsed().as_secs_f64() * 1000.0;
                if is_good(answer.status()) {
                    good += 1;
                } else {
                    let note = format!("an endpoint answers {}", answer.status().as_u16());
                    failure.get_or_insert_with(|| Sample::failed(Outcome::HttpStatus, note));
                }
                drain(answer).await;
            }
            Err(sample) => failure = Some(sample),
        }
    }
    let share = 100.0 * count(good) / count(urls.len().max(1));
    let mut measures = vec![
        Measure { name: "endpoint_availability", value: share, unit: "%", limits: Limits::below(90.0, 50.0) },
        Measure {
            name: "port_open",
            value: if answered > 0 { 1.0 } else { 0.0 },
            unit: "bool",
            limits: Limits::NONE,
        },
    ];
    if answered > 0 {
        let value = total_ms / count(answered);
        let limits = Limits::above(1_000.0, 5_000.0);
        measures.push(Measure { name: "avg_response_time", value, unit: "ms", limits });
    }
    match failure {
        Some(sample) if answered == 0 => Sample { measures, ..sample },
        // Some answer: the share of good ones decides, the note says what is wrong.
        Some(sample) => Sample { note: sample.note, ..Sample::ok(measures) },
        None => Sample::ok(measures),
    }
}

pub(super) async fn check_external(config: &ExternalConfig, reach: &Reach) -> Sample {
    let Some(url) = config.api_url.parse::<Url>().ok().filter(|url| reach.guard.check_url(url).is_ok())
    else {
        return Sample::failed(Outcome::Internal, "the URL may not be asked");
    };
    let mut request = reach.http.get(url);
    if let Some(name) = &config.api_key_env {
        let Some(key) = reach.secrets.get(name) else {
            return Sample::failed(Outcome::Internal, "the environment variable with the key is not set");
        };
        let value = format!("{}{}", config.api_key_prefix, key.expose_secret());
        let Ok(mut value) = header::HeaderValue::from_str(&value) else {
            return Sample::failed(Outcome::Internal, "the key cannot be sent as a header");
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
    let mut measures = vec![Measure {
        name: "response_time",
        value: took.as_secs_f64() * 1000.0,
        unit: "ms",
        limits: Limits::above(2_000.0, 10_000.0),
    }];
    let expires = answer.extensions().get::<reqwest::tls::TlsInfo>().and_then(|info| info.peer_certificate());
    if let Some(days) = expires.and_then(certificate::days_left) {
        measures.push(Measure {
            name: "tls_expires_in",
            value: days,
            unit: "days",
            limits: Limits::below(14.0, 3.0),
        });
    }
    if let Some(used) = rate_limit_used(answer.headers()) {
        measures.push(Measure {
            name: "rate_limit_usage",
            value: used,
            unit: "%",
            limits: Limits::above(80.0, 95.0),
        });
    }
    let retry_after = retry_after(answer.headers());
    drain(answer).await;
    let expected = match config.expected_status.as_slice() {
        [] => status.is_success(),
        listed => listed.contains(&status.as_u16()),
    };
    let code = status.as_u16();
    let sample = match code {
        _ if expected => Sample::ok(Vec::new()),
        401 | 403 => Sample::failed(Outcome::Auth, format!("it refuses the credentials ({code})")),
        429 => Sample::failed(Outcome::RateLimited, "it asks to wait (429)"),
        _ => Sample::failed(Outcome::HttpStatus, format!("it answers {code}")),
    };
    Sample { measures, latency: Some(took), retry_after, ..sample }
}

async fn ask(request: reqwest::RequestBuilder) -> Result<Response, Sample> {
    request.send().await.map_err(|error| failure(&error))
}

/// Reads a little, so that a small answer ends cleanly; a large one is cut off.
async fn drain(mut answer: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read > BODY {
            return;
        }
    }
}

fn failure(error: &reqwest::Error) -> Sample {
    if error.is_timeout() {
        return Sample::failed(Outcome::Timeout, "it does not answer in time");
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if inner.is::<Refused>() {
            return Sample::failed(Outcome::Dns, "its name resolves to an address that may not be reached");
        }
        if inner.is::<rustls::Error>() {
            return Sample::failed(
                Outcome::Tls,
                "its certificate cannot be trusted, or the handshake failed",
            );
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                return Sample::failed(
                    Outcome::Tls,
                    "its certificate cannot be trusted, or the handshake failed",
                );
            }
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused => {
                    return Sample::failed(Outcome::Refused, "nothing listens there");
                }
                std::io::ErrorKind::TimedOut => {
                    return Sample::failed(Outcome::Timeout, "it does not answer in time");
                }
                _ => {}
            }
        }
        if inner.to_string() == "dns error" {
            let refused = inner.source().is_some_and(|source| source.is::<Refused>());
            let note = if refused {
                "its name resolves to an address that may not be reached"
            } else {
                "its name does not resolve"
            };
            return Sample::failed(Outcome::Dns, note);
        }
        cause = inner.source();
    }
    if error.is_connect() {
        return Sample::failed(Outcome::Unreachable, "it cannot be reached");
    }
    Sample::failed(Outcome::Protocol, "its answer is no HTTP, or broke off")
}

fn number(headers: &header::HeaderMap, names: &[&str]) -> Option<f64> {
    let text = names.iter().find_map(|name| headers.get(*name))?.to_str().ok()?;
    let first = text.split([',', ';']).next()?.trim();
    first.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// How much of the quota is used, in per cent.
fn rate_limit_used(headers: &header::HeaderMap) -> Option<f64> {
    let limit = number(headers, &["x-ratelimit-limit", "ratelimit-limit", "x-rate-limit-limit"])?;
    let left = number(headers, &["x-ratelimit-remaining", "ratelimit-remaining", "x-rate-limit-remaining"])?;
    (limit > 0.0).then(|| (100.0 * (limit - left) / limit).clamp(0.0, 100.0))
}

fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = number(headers, &["retry-after"])?;
    Some(Duration::from_secs_f64(seconds.clamp(0.0, 3_600.0)))
}
