//! One call to freqtrade: its deadline and bounds, what a failure means, and what an answer holds.

mod answers;
mod client;
mod failure;
mod json_text;
mod lenient;
mod login;
mod secret_words;
mod shown_config;
mod trade_answers;

pub(crate) use answers::{
    BalanceAnswer, ConfigEcho, CurrencyBalance, DatabaseUse, HealthAnswer, LocksAnswer, LogLine, LogsAnswer,
    OWN_LOCK, PairLock, WhitelistAnswer, endless_lock,
};
pub(crate) use client::{FreqtradeClient, HUNG_AFTER};
pub(crate) use failure::UpstreamFailure;
pub(crate) use lenient::ReadList;
pub(crate) use login::websocket_request;
pub(crate) use secret_words::HideSecrets;
pub(crate) use trade_answers::{FreqtradeOrder, FreqtradeTrade, TradesAnswer};
