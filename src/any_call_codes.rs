//! What the guard and the extractors refuse any call with, before its handler runs.

use botops_core::error::Code;

/// Codes that any request can fail with.
pub(crate) const ANY_REQUEST: &[Code] = &[Code::NotAcceptable, Code::Internal, Code::DeadlineExceeded];

/// Codes that any request that needs a key can fail with.
pub(crate) const ANY_KEY: &[Code] = &[
    Code::AuthKeyInvalid,
    Code::AuthKeyExpired,
    Code::AuthScopeMissing,
    Code::AuthThrottled,
    Code::RateLimited,
    Code::ArgumentInvalid,
];

/// Codes that any request with arguments can fail with.
pub(crate) const ANY_ARGUMENT: &[Code] = &[Code::JsonInvalid, Code::ArgumentInvalid];

/// Codes that any request with a body can fail with.
pub(crate) const ANY_BODY: &[Code] = &[Code::RequestTimeout, Code::BodyTooLarge, Code::MediaTypeUnknown];

/// Codes that any change can fail with because of its idempotency key.
pub(crate) const ANY_CHANGE: &[Code] = &[Code::IdempotencyMismatch, Code::StoreUnavailable];

/// Whether any call may fail with this code, so that it says nothing about one call.
pub(crate) fn is_code_of_any_call(code: Code) -> bool {
    [ANY_REQUEST, ANY_KEY, ANY_ARGUMENT, ANY_BODY, ANY_CHANGE].iter().any(|set| set.contains(&code))
}
