//! The config: the document's fields and rules, which version runs, and the trial of another one.

pub(crate) mod boot_once;
pub(crate) mod check;
pub(crate) mod document;
pub(crate) mod head;
mod last_config;
mod outcomes;
mod read_values;
pub(crate) mod rules;
pub(crate) mod slot;
mod violations;
