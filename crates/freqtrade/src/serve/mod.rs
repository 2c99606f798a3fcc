//! The contract on the socket: what was published is given out, and nobody who reads makes freqtrade work.

mod contract_source;
mod published;

pub(crate) use contract_source::AdapterSource;
pub(crate) use published::{PublishedState, StateCell};
