//! A config that the SDK keeps for a bot: its schema, its trials with their clock, and the files behind it.

mod call_progress;
mod config_check;
mod config_files;
mod config_finding;
mod config_schema;
mod config_values;
mod json_values;
mod managed_config;
mod schema_mistakes;
mod schema_parts;
mod schema_violations;
mod trial_keeper;
mod trial_slot;
mod value_switch;

pub use config_finding::ConfigFinding;
pub use config_values::ConfigValues;
pub use managed_config::ManagedConfig;
pub(crate) use trial_keeper::TrialKeeper;
