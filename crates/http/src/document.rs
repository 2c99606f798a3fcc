//! Answers: rendered ahead as [`RenderedDocument`]s, or made for one request.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use botops_core::error::{Code, Error};

/// Number of headers of an answer, those of the guard included; room for them is made at once.
const HEADERS: usize = 12;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A body that was rendered before any request, with its ETag. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct RenderedDocument {
    bytes: Bytes,
    etag: HeaderValue,
    content_type: HeaderValue,
}

impl RenderedDocument {
    /// Renders a value as JSON.
    ///
    /// # Errors
    /// [`Code::Internal`] when the value cannot be written as JSON, which is a defect.
    pub fn of_json<T: Serialize>(value: &T) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(value).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        Ok(Self::new(bytes, "application/json"))
    }

    /// Wraps a finished body and computes its ETag.
    pub fn new(bytes: impl Into<Bytes>, content_type: &'static str) -> Self {
        let bytes = bytes.into();
        // Only tells versions of one document apart. Rendering runs each second, so a fast hash is used.
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let etag = HeaderValue::from_str(&tag).expect("hex digits are a valid header value");
        Self { bytes, etag, content_type: HeaderValue::from_static(content_type) }
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The strong ETag, with its quotes.
    pub fn etag(&self) -> &str {
        self.etag.to_str().unwrap_or_default()
    }

    /// 200 with the body, or 304 when the client has it already. Only the client may cache it, for `max_age`.
    pub fn respond(&self, headers: &HeaderMap, max_age: Duration) -> Response {
        let known = is_known(headers, self.etag.as_bytes());
        let body = if known { Body::empty() } else { Body::from(self.bytes.clone()) };
        let mut response = Response::new(body);
        // Room for the headers that the guard adds: growing the map twice costs more than everything else here.
        *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
        let headers = response.headers_mut();
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        }
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, cache_control(max_age));
        response
    }
}

/// Whether the client has this version already: its `If-None-Match` names the tag, weakly or not, or is `*`.
pub fn is_known(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers.get(header::IF_NONE_MATCH).is_some_and(|tags| names(tags, etag))
}

/// 200 with a value rendered now, not to be cached: `Cache-Control: private, max-age=0`.
pub fn json<T: Serialize>(value: &T) -> Response {
    json_with_status(StatusCode::OK, value)
}

/// A value rendered now, with this status, not to be cached.
pub fn json_with_status<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut response = Response::new(Body::from(bytes));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
            response.headers_mut().insert(header::CACHE_CONTROL, cache_control(Duration::ZERO));
            response
        }
        Err(error) => Error::new(Code::Internal).caused_by(error).into_response(),
    }
}

/// Whether the `Accept` header names this media type itself (wildcards do not count).
pub fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let named = |part: &str| {
        let mut pieces = part.split(';').map(str::trim);
        let is_named = pieces.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        is_named && !pieces.any(|piece| matches!(piece, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    };
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(named))
}

fn cache_control(max_age: Duration) -> HeaderValue {
    /// One value for each age up to 60 s, the usual ones: formatting one costs more than the rest of an answer.
    static USUAL: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| (0..=60).map(written).collect());
    fn written(seconds: u64) -> HeaderValue {
        HeaderValue::from_str(&format!("private, max-age={seconds}"))
            .expect("digits are a valid header value")
    }
    let seconds = max_age.as_secs();
    let usual = usize::try_from(seconds).ok().and_then(|seconds| USUAL.get(seconds));
    usual.cloned().unwrap_or_else(|| written(seconds))
}

fn names(tags: &HeaderValue, etag: &[u8]) -> bool {
    tags.as_bytes().split(|byte| *byte == b',').any(|tag| {
        let tag = tag.trim_ascii();
        tag == etag || tag == b"*" || tag.strip_prefix(b"W/").is_some_and(|tag| tag == etag)
    })
}
