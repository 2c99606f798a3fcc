//! What lies at an address at one moment, and whose it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::exchange::{TransportFailure, not_connected};

/// Connecting within one machine or one private network takes milliseconds or does not work.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// What lies at an address now. When it is another one, another process may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bots) enum BotEndpoint {
    /// A socket file. One that was replaced is another endpoint, even under the same inode number.
    SocketFile { device: u64, inode: u64, changed: (i64, i64) },
    /// A port. A bot that listens anew has another inode; none where the kernel here does not know the listener
    /// (another machine, another network namespace).
    TcpListener { inode: Option<u64> },
}

/// A process at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bots) struct PeerProcess {
    pub pid: u32,
    /// It holds a listening socket of the address: the number alone may belong to somebody else by now.
    pub is_listener: bool,
}

/// The user whose process the bot is. What another user serves is not used: it could pass for the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BotOwner(u32);

impl BotOwner {
    /// The user that botops runs as.
    pub fn same_as_botops() -> Self {
        Self(rustix::process::geteuid().as_raw())
    }

    /// The user of this number.
    pub fn of_uid(uid: u32) -> Self {
        Self(uid)
    }

    /// Refuses what another user owns; the error is that user. Root passes: it could pass for anybody anyway, and a
    /// container's proxy listens as root.
    pub(super) fn check(self, uid: u32) -> Result<(), u32> {
        if uid == self.0 || uid == 0 { Ok(()) } else { Err(uid) }
    }
}

/// Waits for a connection, within [`CONNECT_LIMIT`]; `late` is what it means when none comes about in that time.
pub(super) async fn connected<T>(
    connecting: impl Future<Output = std::io::Result<T>>,
    late: TransportFailure,
) -> Result<T, TransportFailure> {
    let connecting = tokio::time::timeout(CONNECT_LIMIT, connecting);
    connecting.await.map_err(|_| late)?.map_err(|error| not_connected(error.kind()))
}

/// Whether a process holds an open socket with one of these inode numbers.
pub(super) fn holds_socket(pid: u32, inodes: &[u64]) -> bool {
    open_file_of(pid, inodes).is_some()
}

/// The entry in `/proc` of a file that a process has open and that is a socket with one of these inode numbers.
pub(super) fn open_file_of(pid: u32, inodes: &[u64]) -> Option<PathBuf> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(Result::ok);
    files.map(|file| file.path()).find(|file| inodes.iter().any(|inode| is_socket(file, *inode)))
}

/// Whether an entry of an open file is that of this socket. A number that stands for another file by now is not.
pub(super) fn is_socket(file: &Path, inode: u64) -> bool {
    let name = format!("socket:[{inode}]");
    std::fs::read_link(file).is_ok_and(|target| target.as_os_str() == name.as_str())
}
