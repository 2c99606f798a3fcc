//! Values inside a text: symbols, periods, codes, config keys and their values, ids, durations, versions.
//!
//! A value is read before any intent is chosen; the words it came from are marked, so that they are not scored as
//! words again. What can be named (workflows, components, config keys, symbols) comes from the running system.

mod config_keys;
mod identifiers;
mod names;
mod periods;
mod read;
mod symbols;
mod values;

pub(crate) use read::read_slots;
pub(crate) use values::{AskedPeriod, SlotValues};
