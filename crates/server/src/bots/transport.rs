//! How a bot is reached: over a Unix socket. No other file depends on that.
//!
//! A [`BotAddress`] says where a bot answers, a [`BotEndpoint`] what lies there now, a [`BotConnection`] carries the
//! requests and tells which process is at the other end. Another transport is another variant here.

use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use tokio::net::UnixStream;

use super::exchange::{TransportFailure, not_connected};
use botops_contract::BASE;

/// Connecting to a Unix socket takes microseconds or does not work.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Where a bot answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BotAddress {
    /// On the Unix socket of this name, served by a process of our own user.
    UnixSocket(PathBuf),
}

/// What lies at an address now: one socket file.
///
/// A file that was replaced is another endpoint, even under the same inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BotEndpoint {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

/// HTTP clients for one endpoint whose peer was checked.
#[derive(Debug)]
pub(super) struct BotConnection {
    address: BotAddress,
    endpoint: BotEndpoint,
    /// The process that listens, if the kernel says so.
    peer_pid: Option<u32>,
    polls: Client,
    calls: Client,
}

/// A process at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerProcess {
    pub pid: u32,
    /// It holds a listening socket of the address's name: the number alone may belong to somebody else by now.
    pub is_listener: bool,
}

/// Gives the process its TLS provider, once; later calls change nothing. `reqwest` will not build a client without
/// one, even for a Unix socket.
pub fn install_tls_provider() {
    // An error says that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl BotAddress {
    /// The socket's file, where the bot is reached over one.
    pub(super) fn socket_file(&self) -> Option<&Path> {
        let Self::UnixSocket(socket) = self;
        Some(socket)
    }

    /// The endpoint at this address now, if it can be used.
    pub(super) fn endpoint(&self) -> Result<BotEndpoint, TransportFailure> {
        let Self::UnixSocket(socket) = self;
        socket_file(socket)
    }

    /// Connects once to learn who listens, and makes clients for this address.
    pub(super) async fn connect(&self, endpoint: BotEndpoint) -> Result<BotConnection, TransportFailure> {
        let Self::UnixSocket(socket) = self;
        let probe = tokio::time::timeout(CONNECT_LIMIT, UnixStream::connect(socket))
            .await
            .map_err(|_| TransportFailure::Late)?
            .map_err(|error| not_connected(error.kind()))?;
        let peer = probe
            .peer_cred()
            .map_err(|_| TransportFailure::Away("the kernel does not say who listens".to_owned()))?;
        check_owner(peer.uid()).map_err(|owner| {
            TransportFailure::Away(format!(
                "a process of another user ({owner}) listens on the socket; it is not used"
            ))
        })?;
        install_tls_provider();
        let client = |idle: usize| {
            Client::builder()
                .unix_socket(socket.clone())
                // No certificate is checked on a Unix socket; reading the system's costs milliseconds a client.
                .tls_certs_only([])
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_LIMIT)
                .http1_only()
                .pool_max_idle_per_host(idle)
                .build()
                .map_err(|_| TransportFailure::Away("the HTTP client could not be made".to_owned()))
        };
        let peer_pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
        // A call uses a connection of its own: when a kept one has just been closed by the bot, whether the call was
        // delivered cannot be known.
        Ok(BotConnection { address: self.clone(), endpoint, peer_pid, polls: client(1)?, calls: client(0)? })
    }
}

impl fmt::Display for BotAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::UnixSocket(socket) = self;
        write!(f, "{}", socket.display())
    }
}

impl BotConnection {
    /// Whether this connection was made for this very endpoint.
    pub(super) fn is_to(&self, endpoint: BotEndpoint) -> bool {
        self.endpoint == endpoint
    }

    /// Whether the endpoint that this was made for is still the one at its address; the error says why not.
    pub(super) fn check_endpoint(&self) -> Result<(), String> {
        match self.address.endpoint() {
            Ok(endpoint) if self.is_to(endpoint) => Ok(()),
            Ok(_) => Err("its socket was replaced a moment ago".to_owned()),
            Err(TransportFailure::Away(reason)) => Err(reason),
            Err(_) => Err("its socket cannot be used".to_owned()),
        }
    }

    /// The process at the other end; none where it cannot be seen from here.
    pub(super) fn peer(&self) -> Option<PeerProcess> {
        let BotAddress::UnixSocket(socket) = &self.address;
        self.peer_pid.map(|pid| PeerProcess { pid, is_listener: holds_listener(pid, socket) })
    }

    /// A request of the poll, over a kept connection.
    pub(super) fn poll(&self, path: &str) -> RequestBuilder {
        self.polls.get(url(path))
    }

    /// A read, over a connection of its own.
    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.calls.get(url(path))
    }

    /// A command, over a connection of its own.
    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.calls.post(url(path))
    }
}

/// The socket file as it lies there, if it is a socket of our own user.
fn socket_file(socket: &Path) -> Result<BotEndpoint, TransportFailure> {
    let shown = socket.display();
    let file = std::fs::metadata(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound => TransportFailure::Away(format!("there is no socket at {shown}")),
        ErrorKind::PermissionDenied => TransportFailure::Away(format!("botops may not look at {shown}")),
        _ => TransportFailure::Away(format!("the socket {shown} cannot be looked at")),
    })?;
    if !file.file_type().is_socket() {
        return Err(TransportFailure::Away(format!("{shown} is not a socket")));
    }
    check_owner(file.uid()).map_err(|owner| {
        TransportFailure::Away(format!(
            "the socket {shown} belongs to another user ({owner}) and is not used"
        ))
    })?;
    Ok(BotEndpoint { device: file.dev(), inode: file.ino(), changed: (file.ctime(), file.ctime_nsec()) })
}

/// Whether a process holds a listening Unix socket of this name or folder.
///
/// The kernel knows the path that was bound: the folder may be called otherwise from where the bot runs, and a file
/// may have been renamed into its place.
fn holds_listener(pid: u32, socket: &Path) -> bool {
    /// `__SO_ACCEPTCON`, as `/proc/net/unix` shows it among the flags.
    const LISTENS: u32 = 0x1_0000;
    let Ok(table) = std::fs::read_to_string(format!("/proc/{pid}/net/unix")) else { return false };
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
        let bound = Path::new(fields.get(7)?);
        let is_it = bound.file_name() == socket.file_name() || bound.parent() == socket.parent();
        (flags & LISTENS != 0 && is_it).then(|| fields.get(6).map(|inode| format!("socket:[{inode}]")))?
    };
    let inodes: Vec<String> = table.lines().filter_map(inode).collect();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().filter_map(Result::ok);
    let mut targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.any(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
}

/// Whether this user owns the socket file; an error names the owner when another one does.
fn check_owner(owner: u32) -> Result<(), u32> {
    if owner == rustix::process::geteuid().as_raw() { Ok(()) } else { Err(owner) }
}

/// The host name is a placeholder that HTTP requires; requests go to the socket whatever it says.
fn url(path: &str) -> String {
    format!("http://bot{BASE}/{path}")
}
