//! The config API: check, trial, undo and audit, with a scripted bot and with a real one.

pub(crate) mod audit_tampering;
mod bench;
mod boot_once;
mod change_lines;
pub(crate) mod crashed_documents;
pub(crate) mod disk_faults;
mod equal_amounts;
mod invalid_candidates;
pub(crate) mod kills;
mod refusals;
mod start_faults;
mod store_faults;
pub(crate) mod trial;
pub(crate) mod unproven_answers;
mod without_config;
pub(crate) mod world;
