//! An append-only file of lines that outlives a kill.
//!
//! An append returns only after the bytes are on disk; a tail torn by a crash is cut off at the next start. A failed
//! append is taken back to the length that is known to be good.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use botops_core::durable_file::{self, sync_folder_of};
use botops_core::regular_file::open_regular;

/// A file of lines that only grows.
#[derive(Debug)]
pub(crate) struct AppendOnlyFile {
    path: PathBuf,
    file: File,
    /// The length in bytes up to which the file is known to hold whole lines.
    good: u64,
    /// A failed append may have left bytes after that length; the next append cuts them off first.
    dirty: bool,
}

/// What the file held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct FoundLines {
    /// The whole lines, without their ends. Bytes in the middle that are not UTF-8 are replaced.
    pub lines: Vec<String>,
    /// What was cut off: bytes after the last line end, or a last line that was not UTF-8.
    pub torn: Vec<u8>,
}

impl AppendOnlyFile {
    /// Opens or creates the file, cuts off a torn tail, and returns its lines.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, FoundLines)> {
        let mut file =
            open_regular(path, OpenOptions::new().read(true).append(true).create(true).mode(0o600))?;
        let mut found = FoundLines::default();
        let mut good = 0;
        let mut reader = BufReader::new(&mut file);
        loop {
            let mut line = Vec::new();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            let whole = line.pop_if(|last| *last == b'\n').is_some();
            match String::from_utf8(line) {
                Ok(text) if whole => {
                    found.lines.push(text);
                    good += u64::try_from(read).unwrap_or(u64::MAX);
                }
                Ok(text) => found.torn = text.into_bytes(),
                Err(bad) if reader.fill_buf()?.is_empty() => found.torn = bad.into_bytes(),
                Err(bad) => {
                    found.lines.push(String::from_utf8_lossy(bad.as_bytes()).into_owned());
                    good += u64::try_from(read).unwrap_or(u64::MAX);
                }
            }
        }
        let mut appender = Self { path: path.to_owned(), file, good, dirty: !found.torn.is_empty() };
        appender.cut_to_good_length()?;
        sync_folder_of(path)?;
        Ok((appender, found))
    }

    /// Cuts off the last line that [`AppendOnlyFile::open`] returned, for a caller that could not parse it.
    pub(crate) fn cut_last(&mut self, line: &str) -> io::Result<()> {
        self.good -= u64::try_from(line.len()).unwrap_or(u64::MAX) + 1;
        self.dirty = true;
        self.cut_to_good_length()
    }

    /// Appends whole lines, each with its line end, and returns when they are on disk.
    ///
    /// After a failure the file is restored to what it was, at once or, if that fails too, before the next append.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.cut_to_good_length()?;
        self.stay_in_place()?;
        self.dirty = true;
        if let Err(error) = self.file.write_all(lines).and_then(|()| self.file.sync_data()) {
            // The first of the lines may be complete: the next start would take it for recorded, although it was not.
            let _ = self.cut_to_good_length();
            return Err(error);
        }
        self.dirty = false;
        self.good += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Whether lines can be written: a page is, and is cut off again. It has no line end, so one that stays is a torn tail.
    ///
    /// # Errors
    /// What an append fails with.
    pub(crate) fn try_room(&mut self) -> io::Result<()> {
        self.cut_to_good_length()?;
        self.stay_in_place()?;
        self.dirty = true;
        let written = self.file.write_all(&[b' '; 4_096]).and_then(|()| self.file.sync_data());
        self.cut_to_good_length()?;
        written
    }

    /// Makes sure that the path leads to this very file and that it has what was written: lines that go into a deleted
    /// file, or behind a hole, are lost with the next start. A file that was deleted is written anew.
    ///
    /// # Errors
    /// That it was cut, or that something else is in its place.
    pub(crate) fn stay_in_place(&mut self) -> io::Result<()> {
        let ours = self.file.metadata()?;
        if ours.len() < self.good {
            return Err(io::Error::other(
                "it was cut while the bot runs; stop the bot and put it back from a backup",
            ));
        }
        match fs::symlink_metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => Ok(()),
            Ok(_) => Err(io::Error::other(
                "something else was put in its place while the bot runs; restart the bot",
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write_anew(),
            Err(error) => Err(error),
        }
    }

    fn write_anew(&mut self) -> io::Result<()> {
        let mut content = vec![0; usize::try_from(self.good).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut content, 0)?;
        durable_file::replace(&self.path, &content, durable_file::PRIVATE, "paperbot")?;
        self.file = open_regular(&self.path, OpenOptions::new().read(true).append(true))?;
        let path = self.path.display();
        tracing::warn!("{path} was deleted while the bot runs, and is written anew");
        Ok(())
    }

    fn cut_to_good_length(&mut self) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        self.file.set_len(self.good)?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.sync_all()?;
        self.dirty = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_tail_is_cut_off_and_the_file_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        fs::write(&path, b"one\ntwo\nthr").unwrap();
        let (mut appender, found) = AppendOnlyFile::open(&path).unwrap();
        assert_eq!(found.lines, ["one", "two"]);
        assert_eq!(found.torn, b"thr");
        appender.append(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }

    #[test]
    fn an_unreadable_last_line_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        fs::write(&path, b"one\n\0\0\0\n").unwrap();
        let (mut appender, found) = AppendOnlyFile::open(&path).unwrap();
        appender.cut_last(found.lines.last().unwrap()).unwrap();
        appender.append(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_file_that_was_deleted_comes_back_and_one_that_was_changed_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let (mut appender, _) = AppendOnlyFile::open(&path).unwrap();
        appender.append(b"one\n").unwrap();
        fs::remove_file(&path).unwrap();
        appender.append(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        fs::write(&path, "one\n").unwrap();
        assert!(appender.append(b"three\n").is_err());
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "one\ntwo\n").unwrap();
        assert!(appender.append(b"three\n").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
