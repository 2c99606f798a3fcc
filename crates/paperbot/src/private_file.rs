//! Reads small private files, with mode 0600 and a bound on their size.
//!
//! They are written by `botops_core`'s durable replace, so a reader sees the old content or the new one, never a part.
//! A file that cannot be read is reported and left as it is.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use botops_core::regular_file::open_regular;

/// The largest size in bytes: a longer file was not written by this program and is not read.
const MAX_FILE: u64 = 64 * 1024;

/// A private file's bytes; `None` when there is no file. A mode that lets others read is set to 0600.
pub(crate) fn read_private(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match open_regular(path, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file.path = %path.display(), "{} was readable by others; set to 0600", path.display());
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("larger than such a file can be"));
    }
    Ok(Some(bytes))
}
