//! The pid file of the bot that uses a data folder.

use std::fs;
use std::io;
use std::path::Path;

use botops_core::durable_file;
use serde_json::json;

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
