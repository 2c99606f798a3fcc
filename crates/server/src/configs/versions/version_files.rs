//! The files of the config folder: versions and `HEAD`, which is what the bot boots from.
//!
//! A version is a file of its own that never changes; `HEAD` names the committed one, and replacing `HEAD` is the
//! only commit point. Kept from users: the order of writes, syncs and renames that keeps this true when the process
//! or the machine dies in between. There are no locks: one process owns the folder, and one task of it writes.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::configs::document::ConfigDocument;
use crate::configs::head::{VersionHead, version_file_name};
use botops_contract::VersionRef;
use botops_core::durable_file::replace;
use botops_core::regular_file::{read_regular, read_regular_text};
use botops_core::text::sha256_hex;

/// The config folder.
#[derive(Debug, Clone)]
pub(crate) struct VersionFiles {
    folder: PathBuf,
}

impl VersionFiles {
    /// Opens or makes the folder and removes what an unfinished write left. One that cannot be used is told in the log;
    /// what needs it fails then, and reads go on.
    pub(crate) fn open(folder: &Path) -> Self {
        let opened = Self { folder: folder.to_owned() };
        if let Err(error) = opened.make_and_clean() {
            let folder = folder.display();
            tracing::error!(
                "{folder} cannot be used ({error}): free space there, or remove what is in its place"
            );
        }
        opened
    }

    fn make_and_clean(&self) -> io::Result<()> {
        let versions = self.folder.join("versions");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&versions)?;
        for directory in [&self.folder, &versions] {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "tmp") {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    /// Stores a version's file, durable on return, and returns its name below the folder.
    pub(crate) fn store(&self, version: u64, document: &ConfigDocument) -> io::Result<String> {
        let name = version_file_name(version, &document.sha256);
        let path = self.folder.join(&name);
        replace(&path, document.text.as_bytes(), 0o440, "config.version")?;
        Ok(name)
    }

    /// A version's document, if its file is there and holds what its name says.
    pub(crate) fn load(&self, version: &VersionRef) -> Result<ConfigDocument, String> {
        self.load_file(&version_file_name(version.version, &version.sha256), &version.sha256)
    }

    /// `HEAD` and its document. `Ok(None)` without a `HEAD`; an error when it does not hold.
    pub(crate) fn head(&self) -> Result<Option<(VersionHead, ConfigDocument)>, String> {
        let path = self.folder.join("HEAD");
        let bytes = match read_regular(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{} cannot be read ({error})", path.display())),
        };
        let head: VersionHead = serde_json::from_slice(&bytes)
            .map_err(|_| format!("{} is not what botops wrote", path.display()))?;
        let loaded = self.load_file(&head.file, &head.sha256);
        let document = loaded.or_else(|problem| self.restore_version(&head, &problem))?;
        Ok(Some((head, document)))
    }

    /// The committed document from `current.json`, its copy, when that has the hash that `HEAD` says; the version's file
    /// is put back from it.
    fn restore_version(&self, head: &VersionHead, problem: &str) -> Result<ConfigDocument, String> {
        let copy = self.load_file("current.json", &head.sha256).map_err(|_| problem.to_owned())?;
        let path = self.folder.join(&head.file);
        match replace(&path, copy.text.as_bytes(), 0o440, "config.version") {
            Ok(()) => tracing::warn!("{problem}; it is put back from config/current.json"),
            Err(error) => {
                let path = path.display();
                tracing::error!("{problem}; {path} cannot be put back from config/current.json: {error}");
            }
        }
        Ok(copy)
    }

    /// The newest version that `current.json`, the copy of the committed document, is a copy of.
    pub(crate) fn find_copied_version(&self) -> Option<(VersionRef, ConfigDocument)> {
        let text = read_regular_text(&self.folder.join("current.json")).ok()?;
        let document = ConfigDocument::read(text).ok()?;
        let versions = self.files().ok()?.into_iter().map(|(version, _)| document.as_version(version));
        let same = versions.filter(|version| self.load(version).is_ok());
        let newest = same.max_by_key(|version| version.version)?;
        Some((newest, document))
    }

    /// Makes a version the one the bot boots from. The rename is the commit point.
    pub(crate) fn commit(&self, head: &VersionHead, document: &ConfigDocument) -> io::Result<()> {
        self.write_head(head, document, "config.head")
    }

    /// As [`Self::commit`], for the version that was there before, when a commit failed halfway.
    pub(crate) fn put_back(&self, head: &VersionHead, document: &ConfigDocument) -> io::Result<()> {
        self.write_head(head, document, "config.restore")
    }

    fn write_head(&self, head: &VersionHead, document: &ConfigDocument, point: &str) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(head).map_err(io::Error::other)?;
        replace(&self.folder.join("HEAD"), &bytes, 0o640, point)?;
        // For bots that read one fixed path. It follows HEAD and decides nothing.
        if let Err(error) =
            replace(&self.folder.join("current.json"), document.text.as_bytes(), 0o640, "config.current")
        {
            tracing::warn!("config/current.json could not follow HEAD: {error}");
        }
        Ok(())
    }

    /// The highest version a file was ever made for.
    pub(crate) fn highest(&self) -> io::Result<u64> {
        Ok(self.files()?.into_iter().map(|(version, _)| version).max().unwrap_or(0))
    }

    /// Removes files of versions above every one in `known`: an unfinished change left them. Those below are kept: a
    /// store that was lost knows nothing of them, and they are what a person would go back to.
    pub(crate) fn collect_orphans(&self, known: &[u64]) -> io::Result<usize> {
        let Some(highest) = known.iter().max() else { return Ok(0) };
        let mut count = 0;
        for (version, path) in self.files()? {
            if version > *highest {
                fs::remove_file(path)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Removes a version's file.
    pub(crate) fn remove(&self, version: &VersionRef) -> io::Result<()> {
        match fs::remove_file(self.folder.join(version_file_name(version.version, &version.sha256))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn load_file(&self, name: &str, sha: &str) -> Result<ConfigDocument, String> {
        let plain = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain {
            return Err("HEAD names a file outside its folder".to_owned());
        }
        let path = self.folder.join(name);
        let text = read_regular_text(&path)
            .map_err(|error| format!("{} cannot be read ({error})", path.display()))?;
        if sha256_hex(text.as_bytes()) != sha {
            return Err(format!("{} does not have the hash it was stored with", path.display()));
        }
        ConfigDocument::read(text).map_err(|_| format!("{name} is not JSON"))
    }

    fn files(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.folder.join("versions"))? {
            let path = entry?.path();
            let version = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.split_once('-'))
                .and_then(|(number, _)| number.parse().ok());
            files.extend(version.map(|version| (version, path)));
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::configs::document::DEFAULT_DOCUMENT;
    use crate::configs::versions::power_loss::after_power_loss;
    use botops_core::durable_file;

    fn head(version: u64, document: &ConfigDocument, file: String) -> VersionHead {
        VersionHead { version, sha256: document.sha256.clone(), file, txn: "t".to_owned(), at: Utc::now() }
    }

    #[test]
    fn a_stored_version_comes_back_byte_for_byte_and_head_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let files = VersionFiles::open(folder.path());
        assert_eq!(files.head(), Ok(None));
        let document = ConfigDocument::read(DEFAULT_DOCUMENT.to_owned()).unwrap();
        let file = files.store(1, &document).unwrap();
        files.commit(&head(1, &document, file), &document).unwrap();
        let (head, loaded) = files.head().unwrap().unwrap();
        assert_eq!((head.version, loaded.text.as_str()), (1, DEFAULT_DOCUMENT));
        assert_eq!(files.highest().unwrap(), 1);
    }

    #[test]
    fn a_changed_version_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let files = VersionFiles::open(folder.path());
        let document = ConfigDocument::read(DEFAULT_DOCUMENT.to_owned()).unwrap();
        let file = files.store(1, &document).unwrap();
        files.commit(&head(1, &document, file.clone()), &document).unwrap();
        let path = folder.path().join(file);
        fs::remove_file(&path).unwrap();
        let changed = DEFAULT_DOCUMENT.replace("5000", "9000");
        fs::write(&path, &changed).unwrap();
        assert_eq!(files.head().unwrap().unwrap().1.text, DEFAULT_DOCUMENT, "its copy still holds");
        assert_eq!(fs::read_to_string(&path).unwrap(), DEFAULT_DOCUMENT, "and puts it back");
        fs::remove_file(&path).unwrap();
        fs::write(&path, &changed).unwrap();
        fs::write(folder.path().join("current.json"), &changed).unwrap();
        assert!(files.head().unwrap_err().contains("hash"));
    }

    #[test]
    fn what_an_unfinished_write_left_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let files = VersionFiles::open(folder.path());
        let document = ConfigDocument::read(DEFAULT_DOCUMENT.to_owned()).unwrap();
        files.store(1, &document).unwrap();
        files.store(2, &document).unwrap();
        fs::write(folder.path().join("HEAD.tmp"), "half").unwrap();
        VersionFiles::open(folder.path());
        assert!(!folder.path().join("HEAD.tmp").exists());
        assert_eq!(files.collect_orphans(&[1]).unwrap(), 1);
        assert_eq!(files.highest().unwrap(), 1);
    }

    /// Every folder that the machine's power could leave behind in the middle of a commit, and what `HEAD` is there.
    fn heads_after_power_loss(without_sync: bool) -> Vec<(bool, Result<u64, String>)> {
        let folder = tempfile::tempdir().unwrap();
        let files = VersionFiles::open(folder.path());
        let old = ConfigDocument::read(DEFAULT_DOCUMENT.to_owned()).unwrap();
        let file = files.store(1, &old).unwrap();
        files.commit(&head(1, &old, file), &old).unwrap();
        let new = ConfigDocument::read(DEFAULT_DOCUMENT.replace("5000", "4000")).unwrap();
        let (name, mut steps) = durable_file::recorded(folder.path(), || {
            let file = files.store(2, &new).unwrap();
            files.commit(&head(2, &new, file.clone()), &new).unwrap();
            file
        });
        assert!(name.ends_with(".json"));
        if without_sync {
            steps.retain(|step| !matches!(step, durable_file::FileStep::Synced(_)));
        }
        let inspect = |whole: bool, left: &Path| {
            let files = VersionFiles::open(left);
            (whole, files.head().and_then(|head| head.map(|(head, _)| head.version).ok_or("none".to_owned())))
        };
        // The folder before the commit is what the model begins with.
        let before = tempfile::tempdir().unwrap();
        let files = VersionFiles::open(before.path());
        let file = files.store(1, &old).unwrap();
        files.commit(&head(1, &old, file), &old).unwrap();
        after_power_loss(before.path(), &steps, inspect)
    }

    #[test]
    fn a_loss_of_power_leaves_the_old_head_or_the_new_one_and_never_half_of_either() {
        let heads = heads_after_power_loss(false);
        assert!(heads.len() > 40, "{}", heads.len());
        for (whole, head) in &heads {
            let version = head.as_ref().unwrap();
            assert!(matches!(version, 1 | 2), "{version}");
            assert!(!whole || *version == 2, "what was acknowledged is there");
        }
        for version in [1, 2] {
            assert!(heads.iter().any(|(_, head)| head == &Ok(version)), "both sides are seen");
        }
        // The model would find a missing sync of a file.
        assert!(heads_after_power_loss(true).iter().any(|(_, head)| head.is_err()));
    }
}
