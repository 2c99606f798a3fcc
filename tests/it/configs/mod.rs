//! The config through the wire: checked, tried, undone, audited; beside a scripted bot and beside the real one.

mod audit_tampering;
mod bench;
mod boot_once;
mod crashed_documents;
mod disk_faults;
mod kills;
mod refusals;
mod trial;
mod unproven_answers;
pub mod world;
