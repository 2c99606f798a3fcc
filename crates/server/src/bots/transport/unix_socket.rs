//! A bot on a Unix socket: the file, its owner, and the process that listens.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use tokio::net::UnixStream;

use super::super::exchange::TransportFailure;
use super::endpoint::{BotEndpoint, BotOwner, connected};

/// The socket file as it lies there, if it is a socket of the bot's user.
pub(super) fn socket_file(socket: &Path, owner: BotOwner) -> Result<BotEndpoint, TransportFailure> {
    let shown = socket.display();
    let file = std::fs::metadata(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound => TransportFailure::Away(format!("there is no socket at {shown}")),
        ErrorKind::PermissionDenied => TransportFailure::Away(format!("botops may not look at {shown}")),
        _ => TransportFailure::Away(format!("the socket {shown} cannot be looked at")),
    })?;
    if !file.file_type().is_socket() {
        return Err(TransportFailure::Away(format!("{shown} is not a socket")));
    }
    owner.check(file.uid()).map_err(|owner| {
        TransportFailure::Away(format!(
            "the socket {shown} belongs to another user ({owner}) and is not used"
        ))
    })?;
    Ok(BotEndpoint::SocketFile {
        device: file.dev(),
        inode: file.ino(),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}

/// Connects once to learn which process of the bot's user listens; none where the kernel does not show it here.
pub(super) async fn probe(socket: &Path, owner: BotOwner) -> Result<Option<u32>, TransportFailure> {
    let probe = connected(UnixStream::connect(socket), TransportFailure::Late).await?;
    let peer = probe
        .peer_cred()
        .map_err(|_| TransportFailure::Away("the kernel does not say who listens".to_owned()))?;
    owner.check(peer.uid()).map_err(|owner| {
        TransportFailure::Away(format!(
            "a process of another user ({owner}) listens on the socket; it is not used"
        ))
    })?;
    Ok(peer.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0))
}

/// Whether a process holds a listening Unix socket of this name or folder.
///
/// The kernel knows the path that was bound: the folder may be called otherwise from where the bot runs, and a file
/// may have been renamed into its place.
pub(super) fn holds_listener(pid: u32, socket: &Path) -> bool {
    /// `__SO_ACCEPTCON`, as `/proc/net/unix` shows it among the flags.
    const LISTENS: u32 = 0x1_0000;
    let Ok(table) = std::fs::read_to_string(format!("/proc/{pid}/net/unix")) else { return false };
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
        let bound = Path::new(fields.get(7)?);
        let is_it = bound.file_name() == socket.file_name() || bound.parent() == socket.parent();
        (flags & LISTENS != 0 && is_it).then(|| fields.get(6)?.parse().ok())?
    };
    let inodes: Vec<u64> = table.lines().filter_map(inode).collect();
    super::endpoint::holds_socket(pid, &inodes)
}
