//! The data folder of a process: private to its owner, and used by one process at a time.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::regular_file::open_regular;

/// Makes the folder with mode 0700 unless it exists.
///
/// # Errors
/// The error of the file system.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Locks the data folder until the returned file is closed: two writers of one ledger or journal would damage it.
///
/// # Errors
/// One sentence that says what to change: another process has the lock, or the lock file cannot be made.
pub fn lock_data_folder(data: &Path, lock_file: &str) -> Result<File, String> {
    let path = data.join(lock_file);
    let file = open_regular(&path, OpenOptions::new().write(true).create(true).truncate(false).mode(0o600));
    let file = file.map_err(|error| {
        format!(
            "{}: the lock file cannot be used ({error}); remove it, or make the folder writable for this user",
            path.display()
        )
    })?;
    let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    match locked {
        Ok(()) => Ok(file),
        Err(_) => Err(format!("another bot uses {}; stop it, or choose another --data-dir", data.display())),
    }
}
