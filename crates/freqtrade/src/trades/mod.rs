//! Closed trades under a sequence of the adapter's own, and orders in the words of the contract.

mod closed_trade;
mod entry_fees;
mod order_words;
mod tally;
mod trade_log;

pub(crate) use closed_trade::{ClosedTrade, key_of_closed, key_of_open};
pub(crate) use entry_fees::entry_fees_of;
pub(crate) use order_words::{is_entry_order, orders_of};
pub(crate) use tally::{AccountTally, add_amounts};
pub(crate) use trade_log::ClosedTradeLog;
