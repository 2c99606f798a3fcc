//! A disk that loses what was not synced: every folder that a loss of power can leave behind, for tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use botops_core::durable_file::FileStep;

/// The files and names of a disk, with what of them survives a loss of power.
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
        let newest = self.pending.iter().rev().find(|(_, to, _)| to == path).map(|(_, _, number)| *number);
        newest.or_else(|| self.safe.get(path).copied()).unwrap()
    }

    fn apply_step(&mut self, step: &FileStep) {
        match step {
            FileStep::Written(path, bytes) => {
                self.pending.push((None, path.clone(), self.contents.len()));
                self.contents.push((bytes.clone(), false));
            }
            FileStep::Synced(path) => {
                let number = self.number(path);
                self.contents[number].1 = true;
            }
            FileStep::Renamed(from, to) => {
                let number = self.number(from);
                self.pending.push((Some(from.clone()), to.clone(), number));
            }
            FileStep::FolderSynced(folder) => {
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

/// Inspects every folder that a loss of power can leave after any number of steps.
///
/// Names since the last sync of their folder may be lost from some point on; unsynced contents are empty, half there,
/// or whole. `inspect` is told whether all steps were taken.
pub(super) fn after_power_loss<T>(
    before: &Path,
    steps: &[FileStep],
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
