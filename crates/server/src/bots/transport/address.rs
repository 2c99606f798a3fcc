//! Where a bot answers.

use std::fmt;
use std::path::{Path, PathBuf};

use super::super::exchange::TransportFailure;
use super::endpoint::{BotEndpoint, BotOwner};
use super::tcp_port::BotTcpPort;
use super::unix_socket;
use botops_contract::BASE;

/// Where a bot answers, and whose process it is.
#[derive(Debug, Clone)]
pub struct BotAddress {
    pub(super) place: BotPlace,
    pub(super) owner: BotOwner,
}

/// The ways to a bot.
#[derive(Debug, Clone)]
pub(super) enum BotPlace {
    UnixSocket(PathBuf),
    TcpPort(BotTcpPort),
}

impl BotAddress {
    /// On the Unix socket of this name, served by a process of botops' own user.
    pub fn unix_socket(path: impl Into<PathBuf>) -> Self {
        Self { place: BotPlace::UnixSocket(path.into()), owner: BotOwner::same_as_botops() }
    }

    /// On this port, served by a process of botops' own user, as far as that can be seen.
    pub fn tcp_port(port: BotTcpPort) -> Self {
        Self { place: BotPlace::TcpPort(port), owner: BotOwner::same_as_botops() }
    }

    /// The same place, served by a process of this user.
    #[must_use]
    pub fn owned_by(self, owner: BotOwner) -> Self {
        Self { owner, ..self }
    }

    /// The socket's file, where the bot is reached over one.
    pub(in crate::bots) fn socket_file(&self) -> Option<&Path> {
        match &self.place {
            BotPlace::UnixSocket(socket) => Some(socket),
            BotPlace::TcpPort(_) => None,
        }
    }

    /// The endpoint at this address now, if it can be used.
    pub(in crate::bots) fn endpoint(&self) -> Result<BotEndpoint, TransportFailure> {
        match &self.place {
            BotPlace::UnixSocket(socket) => unix_socket::socket_file(socket, self.owner),
            BotPlace::TcpPort(port) => port.listener(self.owner),
        }
    }

    /// The URL of a path of the contract.
    pub(super) fn url(&self, path: &str) -> String {
        match &self.place {
            // The host name is a placeholder that HTTP requires; requests go to the socket whatever it says.
            BotPlace::UnixSocket(_) => format!("http://bot{BASE}/{path}"),
            BotPlace::TcpPort(port) => format!("{}{BASE}/{path}", port.url()),
        }
    }
}

impl fmt::Display for BotAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            BotPlace::UnixSocket(socket) => write!(f, "{}", socket.display()),
            BotPlace::TcpPort(port) => f.write_str(&port.url()),
        }
    }
}
