//! Replacing a file so that neither a kill nor a loss of power leaves half of it.
//!
//! The content goes into a file beside it, which is synced, renamed over the old one, and then the folder is synced.
//! Every private file that botops and the reference bot replace as a whole goes through here. A debug build can record
//! what was really done, so that a test can play every way in which the unsynced parts of it are lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failpoints;

/// Readable and writable by the owner alone.
pub const PRIVATE: u32 = 0o600;

/// Replaces a file as a whole, with this mode.
///
/// Before the rename the old content is there, after it the new one, never half of either; after `Ok` a loss of power does
/// not take it back. `failpoint` is the prefix of its failpoints.
///
/// # Errors
/// The file system's. The old content is still there, or, where only the folder could not be synced, the new one.
pub fn replace(path: &Path, content: &[u8], mode: u32, failpoint: &str) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&temporary, content, mode, failpoint)
        .and_then(|()| rename_over(&temporary, path, failpoint));
    if let Err(error) = written {
        // Half a file takes room on a disk that has none, and may hold a secret.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    failpoints::point(&format!("{failpoint}.after_rename"));
    failpoints::write(&format!("{failpoint}.sync_folder"))?;
    sync_folder_of(path)
}

/// Puts a finished file in the place of another and syncs the folder. The content of `from` was synced before.
///
/// # Errors
/// The file system's.
pub fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    record(|| FileStep::Renamed(from.to_owned(), to.to_owned()));
    sync_folder_of(to)
}

/// Syncs the folder that a file is in: its name is then safe as well.
///
/// # Errors
/// The file system's.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    record(|| FileStep::FolderSynced(folder.to_owned()));
    Ok(())
}

fn write_new(path: &Path, content: &[u8], mode: u32, failpoint: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    failpoints::write(&format!("{failpoint}.write"))?;
    file.write_all(content)?;
    record(|| FileStep::Written(path.to_owned(), content.to_owned()));
    failpoints::write(&format!("{failpoint}.sync"))?;
    file.sync_all()?;
    record(|| FileStep::Synced(path.to_owned()));
    Ok(())
}

fn rename_over(from: &Path, to: &Path, failpoint: &str) -> io::Result<()> {
    failpoints::point(&format!("{failpoint}.before_rename"));
    failpoints::write(&format!("{failpoint}.rename"))?;
    fs::rename(from, to)?;
    record(|| FileStep::Renamed(from.to_owned(), to.to_owned()));
    Ok(())
}

/// What was done to a file, for a test that records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileStep {
    /// A new file was written; its content may still be lost.
    Written(PathBuf, Vec<u8>),
    /// Its content is on disk.
    Synced(PathBuf),
    /// A file took the name of another; the names may still be lost.
    Renamed(PathBuf, PathBuf),
    /// The names in a folder are on disk.
    FolderSynced(PathBuf),
}

#[cfg(not(debug_assertions))]
#[inline(always)]
fn record(_: impl FnOnce() -> FileStep) {}

#[cfg(debug_assertions)]
use recording::record;
#[cfg(debug_assertions)]
pub use recording::recorded;

/// What this thread does to files, taken down: in a debug build only.
#[cfg(debug_assertions)]
mod recording {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};

    use super::FileStep;

    thread_local! {
        static STEPS: RefCell<Option<Vec<FileStep>>> = const { RefCell::new(None) };
    }

    pub(super) fn record(step: impl FnOnce() -> FileStep) {
        STEPS.with_borrow_mut(|steps| {
            if let Some(steps) = steps {
                steps.push(step());
            }
        });
    }

    /// What `work` returns, and every step that it took below `root` on this thread, with paths relative to it.
    ///
    /// # Panics
    /// When it touched a file elsewhere.
    pub fn recorded<T>(root: &Path, work: impl FnOnce() -> T) -> (T, Vec<FileStep>) {
        STEPS.set(Some(Vec::new()));
        let value = work();
        let below = |path: PathBuf| path.strip_prefix(root).expect("it works below the root").to_owned();
        let steps = STEPS.take().unwrap_or_default().into_iter().map(|step| match step {
            FileStep::Written(path, bytes) => FileStep::Written(below(path), bytes),
            FileStep::Synced(path) => FileStep::Synced(below(path)),
            FileStep::Renamed(from, to) => FileStep::Renamed(below(from), below(to)),
            FileStep::FolderSynced(path) => FileStep::FolderSynced(below(path)),
        });
        (value, steps.collect())
    }
}
