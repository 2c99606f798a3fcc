//! How the bot's process was started, as the process table shows it.

use serde::{Deserialize, Serialize};

use botops_core::redact;

/// The longest command line that is shown, in characters.
const COMMAND_SHOWN: usize = 400;

/// How a boot of the bot was started, as its process showed while it lived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StartedAs {
    /// A unit of systemd.
    Unit(String),
    /// A command line as a shell takes it, without what looks like a secret.
    Command(String),
}

impl StartedAs {
    /// What a living process shows; `None` where nothing of it can be seen.
    pub(super) fn of(pid: u32) -> Option<Self> {
        unit_of(pid).map(Self::Unit).or_else(|| command_of(pid).map(Self::Command))
    }
}

/// The unit of systemd that a process runs in; `None` where it is none of its own.
fn unit_of(pid: u32) -> Option<String> {
    let unit = |of: &str| {
        let groups = std::fs::read_to_string(format!("/proc/{of}/cgroup")).ok()?;
        unit_in(&groups).map(str::to_owned)
    };
    let own = unit("self");
    unit(&pid.to_string()).filter(|unit| own.as_ref() != Some(unit))
}

/// The service that the text of a `cgroup` file names last; that of a user's session manager is none.
fn unit_in(groups: &str) -> Option<&str> {
    let last = groups.lines().filter_map(|line| line.rsplit('/').next()).next_back()?;
    let is_unit =
        last.strip_suffix(".service").is_some_and(|name| !name.is_empty() && !name.starts_with("user@"));
    is_unit.then_some(last)
}

/// The command line of a process as a shell takes it, with the folder it runs in; without what looks like a secret.
fn command_of(pid: u32) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| quoted(&String::from_utf8_lossy(word)))
        .collect();
    if words.is_empty() {
        return None;
    }
    let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).ok();
    let folder = folder.map(|folder| format!("cd {} && ", quoted(&folder.to_string_lossy())));
    let whole = format!("{}{}", folder.unwrap_or_default(), words.join(" "));
    Some(botops_core::text::clean(&redact::line(&whole), COMMAND_SHOWN))
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c));
    if is_plain && !word.is_empty() { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_last_service_of_the_control_group() {
        assert_eq!(unit_in("0::/system.slice/freqtrade.service\n"), Some("freqtrade.service"));
        assert_eq!(
            unit_in("0::/user.slice/user-1000.slice/user@1000.service/app.slice/my-bot.service"),
            Some("my-bot.service")
        );
        assert_eq!(unit_in("0::/user.slice/user-1000.slice/user@1000.service\n"), None);
        assert_eq!(unit_in("0::/user.slice/user-1000.slice/session-2.scope\n"), None);
        assert_eq!(unit_in("0::/\n"), None);
    }

    #[test]
    fn a_command_is_written_as_a_shell_reads_it() {
        assert_eq!(quoted("/usr/bin/python3"), "/usr/bin/python3");
        assert_eq!(quoted("my bot's.py"), "'my bot'\\''s.py'");
    }
}
