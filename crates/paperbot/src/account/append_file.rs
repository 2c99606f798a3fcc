//! An append-only file of lines that outlives a kill.
//!
//! An append returns only after the bytes are on disk; a tail torn by a crash is cut off at the next start. A failed
//! append is taken back to the length that is known to be good.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use botops_core::durable_file::sync_folder_of;

/// A file of lines that only grows.
#[derive(Debug)]
pub(crate) struct AppendOnlyFile {
    file: File,
    /// The length in bytes up to which the file is known to hold whole lines.
    good: u64,
    /// A failed append may have left bytes after that length; the next append cuts them off first.
    dirty: bool,
}

/// What the file held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct FoundLines {
    /// The whole lines, without their ends.
    pub lines: Vec<String>,
    /// What was cut off: bytes after the last line end, or a last line that was not UTF-8.
    pub torn: Vec<u8>,
}

impl AppendOnlyFile {
    /// Opens or creates the file, cuts off a torn tail, and returns its lines.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, FoundLines)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
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
                Err(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is not UTF-8")),
            }
        }
        let mut appender = Self { file, good, dirty: !found.torn.is_empty() };
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
    use std::fs;

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
}
