//! What a text can name right now.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// What can be named right now: read from the running system before the text is understood.
#[derive(Debug, Clone, Default)]
pub(super) struct AskContext {
    /// Ids of the workflows.
    pub(super) workflows: Vec<String>,
    /// The names of each workflow's parameters.
    pub(super) parameters: Vec<(String, Vec<String>)>,
    /// Ids of the health components.
    pub(super) components: Vec<String>,
    /// Every leaf of the config: dotted path and value.
    pub(super) config: Vec<(String, Value)>,
    /// The config's validator, for `If-Match`.
    pub(super) etag: Option<String>,
    /// The clock, for what lasts until some time.
    pub(super) now: DateTime<Utc>,
    /// The live config transaction.
    pub(super) trial: Option<String>,
    /// Symbols the bot holds or orders.
    pub(super) symbols: Vec<String>,
    /// The workflow run in progress.
    pub(super) running: Option<String>,
}
