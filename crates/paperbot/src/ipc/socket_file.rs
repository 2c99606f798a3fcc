//! The socket file: private from its first moment, replaced when its process is dead, respected when it is not.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;

use tokio::net::UnixListener;

/// The longest path a Unix socket can have.
const LONGEST_PATH: usize = 107;

/// Opens the socket: folder 0700 when it is made here, socket 0600 before anyone can connect.
pub(crate) fn open_socket(path: &Path) -> Result<UnixListener, String> {
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
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(format!(
                "another bot serves on {}; stop it, or choose another --socket",
                path.display()
            ));
        }
        Ok(_) => tracing::info!("the socket {} of a dead process is replaced", path.display()),
    }
    // Made private under another name, then moved into place, so that it is never open to others.
    let _ = fs::remove_file(&private);
    let listener = UnixListener::bind(&private).map_err(failed)?;
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&private, path).map_err(failed)?;
    Ok(listener)
}

/// Removes the socket file; it is this process's own, as long as it holds the data folder's lock.
pub(crate) fn remove_socket(socket: &Path) {
    let _ = fs::remove_file(socket);
}
