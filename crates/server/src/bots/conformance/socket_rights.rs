//! Who else could give commands: the rights of the socket and of its folder.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::findings::ConformanceFinding;

/// The bits of a mode by which its group, and everybody else, may write or enter.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const GROUP_ENTERS: u32 = 0o010;
const OTHERS_ENTER: u32 = 0o001;

/// What is wrong with the rights of a socket. A rights question that cannot be asked gives nothing.
pub(super) fn check_rights(socket: &Path) -> Vec<ConformanceFinding> {
    let folder = match socket.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (Ok(file), Ok(around)) = (std::fs::metadata(socket), std::fs::metadata(folder)) else {
        return Vec::new();
    };
    let (own, outer) = (file.permissions().mode(), around.permissions().mode());
    let mut found = Vec::new();
    let modes = format!("socket {:o}, folder {:o}", own & 0o777, outer & 0o7777);
    let tighten = format!("chmod 700 {} and create the socket under umask 077.", folder.display());
    if own & OTHERS_WRITE != 0 && outer & OTHERS_ENTER != 0 {
        let remedy = format!("Every user of this machine may give commands to the bot: {tighten}");
        found.push(ConformanceFinding::fault("open_to_others", "socket", &remedy).got(&modes));
    } else if own & GROUP_WRITES != 0 && outer & GROUP_ENTERS != 0 {
        let remedy = format!("Everybody in its group may give commands to the bot: {tighten}");
        found.push(ConformanceFinding::warning("open_to_group", "socket", &remedy).got(&modes));
    } else if outer & (GROUP_ENTERS | OTHERS_ENTER) != 0 {
        let remedy = format!("Only the socket's own rights keep other users out: {tighten}");
        found.push(ConformanceFinding::hint("folder_open", "socket", &remedy).got(&modes));
    }
    let is_writable_by_others = outer & OTHERS_WRITE != 0 && outer & 0o1000 == 0;
    if around.uid() != file.uid() || is_writable_by_others {
        let remedy =
            "Another user may put a socket of theirs in its place: give it a folder of its own (mode 700).";
        found.push(ConformanceFinding::warning("folder_of_others", "socket", remedy).got(&modes));
    }
    found
}
