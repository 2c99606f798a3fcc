//! The catalogue: one row per code, grouped by area. A code is never reused and never changes its meaning.
//!
//! A new row is worth it when a reader would act differently; otherwise a new `detail` will do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Effect, NextAction, RetryClass, Severity};

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Kind {
    /// About orders, positions, the bot's own rules.
    TradingError,
    /// The request is wrong.
    ValidationError,
    /// A peer does not answer as it should.
    NetworkError,
    /// Who asks, or what the key may do.
    AuthenticationError,
    /// botops itself.
    ServerError,
}

/// A call that helps, as the catalogue names it: operation, method, path, scope (`""` for open paths).
pub(super) type Next = (&'static str, &'static str, &'static str, &'static str);

/// All there is to know about a code.
#[derive(Debug)]
pub struct Row {
    /// The code as text.
    pub code: &'static str,
    /// The HTTP status it travels with.
    pub status: u16,
    /// The class of failure.
    pub kind: Kind,
    /// How much attention it wants.
    pub severity: Severity,
    /// How to go on.
    pub class: RetryClass,
    /// Milliseconds to wait first, where that is always the same.
    pub after_ms: Option<u64>,
    /// What the failed call did, unless the spot knows better.
    pub effect: Effect,
    /// What it means, in a few words.
    pub title: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// What it means for the caller.
    pub impact: &'static str,
    /// What to do next.
    pub remediation: &'static str,
    next: &'static [Next],
}

impl Row {
    /// The calls that help, best first.
    pub fn next_actions(&self) -> Vec<NextAction> {
        let action = |(operation, method, path, scope): &Next| NextAction {
            operation: (*operation).to_owned(),
            method: (*method).to_owned(),
            path: (*path).to_owned(),
            body: None,
            scope: (!scope.is_empty()).then(|| (*scope).to_owned()),
        };
        self.next.iter().map(action).collect()
    }
}

macro_rules! catalogue {
    ($(
        $name:ident = $code:literal, $status:literal, $kind:ident, $severity:ident, $class:ident,
        $(after_ms: $after:literal,)? $(effect: $effect:ident,)?
        $title:literal,
        $cause:literal,
        $impact:literal,
        $remediation:literal
        $(, next: [$($next:expr),* $(,)?])?;
    )*) => {
        /// A code of the catalogue. The variant's row says everything about it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What the catalogue says about this code.
            pub fn row(self) -> &'static Row {
                match self {
                    $(Self::$name => {
                        const ROW: Row = Row {
                            code: $code,
                            status: $status,
                            kind: Kind::$kind,
                            severity: Severity::$severity,
                            class: RetryClass::$class,
                            after_ms: catalogue!(@after $($after)?),
                            effect: catalogue!(@effect $($effect)?),
                            title: $title,
                            cause: $cause,
                            impact: $impact,
                            remediation: $remediation,
                            next: &[$($($next),*)?],
                        };
                        &ROW
                    })*
                }
            }
        }
    };
    (@after) => { None };
    (@after $after:literal) => { Some($after) };
    (@effect) => { Effect::None };
    (@effect $effect:ident) => { Effect::$effect };
}

const SUMMARY: Next = ("get_summary", "GET", "/api/v1/summary", "read");
const WHOAMI: Next = ("get_whoami", "GET", "/api/v1/whoami", "read");
const OPENAPI: Next = ("get_openapi", "GET", "/api/openapi.json", "");
const READYZ: Next = ("readyz", "GET", "/readyz", "");
const LIVEZ: Next = ("livez", "GET", "/livez", "");
const EVENTS: Next = ("list_events", "GET", "/api/v1/events", "read");

catalogue! {
    // AUTH: who asks, and what the key may do.
    AuthKeyInvalid = "AUTH_001", 401, AuthenticationError, Medium, AskHuman,
        "missing or wrong API key",
        "the request carries no API key, or one that botops does not know",
        "the request was not looked at",
        "Send the key as `X-API-Key: <key>` or `Authorization: Bearer <key>`. An operator finds it in \
         BOT_API_AUTH_TOKEN or makes one with `botops key new`.",
        next: [OPENAPI];
    AuthKeyExpired = "AUTH_002", 401, AuthenticationError, Medium, AskHuman,
        "the API key has expired",
        "the key is known, but its time is over",
        "the request was not looked at",
        "Ask an operator for a new key (`botops key new`) in the keys file.",
        next: [OPENAPI];
    AuthScopeMissing = "AUTH_003", 403, AuthenticationError, Medium, AskHuman,
        "the key lacks a scope",
        "the key is good, but may not do this",
        "nothing was done",
        "Use a key with the scope named in `context.scope`, or ask an operator to add it. `GET whoami` lists what \
         this key may do.",
        next: [WHOAMI];
    AuthThrottled = "AUTH_004", 429, AuthenticationError, High, Wait, after_ms: 60000,
        "too many wrong keys from this address",
        "this address sent wrong keys again and again",
        "requests from this address are refused for a while, with a right key too",
        "Wait as long as `Retry-After` says, then send one request with the right key.",
        next: [LIVEZ];
    AuthTicketInvalid = "AUTH_005", 401, AuthenticationError, Low, Refetch,
        "the stream ticket does not hold",
        "a ticket works once and for 30 seconds",
        "the stream was not opened",
        "Ask for a new ticket with `POST stream/ticket` and connect at once.",
        next: [("create_stream_ticket", "POST", "/api/v1/stream/ticket", "read")];

    // API: the request itself.
    PathUnknown = "API_001", 404, ValidationError, Low, FixArgs,
        "no such path",
        "nothing is served under this path",
        "nothing was done",
        "Look the path up in the API document.",
        next: [OPENAPI];
    MethodUnknown = "API_002", 405, ValidationError, Low, FixArgs,
        "the path does not take this method",
        "the path exists, with other methods; the `Allow` header lists them",
        "nothing was done",
        "Use one of the methods in `Allow`.",
        next: [OPENAPI];
    NotAcceptable = "API_003", 406, ValidationError, Low, FixArgs,
        "no such representation",
        "the `Accept` header asks for a form that this path does not have",
        "nothing was done",
        "Ask for `application/json`, or leave `Accept` out; `context.available` lists the forms.",
        next: [OPENAPI];
    BodyTooLarge = "API_004", 413, ValidationError, Low, FixArgs,
        "the body is too large",
        "a request body may have 256 KiB",
        "nothing was done",
        "Send less: a merge patch instead of a whole document, or fewer items.",
        next: [OPENAPI];
    MediaTypeUnknown = "API_005", 415, ValidationError, Low, FixArgs,
        "the body's media type is not understood",
        "bodies are JSON and say so",
        "nothing was done",
        "Send `Content-Type: application/json`.",
        next: [OPENAPI];
    JsonInvalid = "API_006", 400, ValidationError, Low, FixArgs,
        "the body is not the JSON this call takes",
        "the body could not be read as the expected JSON",
        "nothing was done",
        "Correct what `errors` names and send it again.",
        next: [OPENAPI];
    ArgumentInvalid = "API_007", 400, ValidationError, Low, FixArgs,
        "an argument is wrong",
        "a query parameter, path segment or header has a value this call does not take",
        "nothing was done",
        "Correct what `errors` names and send it again.",
        next: [OPENAPI];
    RequestTimeout = "API_008", 408, NetworkError, Low, Wait, after_ms: 1000,
        "the request took too long to arrive",
        "the request's head or body did not arrive in time",
        "nothing was done",
        "Send it again, whole.",
        next: [LIVEZ];
    RateLimited = "API_009", 429, ValidationError, Low, Wait,
        "too many requests",
        "this key used up its requests for now",
        "nothing was done; other keys are not affected",
        "Wait as long as `Retry-After` says. Use `GET events?wait=` or the stream instead of polling.",
        next: [SUMMARY];
    FieldUnknown = "API_010", 400, ValidationError, Low, FixArgs,
        "no such field",
        "`fields` names a field that the answer does not have",
        "nothing was done",
        "Use names from `context.allowed`.",
        next: [("get_state", "GET", "/api/v1/state", "read")];
    IdempotencyMismatch = "API_011", 422, ValidationError, Medium, FixArgs,
        "the idempotency key was used for another request",
        "this key came before with a different body",
        "nothing was done now; the first request stands",
        "Use a new `Idempotency-Key` for a new request, or repeat the first one exactly.",
        next: [EVENTS];
    IdempotencyBusy = "API_012", 409, ValidationError, Low, Wait, after_ms: 1000,
        "the first request with this idempotency key still runs",
        "a request with the same `Idempotency-Key` has not finished",
        "nothing was done twice",
        "Send the same request again after the wait: it returns the first one's answer.",
        next: [EVENTS];
    CursorExpired = "API_013", 410, ValidationError, Low, Refetch,
        "the cursor is too old",
        "the journal no longer holds what followed this cursor",
        "events between the cursor and `context.oldest` cannot be replayed",
        "Read the state anew, then go on from `context.latest`.",
        next: [("get_state", "GET", "/api/v1/state", "read")];
    StreamFull = "API_014", 503, ServerError, Medium, Wait, after_ms: 5000,
        "no room for another stream client",
        "the number of stream clients has reached BOT_STREAM_MAX_CLIENTS",
        "the stream was not opened; polling works",
        "Close a stream, or poll `GET summary` and `GET events?wait=` instead.",
        next: [SUMMARY];
    UpgradeRequired = "API_015", 426, ValidationError, Low, FixArgs,
        "this path speaks WebSocket",
        "the request did not ask for an upgrade to WebSocket",
        "nothing was done",
        "Connect with a WebSocket client, or poll `GET summary` and `GET events?wait=`.",
        next: [SUMMARY];
    ErrorCodeUnknown = "API_016", 404, ValidationError, Low, FixArgs,
        "no such error code",
        "the catalogue has no row with this code",
        "nothing was done",
        "List the catalogue.",
        next: [("list_error_codes", "GET", "/api/v1/errors/catalogue", "")];
    StreamTooSlow = "API_017", 503, NetworkError, Low, Refetch,
        "the stream client does not keep up",
        "events piled up faster than the client read them",
        "the stream was closed; no event is lost, the journal has them",
        "Connect again with `?after=<last seq>` and read faster.",
        next: [EVENTS];
    LineTooLong = "API_018", 414, ValidationError, Low, FixArgs,
        "the request line or its headers are too long",
        "a request line and its headers may have 64 KiB together",
        "nothing was done",
        "Send a shorter path or fewer headers; put long arguments into a body.",
        next: [OPENAPI];

    // BOT: the bot and the way to it.
    BotOffline = "BOT_001", 503, NetworkError, High, Wait, after_ms: 2000,
        "the bot does not answer on its socket",
        "the bot is not running, or its socket is not reachable",
        "the command was not delivered; reads go on from the last known state",
        "Look at `presence` in the summary for the reason. Start the bot, or run the workflow `restart-bot`.",
        next: [SUMMARY];
    BotTimeout = "BOT_002", 504, NetworkError, High, Refetch, effect: Unknown,
        "the bot did not answer in time",
        "the request was delivered, the answer did not come",
        "it may or may not have been carried out",
        "Read the state to see what happened, or send the same command again with the same id: it acts once.",
        next: [("get_state", "GET", "/api/v1/state", "read")];
    BotRefused = "BOT_003", 409, TradingError, Medium, Refetch,
        "the bot refused",
        "the bot understood the command and said no",
        "nothing changed in the bot",
        "`context.reason_code` says why. Read the state, then decide again.",
        next: [("get_state", "GET", "/api/v1/state", "read")];
    BotNotCapable = "BOT_004", 409, ValidationError, Low, Never,
        "the bot cannot do this",
        "the bot does not list this among its capabilities",
        "nothing was done",
        "Use what `whoami` lists under the bot's capabilities.",
        next: [WHOAMI];
    BotAnswerInvalid = "BOT_005", 502, NetworkError, High, Refetch, effect: Unknown,
        "the bot's answer makes no sense",
        "the bot answered something that is not the contract",
        "a command may have been carried out; reads go on from the last known state",
        "Check that the socket belongs to the right bot and version.",
        next: [SUMMARY];

    // SRV: botops itself.
    Internal = "SRV_001", 500, ServerError, Critical, Refetch, effect: Unknown,
        "botops failed",
        "a defect in botops; the log has it under the request id",
        "this request failed; others are not affected, nor is the bot",
        "Read the state before repeating a change. Report the request id if it happens again.",
        next: [LIVEZ];
    StoreUnavailable = "SRV_002", 503, ServerError, Critical, AskHuman,
        "the data folder cannot be written",
        "the disk is full, read-only or failing",
        "reads go on; changes are refused, since they could not be recorded",
        "Free space in or repair BOT_DATA_DIR; botops goes on by itself.",
        next: [READYZ];
    Stopping = "SRV_003", 503, ServerError, Low, Wait, after_ms: 5000,
        "botops is stopping",
        "the process was told to stop and takes no new work",
        "nothing was done",
        "Try again when it is back.",
        next: [READYZ];
    DeadlineExceeded = "SRV_004", 504, ServerError, Medium, Refetch, effect: Unknown,
        "the request took longer than it may",
        "the work did not finish inside the request's 30 seconds",
        "a change may have been made",
        "Read the state before repeating.",
        next: [SUMMARY];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            let row = code.row();
            assert!(seen.insert(row.code), "{} stands twice", row.code);
            let (area, number) = row.code.split_once('_').unwrap();
            assert!(
                ["AUTH", "API", "BOT", "BRK", "CFG", "HLT", "SRV", "WFL"].contains(&area),
                "{}",
                row.code
            );
            assert!(number.len() == 3 && number.chars().all(|c| c.is_ascii_digit()), "{}", row.code);
            assert!(!row.next.is_empty(), "{} says no next call", row.code);
            assert!(row.remediation.ends_with('.'), "{}", row.code);
        }
    }
}
