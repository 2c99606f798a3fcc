//! Values inside a text: symbols, periods, codes, config keys and their values, ids, durations, versions.
//!
//! Values are read before any intent is chosen; their words are marked, so that they are not scored by their concepts.
//! The names that are recognised (workflows, components, config keys, symbols) come from the running system.

mod clock;
mod config_keys;
mod config_values;
mod counts;
mod days_named;
mod identifiers;
mod names;
mod period_reader;
mod periods;
mod read;
mod relative_amounts;
mod symbols;
mod values;
mod zones;

pub(crate) use read::read_slots;
pub(crate) use symbols::find_named_symbols;
pub(crate) use values::{SlotValues, WOULD_BE_REFUSED, WantedValue};
