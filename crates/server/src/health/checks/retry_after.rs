//! When a target may be asked again: what its answer says about the next request.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// What an answer says about the next request. The order of the variants is the order of restraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NextRequest {
    /// Nothing: the component's own interval counts.
    AsUsual,
    /// The target limits requests (429, 503) without saying for how long.
    BackOff,
    /// The target asks to be left alone for this long; never zero.
    NotBefore(Duration),
}

impl NextRequest {
    /// Reads it from the head of an answer. A `Retry-After` that cannot be read, is zero or lies in the past says
    /// nothing.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let limits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        match asked_wait(headers, Utc::now()) {
            Some(wait) => Self::NotBefore(wait),
            None if limits => Self::BackOff,
            None => Self::AsUsual,
        }
    }
}

/// How long `Retry-After` asks to wait, in seconds or until a date.
///
/// A date is counted from the answer's own `Date`, where it has one: a clock that differs from ours changes nothing.
fn asked_wait(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = header_text(headers, RETRY_AFTER)?;
    let wait = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => {
            let begins = header_text(headers, DATE).and_then(parse_http_date).unwrap_or(now);
            (parse_http_date(text)? - begins).to_std().ok()?
        }
    };
    (!wait.is_zero()).then_some(wait)
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Parses a date in the three forms that HTTP knows (RFC 9110, section 5.6.7).
fn parse_http_date(text: &str) -> Option<DateTime<Utc>> {
    const FORMS: [&str; 3] =
        ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|at| at.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, retry_after: Option<&str>, date: Option<&str>, expected: NextRequest) {
        let mut headers = HeaderMap::new();
        for (name, value) in [(RETRY_AFTER, retry_after), (DATE, date)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(NextRequest::of(status, &headers), expected, "{retry_after:?} {date:?}");
    }

    #[test]
    fn seconds_and_every_form_of_a_date_are_read() {
        let seconds = |seconds| NextRequest::NotBefore(Duration::from_secs(seconds));
        check(429, Some("120"), None, seconds(120));
        check(503, Some(" 5400 "), None, seconds(5_400));
        let now = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        check(429, Some("Sun, 06 Nov 1994 08:51:37 GMT"), now, seconds(120));
        check(503, Some("Sunday, 06-Nov-94 08:50:37 GMT"), now, seconds(60));
        check(503, Some("Sun Nov  6 08:49:47 1994"), now, seconds(10));
        check(200, Some("60"), None, seconds(60));
    }

    #[test]
    fn what_says_no_time_is_no_time() {
        for nothing in [None, Some("0"), Some("-5"), Some("soon"), Some("NaN"), Some("inf")] {
            check(429, nothing, None, NextRequest::BackOff);
            check(503, nothing, None, NextRequest::BackOff);
            check(500, nothing, None, NextRequest::AsUsual);
        }
        check(503, Some("Sun, 06 Nov 1994 08:49:37 GMT"), None, NextRequest::BackOff);
    }
}
