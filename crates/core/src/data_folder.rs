//! The data folder of a process: private to its owner, and used by one process at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::regular_file::open_regular;

/// Bytes of a process id and the end of its line.
const LONGEST_PID: u64 = 20;

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
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = open_regular(&path, &options).map_err(|error| {
        format!(
            "{}: the lock file cannot be used ({error}); remove it, or make the folder writable for this user",
            path.display()
        )
    })?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        let process = owner_of(&mut file).map_or_else(String::new, |pid| format!(" (process {pid})"));
        return Err(format!(
            "another bot{process} uses {}; stop it, or choose another --data-dir",
            data.display()
        ));
    }
    // For whoever finds it locked; nothing depends on it, so a disk that is full does no harm here.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// The process that has the lock, as it wrote into it; `None` where it did not.
fn owner_of(file: &mut File) -> Option<u32> {
    let mut written = String::new();
    file.take(LONGEST_PID).read_to_string(&mut written).ok()?;
    written.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_folder_is_named_and_the_folder_is_free_once_it_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let lock = lock_data_folder(folder.path(), "bot.lock").unwrap();
        let problem = lock_data_folder(folder.path(), "bot.lock").unwrap_err();
        assert!(problem.contains(&format!("(process {})", std::process::id())), "{problem}");
        drop(lock);
        drop(lock_data_folder(folder.path(), "bot.lock").unwrap());
    }
}
