//! Whether the disk has room for another change, checked before a write fails.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::inner::StoreInner;

/// Bytes that a change may need: its document, the copy, the record and the log. With less, the disk counts as full.
const MIN_FREE_BYTES: u64 = 1024 * 1024;

/// Checks whether anything can be recorded, and publishes the reason when that has changed.
pub(super) fn publish_trouble(inner: &StoreInner, failure: Option<&rusqlite::Error>) {
    let writes = inner.writes.load(Ordering::Relaxed);
    let folder = inner.fault.clone().or_else(|| folder_trouble(&inner.path));
    let now = folder.or_else(|| (!writes).then(|| "the store cannot be written".to_owned()));
    inner.trouble.send_if_modified(|published| {
        let changed = published.is_some() != now.is_some();
        match (&now, failure) {
            (Some(trouble), Some(error)) if changed => {
                tracing::error!(error.code = "SRV_002", "nothing can be recorded: {trouble}: {error}");
            }
            (Some(trouble), None) if changed => {
                tracing::error!(error.code = "SRV_002", "nothing can be recorded: {trouble}");
            }
            (None, _) if changed => tracing::info!("changes can be recorded again"),
            _ => {}
        }
        *published = now;
        changed
    });
}

/// Why no file can be made beside the store; `None` when it can.
///
/// A full disk does not show in the store's writes at once: SQLite's log accepts them as long as there is room in it.
fn folder_trouble(path: &Path) -> Option<String> {
    let disk = rustix::fs::statvfs(path.parent()?).ok()?;
    if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Some("the disk of the data folder is read-only".to_owned());
    }
    // Blocks reserved for root are of use to nobody else.
    let is_root = rustix::process::geteuid().is_root();
    let blocks = if is_root { disk.f_bfree } else { disk.f_bavail };
    let files = if is_root { disk.f_ffree } else { disk.f_favail };
    // A file system without a fixed number of blocks or inodes reports 0 of 0.
    let no_room = disk.f_blocks > 0 && blocks.saturating_mul(disk.f_frsize) < MIN_FREE_BYTES;
    let no_files = disk.f_files > 0 && files == 0;
    (no_room || no_files).then(|| "the disk of the data folder is full".to_owned())
}
