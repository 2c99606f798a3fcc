//! Brokers: their session decides whether orders may pass. Paper (default), Alpaca, Robinhood.
//!
//! A new broker is one file here, with its [`BrokerAdapter`] and its options, and one [`BrokerChoice`].
//!
//! [`BrokerAdapter`] hides how each one authenticates and the form of its answers. Callers get plain values or a
//! [`BrokerError`] of a closed list; raw text of a server never leaves this module. No adapter places orders: they are
//! filled on paper by the trading loop. Nothing here retries, decides about trading or spawns tasks.

mod adapter;
mod alpaca;
mod error;
mod http;
mod model;
mod options;
mod paper;
mod robinhood;
mod token_store;

pub use adapter::{BrokerAdapter, BrokerCall};
pub use alpaca::{AlpacaBroker, AlpacaKeySource, AlpacaSettings};
pub use error::{BrokerError, TransientFailure};
pub use http::HttpSettings;
pub use model::{
    ChallengeKind, ChallengeState, NewSession, ProbeReply, SignInChallenge, SignInMethod, TokenLifetime,
};
pub use options::{BrokerChoice, BrokerOptions};
pub use paper::{FaultScript, PaperBroker, PaperSettings};
pub use robinhood::{PasswordGrant, RobinhoodBroker, RobinhoodSettings};
pub use token_store::{TokenPair, TokenStore};
