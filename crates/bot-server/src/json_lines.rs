//! A file of JSON lines, each on disk before it counts as written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use botops_core::durable_file::{self, PRIVATE};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A file that grows by whole lines.
#[derive(Debug)]
pub(crate) struct JsonLinesFile {
    file: File,
    length: u64,
}

impl JsonLinesFile {
    /// Opens the file and reads its lines. A last line that a kill cut is dropped.
    ///
    /// # Errors
    /// One sentence: the file cannot be used, or which line is not in its form.
    pub(crate) fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut rows = Vec::new();
        for (at, line) in text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let row = serde_json::from_slice(line).map_err(|error| {
                format!(
                    "line {} of {} is not understood ({error}): move the file away to begin anew",
                    at + 1,
                    path.display()
                )
            })?;
            rows.push(row);
        }
        let file = OpenOptions::new().create(true).append(true).mode(PRIVATE).open(path).map_err(failed)?;
        file.set_len(whole as u64).map_err(failed)?;
        Ok((Self { file, length: whole as u64 }, rows))
    }

    /// Replaces the file by one with these lines.
    ///
    /// # Errors
    /// One sentence; the file is what it was.
    pub(crate) fn replace<T: Serialize>(path: &Path, rows: &[T]) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let mut text = Vec::new();
        for row in rows {
            text.extend(line_of(row).map_err(failed)?);
        }
        durable_file::replace(path, &text, PRIVATE, "bot_server").map_err(failed)?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Self { file, length: text.len() as u64 })
    }

    /// Appends a line and syncs it.
    ///
    /// # Errors
    /// The error of the file system; nothing was written then.
    pub(crate) fn append<T: Serialize>(&mut self, row: &T) -> io::Result<()> {
        let text = line_of(row)?;
        if let Err(error) = self.file.write_all(&text).and_then(|()| self.file.sync_data()) {
            // A part of a line would damage the next one.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
impl JsonLinesFile {
    /// A file that takes no line, as one on a disk that is full.
    pub(crate) fn unwritable(path: &Path) -> Self {
        fs::write(path, "").unwrap();
        Self { file: File::open(path).unwrap(), length: 0 }
    }
}

fn line_of<T: Serialize>(row: &T) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(row)?;
    text.push(b'\n');
    Ok(text)
}
