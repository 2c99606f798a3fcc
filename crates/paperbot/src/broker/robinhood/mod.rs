//! Robinhood's private API: the session alone. Undocumented by its owner; opt-in.
//!
//! A stored token pair and its refresh grant are the normal way; the password grant needs an explicit switch and
//! usually a human with the app. Refresh tokens work once: the new pair is durable before its first use, and a
//! refused refresh first asks the store whether another process left a newer pair. One device token for all calls, for
//! ever: another would need another approval. A stop signs nobody out.

mod bodies;
mod broker;
mod options;

pub use broker::{PasswordGrant, RobinhoodBroker, RobinhoodSettings};
pub(super) use options::RobinhoodOptions;
