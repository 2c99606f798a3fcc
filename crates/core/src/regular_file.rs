//! Opening a file of a data folder without waiting for it.
//!
//! In the place of a file may stand something else: after a restore, a mistyped mount or a mistake a folder, a device
//! or a FIFO. Opening a FIFO waits until somebody opens its other end, which would stop a start for good, so every
//! open here does not wait, and whatever is no regular file is an error that says so.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// `O_NONBLOCK`: an open returns at once. Reads and writes of a regular file are the same with it.
const WITHOUT_WAITING: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Opens with these options; anything that is not a regular file is refused.
///
/// # Errors
/// The error of the file system, or that the path is not a regular file.
pub fn open_regular(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let file = options.clone().custom_flags(WITHOUT_WAITING).open(path).map_err(|error| {
        // ENXIO is what a FIFO that nobody reads answers to a writer; its own text names a device.
        if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) {
            not_regular()
        } else {
            error
        }
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

/// The bytes of a regular file.
///
/// # Errors
/// The error of the file system, or that the path is not a regular file.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path, OpenOptions::new().read(true))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a regular file.
///
/// # Errors
/// The error of the file system, that the path is not a regular file, or that its content is not UTF-8.
pub fn read_regular_text(path: &Path) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read_regular(path)?).map_err(not_text)
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_fifo_nor_a_folder_is_waited_for_or_read() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let mut appending = OpenOptions::new();
        appending.append(true).create(true);
        for path in [fifo.as_path(), folder.path()] {
            assert!(read_regular(path).is_err());
            assert!(open_regular(path, &appending).is_err());
        }
        assert!(read_regular(&fifo).unwrap_err().to_string().contains("not a regular file"));
    }
}
