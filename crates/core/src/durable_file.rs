//! Replacing a file so that neither a kill nor a power loss leaves half of it.
//!
//! The content goes into a temporary file in the same folder, which is synced and renamed over the old one; then the
//! folder is synced. Every private file that botops and the reference bot replace as a whole goes through here. A debug
//! build can record these steps, so that a test can replay every way in which a power loss drops unsynced ones.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failpoints;

/// File mode: readable and writable by the owner alone.
pub const PRIVATE: u32 = 0o600;

/// Replaces a file as a whole; the new one has this mode.
///
/// A reader sees the old content or the new one, never a part of either. After `Ok` the new content survives a power
/// loss. `failpoint` is the prefix of the names of its failpoints.
///
/// # Errors
/// The error of the file system. The old content is still in place, or the new one if only the folder was not synced.
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
        // A partly written file takes space on a disk that may be full, and may hold a secret.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    failpoints::point(&format!("{failpoint}.after_rename"));
    failpoints::write(&format!("{failpoint}.sync_folder"))?;
    sync_folder_of(path)
}

/// Renames a finished file over another and syncs the folder. The content of `from` must have been synced before.
///
/// # Errors
/// The error of the file system.
pub fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    record(|| FileStep::Renamed(from.to_owned(), to.to_owned()));
    sync_folder_of(to)
}

/// Syncs the folder that a file is in, so that the file's name survives a power loss as well.
///
/// # Errors
/// The error of the file system.
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

/// One step of a file operation, as a test records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileStep {
    /// A new file was written; a power loss may still drop its content.
    Written(PathBuf, Vec<u8>),
    /// The file's content was synced.
    Synced(PathBuf),
    /// The first file was renamed to the second; a power loss may still undo it.
    Renamed(PathBuf, PathBuf),
    /// The names in a folder were synced.
    FolderSynced(PathBuf),
}

#[cfg(not(debug_assertions))]
#[inline(always)]
fn record(_: impl FnOnce() -> FileStep) {}

#[cfg(debug_assertions)]
use recording::record;
#[cfg(debug_assertions)]
pub use recording::recorded;

/// Records what this thread does to files; in debug builds only.
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

    /// Runs `work` and returns its result with every step that it took on this thread, paths relative to `root`.
    ///
    /// # Panics
    /// When `work` touched a file outside of `root`.
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
