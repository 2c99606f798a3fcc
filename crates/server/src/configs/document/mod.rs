//! A config document: read strictly, patched, checked by the bot's schema, compared with another.

mod config_change;
mod config_document;
mod diff;
mod diff_words;
mod finding;
mod nodes;
#[cfg(test)]
mod paperbot_config;
mod same_value;
mod schema;
mod schema_check;
#[cfg(test)]
mod schema_tests;
mod shown;
mod type_words;
mod undeclared_risk;
mod unknown_marks;
mod written_value;

pub use config_change::ConfigChange;
pub(crate) use config_change::apply_change;
pub(crate) use config_document::{ConfigDocument, MOST_DOCUMENT_BYTES, short_hash, version_etag};
pub(crate) use diff::{ApplyTiming, ChangeRisk, DiffLine, change_risk, diff_documents};
pub(crate) use finding::{ConfigFinding, ValidationLevel};
#[cfg(test)]
pub(crate) use paperbot_config::DEFAULT_DOCUMENT;
pub(crate) use same_value::same_value;
pub use schema::read_bot_schema;
pub(crate) use schema::{ConfigSchema, read_decimal};
pub(crate) use schema_check::SchemaFault;
pub(crate) use shown::mask_document;
pub use written_value::WrittenValue;
