//! What a bot answers when it does not do what it was asked for.

use serde::{Deserialize, Serialize};

/// The code of an adapter whose bot cannot be reached.
pub const UPSTREAM_UNREACHABLE: &str = "upstream_unreachable";
/// The code of an adapter whose bot takes the connection and does not answer.
pub const UPSTREAM_HUNG: &str = "upstream_hung";
/// The code of an adapter whose bot is starting.
pub const UPSTREAM_STARTING: &str = "upstream_starting";
/// The code of an adapter that its bot does not let in.
pub const UPSTREAM_UNAUTHORIZED: &str = "upstream_unauthorized";

/// A refusal by the bot, on any call: HTTP status 4xx with this body says that nothing was done.
///
/// A bot that cannot promise that nothing was done answers with a status of 5xx, or with a code that leaves the effect
/// open: `no_answer`, `in_progress`, `internal`, any code that contains `timeout` or begins with `upstream_`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ContractRefusal {
    /// A stable reason: `not_capable`, `not_in_trial`, `older_generation`, `trial_live`, `base_mismatch`, …
    pub code: String,
    /// One sentence for people. botops treats it as untrusted text.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub message: String,
    /// What the reason is about, such as the hash that still runs.
    #[serde(
        default,
        deserialize_with = "crate::verbatim::exact_json",
        skip_serializing_if = "serde_json::Value::is_null"
    )]
    pub context: serde_json::Value,
}
