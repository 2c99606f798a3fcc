//! The socket file: private from the moment it exists, replaced when nobody listens on it, an error when somebody does.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

/// The longest path of a Unix socket on Linux, in bytes (`sun_path` without its final zero).
const LONGEST_PATH: usize = 107;

/// Opens the socket with mode 0600, which it has before anyone can connect; a missing folder is made with mode 0700.
///
/// # Errors
/// One sentence that says what to change: the path is too long, is no socket, or somebody else serves on it.
pub fn open_socket(path: &Path) -> Result<UnixListener, String> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let private = folder.join(format!(".s{}", std::process::id()));
    let longest = path.as_os_str().len().max(private.as_os_str().len());
    if longest > LONGEST_PATH {
        return Err(format!(
            "{} is too long for a socket: {longest} bytes, at most {LONGEST_PATH}; choose a shorter --socket",
            path.display()
        ));
    }
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(format!("{} is there and is no socket; choose another --socket", path.display()));
        }
        Ok(_) => match find_listener(path) {
            Some(process) => return Err(served_by_another(path, process)),
            None => tracing::info!("the socket {} of a dead process is replaced", path.display()),
        },
    }
    // The mode is set under another name, then the file is moved into place: it is never open to others.
    let _ = fs::remove_file(&private);
    let listener = UnixListener::bind(&private).map_err(failed)?;
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&private, path).map_err(failed)?;
    Ok(listener)
}

/// Who listens on a socket, as far as the system tells it; `None` when nobody does. It does not wait: a process that
/// hangs, so that its queue is full, listens all the same.
fn find_listener(path: &Path) -> Option<Option<u32>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path).ok()?) {
        Ok(()) => {
            let credentials = rustix::net::sockopt::socket_peercred(&probe).ok();
            Some(credentials.and_then(|one| u32::try_from(one.pid.as_raw_nonzero().get()).ok()))
        }
        Err(Errno::AGAIN) => Some(None),
        Err(_) => None,
    }
}

/// Why the socket is not served here.
fn served_by_another(path: &Path, process: Option<u32>) -> String {
    let process = process.map_or_else(String::new, |pid| format!(" (process {pid})"));
    format!("another bot{process} serves on {}; stop it, or choose another --socket", path.display())
}

/// Removes the socket file. Call it while the data folder's lock is held: then the file is this process's own.
pub fn remove_socket(socket: &Path) {
    let _ = fs::remove_file(socket);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_serves_on_a_socket_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.sock");
        let _served = open_socket(&path).unwrap();
        let problem = open_socket(&path).unwrap_err();
        assert!(
            problem.contains(&format!("another bot (process {}) serves on", std::process::id())),
            "{problem}"
        );
        assert!(problem.contains("stop it"), "{problem}");
    }
}
