//! Files that outlive a kill: an append-only file of lines, and a file that is replaced as a whole.
//!
//! An append returns only after the bytes are on disk; a tail torn by a crash is cut off at the next start. Kept
//! from users: the length that is known to be good, to which a failed append is taken back. Deliberately absent:
//! buffering (a line that may be lost is worse than a slow one) and rotation (a ledger has one file).

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file of lines that only grows.
#[derive(Debug)]
pub(super) struct Appender {
    file: File,
    good: u64,
    dirty: bool,
}

/// What stood in the file when it was opened.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The whole lines, without their ends.
    pub lines: Vec<String>,
    /// Bytes after the last line end, or a last line that was no text: cut off.
    pub torn: Vec<u8>,
}

impl Appender {
    /// Opens or creates the file, cuts off a torn tail, and returns its lines.
    pub fn open(path: &Path) -> io::Result<(Self, Found)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut found = Found::default();
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
        appender.mend()?;
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
        }
        Ok((appender, found))
    }

    /// Takes back the last line that [`Appender::open`] found; its user could not read it.
    pub fn cut_last(&mut self, line: &str) -> io::Result<()> {
        self.good -= u64::try_from(line.len()).unwrap_or(u64::MAX) + 1;
        self.dirty = true;
        self.mend()
    }

    /// Adds whole lines, each with its end, and returns when they are on disk. After a failure the file is as
    /// before, at once or, where even that fails, when the next append begins.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.mend()?;
        self.dirty = true;
        if let Err(error) = self.file.write_all(lines).and_then(|()| self.file.sync_data()) {
            // The first of the lines may be whole: a start that found them would believe what was refused.
            let _ = self.mend();
            return Err(error);
        }
        self.dirty = false;
        self.good += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn mend(&mut self) -> io::Result<()> {
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

/// Replaces a file as a whole: whoever opens it sees the old or the new content, whatever happens in between.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = PathBuf::from(format!("{}.new", path.display()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        // Half a file takes room on a disk that has none.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_tail_is_cut_off_and_the_file_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        fs::write(&path, b"one\ntwo\nthr").unwrap();
        let (mut appender, found) = Appender::open(&path).unwrap();
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
        let (mut appender, found) = Appender::open(&path).unwrap();
        appender.cut_last(found.lines.last().unwrap()).unwrap();
        appender.append(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
