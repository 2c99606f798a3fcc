//! Robinhood's private API, for the session only. It is undocumented by its owner and used only when chosen.
//!
//! A stored token pair and its refresh grant are the normal way; the password grant needs an explicit switch and
//! usually a human with the app. Refresh tokens work once: the new pair is durable before its first use, and a
//! refused refresh first looks in the store for a newer pair of another process. All calls use one device token, which
//! is kept for ever: another would need another approval. A stop does not sign out.

mod bodies;
mod broker;
mod options;

pub use broker::{PasswordGrant, RobinhoodBroker, RobinhoodSettings};
pub(super) use options::RobinhoodOptions;
