//! Which methods only read.

use axum::http::Method;

/// Whether a request with this method changes nothing. Asked wherever a read is treated otherwise than a change.
pub(crate) fn only_reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
