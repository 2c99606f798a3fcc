//! The account: a ledger on disk, and what it adds up to.

pub(crate) mod amount_bounds;
pub(crate) mod append_file;
pub(crate) mod book;
pub(crate) mod command_answers;
pub(crate) mod day_table;
pub(crate) mod effects_log;
pub(crate) mod ledger;
pub(crate) mod ledger_chain;
pub(crate) mod ledger_damage;
mod ledger_line;
mod ledger_mark;
pub(crate) mod performance;
pub(crate) mod recorded_account;
pub(crate) mod track_record;
