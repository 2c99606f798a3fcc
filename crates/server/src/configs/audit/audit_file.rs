//! The audit file itself: lines appended durably, a torn end cut off, lines found by number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::Value;

use super::audit_chain::{self, AuditKey, ChainWalk};
use botops_core::failpoints;
use botops_core::regular_file::open_regular;

/// The open file, with where each of its lines begins.
#[derive(Debug)]
pub(super) struct AuditFile {
    file: File,
    length: u64,
    /// The number of the last line in the file.
    last_seq: u64,
    /// The number of the first line in the file.
    first_seq: u64,
    /// Where each line begins; lines behind a damaged one are not among them.
    offsets: Vec<u64>,
}

/// Bytes of the file that hold whole lines, and how many lines follow them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuditLineRange {
    pub from: u64,
    pub to: u64,
    pub lines_after: usize,
}

impl AuditFile {
    /// Opens or makes the file, and says what it holds.
    pub(crate) fn open(path: &Path, key: &AuditKey) -> io::Result<(Self, ChainWalk)> {
        let mut file = open_for_append(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let walk = audit_chain::walk_lines(key, &bytes);
        let opened = Self {
            file,
            length: bytes.len() as u64,
            last_seq: walk.last_seq(),
            first_seq: walk.first_seq,
            offsets: walk.offsets.clone(),
        };
        Ok((opened, walk))
    }

    /// Stands in for a file that cannot be used: it has no line, and what is written into it is refused before.
    pub(crate) fn unusable() -> io::Result<Self> {
        let file = File::open("/dev/null")?;
        Ok(Self { file, length: 0, last_seq: 0, first_seq: 1, offsets: Vec::new() })
    }

    /// The number of the last line in the file.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Writes those of the lines that the file does not hold yet, durable on return.
    pub(crate) fn append(&mut self, pending: &[(u64, String)]) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut offsets = Vec::new();
        let mut last = self.last_seq;
        for (seq, line) in pending.iter().filter(|(seq, _)| *seq > self.last_seq) {
            offsets.push(self.length + bytes.len() as u64);
            bytes.extend_from_slice(line.as_bytes());
            last = *seq;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let half = bytes.len() / 2;
        let (first, second) = bytes.split_at(half);
        let written = self.file.write_all(first).and_then(|()| {
            failpoints::point("audit.half");
            failpoints::write("audit.write")?;
            self.file.write_all(second)?;
            failpoints::write("audit.sync")?;
            self.file.sync_data()
        });
        if let Err(error) = written {
            // The next append, or the next start, finds a whole file again.
            let _ = self.cut(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        self.last_seq = last;
        self.offsets.extend(offsets);
        Ok(())
    }

    /// Cuts off what follows the last good line; false when there is nothing to cut.
    pub(crate) fn cut_torn_end(&mut self, good: u64) -> io::Result<bool> {
        let is_torn = good < self.length;
        if is_torn {
            self.cut(good)?;
        }
        Ok(is_torn)
    }

    /// Renames the file, and goes on with an empty one in its place. `pending` is what was queued for the old one,
    /// and `last_seq` the number after which the new one goes on.
    pub(crate) fn put_aside(
        &mut self,
        path: &Path,
        aside: &Path,
        pending: &[(u64, String)],
        last_seq: u64,
    ) -> io::Result<()> {
        for (_, line) in pending {
            self.file.write_all(line.as_bytes())?;
        }
        self.file.sync_data()?;
        fs::rename(path, aside)?;
        let file = open_for_append(path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        *self = Self { file, length: 0, last_seq, first_seq: last_seq + 1, offsets: Vec::new() };
        Ok(())
    }

    /// Where at most `limit` lines with a number above `after` stand; `None` when there are none.
    pub(crate) fn lines_after(&self, after: u64, limit: usize) -> Option<AuditLineRange> {
        let skip = after.saturating_add(1).saturating_sub(self.first_seq);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.offsets.len());
        let until = skip.saturating_add(limit).min(self.offsets.len());
        let from = self.offsets.get(skip).copied()?;
        let to = self.end_of(until)?;
        Some(AuditLineRange { from, to, lines_after: self.offsets.len() - until })
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_data()?;
        self.length = length;
        Ok(())
    }

    fn end_of(&self, count: usize) -> Option<u64> {
        if count == self.offsets.len() { Some(self.length) } else { self.offsets.get(count).copied() }
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    open_regular(path, OpenOptions::new().read(true).append(true).create(true).mode(0o600))
}

/// The records in a part of the file. Reads from the disk.
pub(super) fn read_records(path: &Path, range: AuditLineRange) -> io::Result<Vec<Value>> {
    let bytes = read_range(path, range.from, range.to)?;
    Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

fn read_range(path: &Path, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(to.saturating_sub(from)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
