//! Replacing a file so that neither a kill nor a loss of power leaves half of it.
//!
//! Written beside it, synced, renamed, the folder synced, in this order. A test takes down what was really done and plays
//! every way in which unsynced parts of it can be lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use botops_core::failpoints;

/// Replaces a file as a whole: beside it, synced, renamed, the folder synced. Before the rename the old file is
/// there, after it the new one; never half of either. `point` names it for tests.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32, point: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let beside = folder.join(name);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Err(error) = put(&beside, path, bytes, mode, point) {
        // Half a file takes room on a disk that has none.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    failpoints::point(&format!("{point}.after_rename"));
    sync_folder(folder, point)
}

fn put(beside: &Path, path: &Path, bytes: &[u8], mode: u32, point: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    write(&mut file, beside, bytes, point)?;
    sync(&file, beside, point)?;
    failpoints::point(&format!("{point}.before_rename"));
    rename(beside, path, point)
}

fn write(file: &mut File, path: &Path, bytes: &[u8], point: &str) -> io::Result<()> {
    failpoints::write(&format!("{point}.write"))?;
    file.write_all(bytes)?;
    record_step(|| DiskStep::Written(path.to_owned(), bytes.to_owned()));
    Ok(())
}

fn sync(file: &File, path: &Path, point: &str) -> io::Result<()> {
    failpoints::write(&format!("{point}.sync"))?;
    file.sync_all()?;
    record_step(|| DiskStep::Synced(path.to_owned()));
    Ok(())
}

fn rename(from: &Path, to: &Path, point: &str) -> io::Result<()> {
    failpoints::write(&format!("{point}.rename"))?;
    fs::rename(from, to)?;
    record_step(|| DiskStep::Renamed(from.to_owned(), to.to_owned()));
    Ok(())
}

fn sync_folder(folder: &Path, point: &str) -> io::Result<()> {
    failpoints::write(&format!("{point}.sync_folder"))?;
    File::open(folder)?.sync_all()?;
    record_step(|| DiskStep::FolderSynced(folder.to_owned()));
    Ok(())
}

/// What [`replace`] did, for a test that takes it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DiskStep {
    Written(PathBuf, Vec<u8>),
    Synced(PathBuf),
    Renamed(PathBuf, PathBuf),
    FolderSynced(PathBuf),
}

#[cfg(not(test))]
#[inline(always)]
fn record_step(_: impl FnOnce() -> DiskStep) {}

#[cfg(test)]
pub(crate) use model::{after_power_loss, watched};

#[cfg(test)]
use model::record_step;

/// A disk that loses what was not synced.
#[cfg(test)]
mod model {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::DiskStep;

    thread_local! {
        static STEPS: RefCell<Option<Vec<DiskStep>>> = const { RefCell::new(None) };
    }

    pub fn record_step(step: impl FnOnce() -> DiskStep) {
        STEPS.with_borrow_mut(|steps| {
            if let Some(steps) = steps {
                steps.push(step());
            }
        });
    }

    /// Takes down every step that `work` takes below `root`.
    pub fn watched<T>(root: &Path, work: impl FnOnce() -> T) -> (T, Vec<DiskStep>) {
        STEPS.set(Some(Vec::new()));
        let value = work();
        let below = |path: PathBuf| path.strip_prefix(root).unwrap().to_owned();
        let steps = STEPS.take().unwrap().into_iter().map(|step| match step {
            DiskStep::Written(path, bytes) => DiskStep::Written(below(path), bytes),
            DiskStep::Synced(path) => DiskStep::Synced(below(path)),
            DiskStep::Renamed(from, to) => DiskStep::Renamed(below(from), below(to)),
            DiskStep::FolderSynced(path) => DiskStep::FolderSynced(below(path)),
        });
        (value, steps.collect())
    }

    /// The files and names of a disk, with what is safe of them.
    #[derive(Debug, Clone, Default)]
    struct DiskModel {
        /// Content by number of the file, and whether it is synced.
        contents: Vec<(Vec<u8>, bool)>,
        /// Names that are on disk.
        safe: BTreeMap<PathBuf, usize>,
        /// Changes of names since: a new name, or a rename.
        pending: Vec<(Option<PathBuf>, PathBuf, usize)>,
    }

    impl DiskModel {
        fn of(folder: &Path) -> Self {
            let mut disk = Self::default();
            for place in [folder.to_owned(), folder.join("versions")] {
                for entry in fs::read_dir(place).unwrap().map(Result::unwrap) {
                    if entry.path().is_file() {
                        let name = entry.path().strip_prefix(folder).unwrap().to_owned();
                        disk.safe.insert(name, disk.contents.len());
                        disk.contents.push((fs::read(entry.path()).unwrap(), true));
                    }
                }
            }
            disk
        }

        fn number(&self, path: &Path) -> usize {
            let newest =
                self.pending.iter().rev().find(|(_, to, _)| to == path).map(|(_, _, number)| *number);
            newest.or_else(|| self.safe.get(path).copied()).unwrap()
        }

        fn apply_step(&mut self, step: &DiskStep) {
            match step {
                DiskStep::Written(path, bytes) => {
                    self.pending.push((None, path.clone(), self.contents.len()));
                    self.contents.push((bytes.clone(), false));
                }
                DiskStep::Synced(path) => {
                    let number = self.number(path);
                    self.contents[number].1 = true;
                }
                DiskStep::Renamed(from, to) => {
                    let number = self.number(from);
                    self.pending.push((Some(from.clone()), to.clone(), number));
                }
                DiskStep::FolderSynced(folder) => {
                    let (now, later) = std::mem::take(&mut self.pending)
                        .into_iter()
                        .partition(|(_, to, _)| to.parent() == Some(folder.as_path()));
                    self.pending = later;
                    self.names(now);
                }
            }
        }

        fn names(&mut self, changes: Vec<(Option<PathBuf>, PathBuf, usize)>) {
            for (from, to, number) in changes {
                if let Some(from) = from {
                    self.safe.remove(&from);
                }
                self.safe.insert(to, number);
            }
        }

        /// Writes down what a loss of power leaves: these changes of names, and this part of unsynced contents.
        fn left(&self, kept: usize, part: usize, folder: &Path) {
            let mut disk = self.clone();
            let changes = disk.pending.iter().take(kept).cloned().collect();
            disk.names(changes);
            for (name, number) in &disk.safe {
                let (content, synced) = &disk.contents[*number];
                let length = if *synced { content.len() } else { content.len() * part / 2 };
                let path = folder.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, &content[..length]).unwrap();
            }
        }
    }

    /// Looks at every folder that a loss of power can leave after any number of steps: names since the last sync of
    /// their folder may be lost from some point on, unsynced contents are empty, half there, or whole. `inspect` is told
    /// whether all steps were taken.
    pub fn after_power_loss<T>(
        before: &Path,
        steps: &[DiskStep],
        inspect: impl Fn(bool, &Path) -> T,
    ) -> Vec<T> {
        let mut disk = DiskModel::of(before);
        let mut found = Vec::new();
        for taken in 0..=steps.len() {
            if let Some(step) = taken.checked_sub(1).and_then(|last| steps.get(last)) {
                disk.apply_step(step);
            }
            for kept in 0..=disk.pending.len() {
                for part in 0..=2 {
                    let folder = tempfile::tempdir().unwrap();
                    disk.left(kept, part, folder.path());
                    found.push(inspect(taken == steps.len(), folder.path()));
                }
            }
        }
        found
    }
}
