//! The ways in which a file is damaged.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::kit::full_disk;

/// One way in which a file is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    Missing,
    Empty,
    /// Only the first half is left.
    Cut,
    /// One bit in the middle is another one.
    Flipped,
    /// It is there and cannot be read. Tests run as root, whom no mode stops, so a folder stands in its place.
    Unreadable,
    /// A FIFO stands in its place, which nobody writes or reads.
    Fifo,
    /// It belongs to another user. Whether that user may read it is up to the modes.
    OtherOwner,
    /// It is whole, and nothing more can be written into it or in its place: the disk has no room.
    Full,
}

/// Every way.
pub(super) const ALL: &[Damage] = &[
    Damage::Missing,
    Damage::Empty,
    Damage::Cut,
    Damage::Flipped,
    Damage::Unreadable,
    Damage::Fifo,
    Damage::OtherOwner,
    Damage::Full,
];

impl Damage {
    /// How the page says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::Cut => "cut short",
            Self::Flipped => "a bit changed",
            Self::Unreadable => "unreadable",
            Self::Fifo => "a FIFO",
            Self::OtherOwner => "of another owner",
            Self::Full => "on a full disk",
        }
    }

    /// The environment of a program whose files in `folder` are damaged so.
    pub(super) fn settings(self, folder: &Path) -> Vec<(&'static str, String)> {
        if self == Self::Full { full_disk::settings(&control(folder)).into() } else { Vec::new() }
    }

    /// Damages the file in its place. A changed bit is written into the file that is open elsewhere; a disk is full for a program
    /// that was started with [`Damage::settings`] of this folder.
    pub(super) fn strike(self, folder: &Path, path: &Path) {
        match self {
            Self::Missing => remove(path),
            Self::Empty => fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap(),
            Self::Cut => {
                let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2).unwrap();
            }
            Self::Flipped => {
                let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
                let middle = file.metadata().unwrap().len() / 2;
                let mut byte = [0];
                if file.read_at(&mut byte, middle).unwrap() == 1 {
                    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
                }
            }
            Self::Unreadable => {
                // The program may write the file anew in between.
                while fs::create_dir(path).is_err() {
                    remove(path);
                }
                fs::write(path.join("in the way"), "").unwrap();
            }
            Self::Fifo => {
                let made = path.with_extension("fifo");
                make_fifo(&made);
                fs::rename(made, path).unwrap();
            }
            Self::Full => full_disk::fill(&control(folder), path),
            Self::OtherOwner => {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
                // Only root may give a file away; without that there is nothing to see.
                let _ = chown(path, Some(12_345), Some(12_345));
            }
        }
    }
}

/// What says for which files the disk is full.
fn control(folder: &Path) -> PathBuf {
    folder.join("full-disk")
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        _ => {}
    }
}

fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo is there");
    assert!(made.success());
}
