//! How a bot is reached: over a Unix socket, or over a TCP port of this machine or of a private network. No other
//! module depends on which of them it is.
//!
//! A [`BotAddress`] says where a bot answers, a [`BotEndpoint`] what lies there now, a [`BotConnection`] carries the
//! requests and tells which process is at the other end. Another transport is another variant and a file of its own.

mod address;
mod connection;
mod endpoint;
mod tcp_port;
mod unix_socket;

pub use address::BotAddress;
pub use connection::install_tls_provider;
pub(super) use connection::{BotConnection, connect};
pub use endpoint::BotOwner;
pub(super) use endpoint::{BotEndpoint, PeerProcess};
pub use tcp_port::BotTcpPort;
