//! Every command and its answer, on disk before its first effect.
//!
//! A line is synced before a command does anything, and one with its answer afterwards. A command that was begun and has
//! no answer when the adapter starts ended in the middle of it: what it did is not known, and it is never begun again.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::awaited::AwaitedEffect;
use botops_contract::{CommandResult, Verb};
use botops_core::{durable_file, failpoints};

/// A command that is repeated after this many others is no longer recognised.
const KEPT_COMMANDS: usize = 1_000;

/// One command in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JournaledCommand {
    pub command_id: String,
    pub verb: Verb,
    /// When it was about to be carried out, or was answered without.
    pub at: DateTime<Utc>,
    /// Its answer; `None` while it is carried out, and for ever when the adapter ended meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<CommandResult>,
    /// What it was to bring about, as long as that was not seen and may still come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited: Option<AwaitedEffect>,
}

/// The commands of this adapter, over its restarts. The oldest leave when there are too many.
#[derive(Debug)]
pub(super) struct CommandJournal {
    path: PathBuf,
    file: File,
    by_id: HashMap<String, JournaledCommand>,
    oldest_first: VecDeque<String>,
    /// Lines in the file; it is written anew when it has far more than there are commands.
    lines: usize,
    /// A write failed: half a line may stand at the end, so the file is written anew before the next one.
    is_damaged: bool,
}

impl CommandJournal {
    /// Opens the journal, and makes it when it is missing. A last line that a power loss cut is left out.
    ///
    /// # Errors
    /// The error of the file system, or that a line other than the last cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let (mut by_id, mut oldest_first) = (HashMap::new(), VecDeque::new());
        for (index, line) in text.split_inclusive('\n').enumerate() {
            if !line.ends_with('\n') {
                break;
            }
            let command: JournaledCommand = serde_json::from_str(line).map_err(|error| {
                let problem = format!("line {} cannot be read: {error}", index + 1);
                io::Error::new(io::ErrorKind::InvalidData, problem)
            })?;
            keep(&mut by_id, &mut oldest_first, command);
        }
        let kept: Vec<_> = oldest_first.iter().filter_map(|id| by_id.get(id)).collect();
        let content = written(&kept)?;
        durable_file::replace(path, &content, durable_file::PRIVATE, "command_journal")?;
        let lines = oldest_first.len();
        Ok(Self {
            path: path.to_owned(),
            file: open_to_append(path)?,
            by_id,
            oldest_first,
            lines,
            is_damaged: false,
        })
    }

    /// The command of this id; `None` when it never came or is forgotten.
    pub(super) fn find(&self, command_id: &str) -> Option<&JournaledCommand> {
        self.by_id.get(command_id)
    }

    /// The commands whose effect was not seen yet, oldest first.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (&JournaledCommand, &AwaitedEffect)> {
        let known = self.oldest_first.iter().filter_map(|id| self.by_id.get(id));
        known.filter_map(|command| Some((command, command.awaited.as_ref()?)))
    }

    /// Remembers what could not be written down, as long as the adapter runs.
    pub(super) fn remember(&mut self, command: JournaledCommand) {
        keep(&mut self.by_id, &mut self.oldest_first, command);
    }

    /// Writes a command down, or its answer beside it. It is durable when this returns.
    ///
    /// # Errors
    /// The error of the file system; the command may be in the file and is not remembered.
    pub(super) fn write(&mut self, command: JournaledCommand) -> io::Result<()> {
        if self.is_damaged || self.lines > KEPT_COMMANDS * 4 {
            let kept: Vec<_> = self.oldest_first.iter().filter_map(|id| self.by_id.get(id)).collect();
            let content = written(&kept)?;
            durable_file::replace(&self.path, &content, durable_file::PRIVATE, "command_journal")?;
            self.file = open_to_append(&self.path)?;
            self.lines = self.oldest_first.len();
        }
        self.is_damaged = true;
        failpoints::write("command_journal.append")?;
        self.file.write_all(&written(&[&command])?)?;
        failpoints::stall("command_journal.sync");
        self.file.sync_data()?;
        self.is_damaged = false;
        self.lines += 1;
        keep(&mut self.by_id, &mut self.oldest_first, command);
        Ok(())
    }
}

fn keep(
    by_id: &mut HashMap<String, JournaledCommand>,
    oldest_first: &mut VecDeque<String>,
    command: JournaledCommand,
) {
    let id = command.command_id.clone();
    if by_id.insert(id.clone(), command).is_none() {
        oldest_first.push_back(id);
    }
    if oldest_first.len() > KEPT_COMMANDS
        && let Some(oldest) = oldest_first.pop_front()
    {
        by_id.remove(&oldest);
    }
}

fn written(commands: &[&JournaledCommand]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    for command in commands {
        serde_json::to_writer(&mut content, command)?;
        content.push(b'\n');
    }
    Ok(content)
}

fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(durable_file::PRIVATE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use botops_contract::CommandOutcome;

    fn command(id: &str, answered: bool) -> JournaledCommand {
        let result = answered.then(|| CommandResult {
            command_id: id.to_owned(),
            outcome: CommandOutcome::Done,
            reason_code: None,
            message: "freqtrade is paused".to_owned(),
            phase: None,
            phase_raw: None,
            trading_enabled: Some(false),
            exposure: None,
            at: None,
            replayed: false,
        });
        JournaledCommand {
            command_id: id.to_owned(),
            verb: Verb::Pause,
            at: Utc::now(),
            result,
            awaited: None,
        }
    }

    #[test]
    fn a_command_is_known_after_a_restart_with_its_answer_or_as_begun() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.jsonl");
        let mut journal = CommandJournal::open(&path).unwrap();
        journal.write(command("a", false)).unwrap();
        journal.write(command("a", true)).unwrap();
        journal.write(command("b", false)).unwrap();
        drop(journal);
        // A power loss in the middle of a line.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"command_id\":\"c\",\"ver").unwrap();
        let mut journal = CommandJournal::open(&path).unwrap();
        assert!(journal.find("a").unwrap().result.is_some());
        assert!(journal.find("b").unwrap().result.is_none());
        assert!(journal.find("c").is_none());
        journal.write(command("d", false)).unwrap();
        assert!(CommandJournal::open(&path).unwrap().find("d").is_some());
    }

    #[test]
    fn the_oldest_leave_and_the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.jsonl");
        let mut journal = CommandJournal::open(&path).unwrap();
        journal.lines = KEPT_COMMANDS * 4 + 1;
        journal.write(command("0", true)).unwrap();
        assert_eq!(journal.lines, 1);
        for number in 1..=KEPT_COMMANDS {
            keep(&mut journal.by_id, &mut journal.oldest_first, command(&number.to_string(), true));
        }
        assert!(journal.find("0").is_none() && journal.find("1").is_some());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.jsonl");
        fs::write(&path, "{}\n").unwrap();
        assert!(CommandJournal::open(&path).unwrap_err().to_string().contains("line 1"));
    }
}
