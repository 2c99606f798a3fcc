//! The contract on the socket: what was published is given out, and nobody who reads makes freqtrade work.

mod event_stream;
mod published;
mod routes;

pub(crate) use published::{PublishedState, StateCell};
pub(crate) use routes::{ContractServer, contract_routes};
