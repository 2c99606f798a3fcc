//! The config through the wire: checked, tried, undone, audited; beside a scripted bot and beside the real one.

pub mod audit_tampering;
mod bench;
mod boot_once;
pub mod crashed_documents;
pub mod disk_faults;
pub mod kills;
mod refusals;
pub mod trial;
mod unproven_answers;
pub mod world;
