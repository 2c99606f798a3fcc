//! For tests: the schema and the document of a bot that everybody can look up.

use serde_json::Value;

use super::schema::ConfigSchema;

/// The document that paperbot runs without a `HEAD`.
pub(crate) const DEFAULT_DOCUMENT: &str =
    include_str!("../../../../paperbot/schemas/default-bot-config.json");

pub(crate) fn default_document() -> Value {
    serde_json::from_str(DEFAULT_DOCUMENT).unwrap()
}

pub(crate) fn paperbot_schema() -> ConfigSchema {
    ConfigSchema::compile(include_str!("../../../../paperbot/schemas/bot-config.schema.json")).unwrap()
}
