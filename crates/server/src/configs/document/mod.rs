//! A config document: read strictly, patched, checked by schema and rules, compared with another.

mod config_change;
mod config_document;
mod diff;
mod finding;
mod rules;
mod same_value;
mod schema;
mod written_value;

pub use config_change::ConfigChange;
pub(crate) use config_change::apply_change;
pub(crate) use config_document::{ConfigDocument, DEFAULT_DOCUMENT, short_hash, version_etag};
pub(crate) use diff::{ApplyTiming, ChangeRisk, DiffLine, change_risk, diff_documents};
pub(crate) use finding::{ConfigFinding, ValidationLevel};
pub(crate) use rules::{RuleFacts, check_document};
pub(crate) use same_value::same_value;
pub(crate) use schema::{ConfigSchema, SCHEMA_TEXT, read_decimal};
pub use written_value::WrittenValue;
