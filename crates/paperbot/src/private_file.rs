//! Small private files: replaced as a whole with mode 0600, read with a bound.
//!
//! A reader sees the old document or the new one, never half of one. A file that cannot be read is reported and left
//! alone, never emptied.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// No such file is longer; more is not ours.
const MAX_FILE: u64 = 64 * 1024;

/// A private file's bytes; `None` when there is none. A mode that lets others read is put right.
pub(crate) fn read_private(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
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
