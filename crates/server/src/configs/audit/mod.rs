//! The audit of config changes: its records, its file, and the chain that makes a change of the past visible.

mod audit_chain;
mod audit_file;
mod records;

pub use audit_chain::{AuditHead, AuditVerdict};
pub use records::verify_audit_file;
pub(crate) use records::{ConfigAudit, MOST_RECORDS, stamped_record};
