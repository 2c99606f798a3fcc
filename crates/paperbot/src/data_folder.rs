//! The data folder: private to its owner, locked by one bot at a time, with a pid file of the bot that uses it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use botops_core::durable_file;
use serde_json::json;

/// Makes the folder with mode 0700 unless it exists.
pub(crate) fn make_private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Locks the data folder until the returned file is closed: two bots on one ledger would damage it.
pub(crate) fn lock_data_folder(data: &Path) -> Result<File, String> {
    let path = data.join("paperbot.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
    let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    match locked {
        Ok(()) => Ok(file),
        Err(_) => Err(format!("another bot uses {}; stop it, or choose another --data-dir", data.display())),
    }
}

/// Writes the process id, its start time and its socket, by which botops finds and verifies the process.
pub(crate) fn write_pid_file(path: &Path, boot_epoch: &str, socket: &Path) -> io::Result<()> {
    // Field 22 (start time), counted after the last `)`: the name before it may hold spaces and brackets.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let start_time = after_name.split_whitespace().nth(19).and_then(|text| text.parse::<u64>().ok());
    let socket = fs::canonicalize(socket).unwrap_or_else(|_| socket.to_owned());
    let content = json!({"pid": std::process::id(), "start_time": start_time, "boot_epoch": boot_epoch, "socket": socket});
    durable_file::replace(path, content.to_string().as_bytes(), durable_file::PRIVATE, "paperbot")
}
