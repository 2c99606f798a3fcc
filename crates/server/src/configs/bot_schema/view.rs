//! What `GET config` says of the schema.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::configs::document::SchemaFault;

/// The schema that the bot brought, by which its config is checked and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BotSchemaView {
    /// SHA-256 of the schema as the bot sent it, lower-case hex; `null` while there is none that can be used.
    pub sha256: Option<String>,
    /// When the bot first gave it (UTC); `null` while there is none.
    pub read_at: Option<DateTime<Utc>>,
    /// The version of the bot that first gave it.
    pub bot_version: Option<String>,
    /// True when it took the place of another one: `GET config/versions` says which versions no longer fit.
    pub changed: bool,
    /// The hash of the schema before it; `null` when there was none.
    pub replaced: Option<String>,
    /// Why what the bot gives at present cannot be used: changes are refused until it is put right. `null` when
    /// nothing is wrong.
    pub fault: Option<SchemaFaultView>,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SchemaFaultView {
    /// JSON pointer into the schema; empty for the whole of it.
    pub pointer: String,
    /// What is wrong there.
    pub what: String,
    /// What the author of the bot can do.
    pub remedy: String,
}

impl SchemaFaultView {
    pub(super) fn of(fault: &SchemaFault) -> Self {
        let SchemaFault { pointer, what, remedy } = fault.clone();
        Self { pointer, what, remedy }
    }
}
