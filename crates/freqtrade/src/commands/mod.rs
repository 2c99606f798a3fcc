//! The verbs of the contract, as far as freqtrade can do them.

mod verbs;

pub(crate) use verbs::Commands;
