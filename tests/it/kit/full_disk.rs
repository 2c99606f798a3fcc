//! A disk that is full for some files of a real process: what it writes there fails, as on a disk without room.

use std::path::{Path, PathBuf};

use super::preload::library;

/// The environment of a process whose disk is full for what this file of the test names; there is room while it is not there.
pub(crate) fn settings(control: &Path) -> [(&'static str, String); 2] {
    [
        ("LD_PRELOAD", library("full_disk.c").display().to_string()),
        ("FULL_DISK_FILE", control.display().to_string()),
    ]
}

/// From now on nothing can be written to files whose paths begin so.
pub(crate) fn fill(control: &Path, files: &Path) {
    // Written beside and moved: it is read at any moment.
    let new = control.with_extension("new");
    std::fs::write(&new, real(files).as_os_str().as_encoded_bytes()).unwrap();
    std::fs::rename(new, control).unwrap();
}

/// The path as the kernel knows it, also of a file that is not there.
fn real(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.zip(path.file_name()).map_or_else(|| path.to_owned(), |(folder, name)| folder.join(name))
}
