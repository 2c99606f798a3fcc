//! The config through the wire: checked, tried, undone, audited; beside a scripted bot and beside the real one.

pub(crate) mod audit_tampering;
mod bench;
mod boot_once;
pub(crate) mod crashed_documents;
pub(crate) mod disk_faults;
pub(crate) mod kills;
mod refusals;
pub(crate) mod trial;
mod unproven_answers;
pub(crate) mod world;
