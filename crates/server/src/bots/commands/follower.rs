//! Asks the bot what became of commands whose effect is not known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::ending::{CommandEnding, ending_by_state, ending_by_status, state_shows};
use super::open_commands::{FollowedCommand, OpenCommands};
use crate::bots::call_error::CallError;
use crate::bots::calls::BotCalls;
use crate::bots::link::BotLink;
use crate::bots::snapshot::BotSnapshot;

/// A command is followed for this long; then a person has to look.
const GIVE_UP: Duration = Duration::from_secs(3_600);
/// Follows the open commands of one bot; cloning is cheap.
#[derive(Debug, Clone)]
pub(in crate::bots) struct CommandFollower {
    link: Arc<BotLink>,
    calls: BotCalls,
    open: Arc<OpenCommands>,
}

impl CommandFollower {
    pub(crate) fn new(link: Arc<BotLink>, calls: BotCalls, open: Arc<OpenCommands>) -> Self {
        Self { link, calls, open }
    }

    /// Asks about open commands as they come due, until the stop.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        loop {
            let due = self.open.next_due();
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.open.wait_for_more() => continue,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
            }
            for followed in self.open.take_due() {
                let ending = tokio::select! {
                    () = stopping.cancelled() => return,
                    ending = self.ask(&followed) => ending,
                };
                if let Some(ending) = ending {
                    self.open.end(&followed.command.sent_id, &ending);
                }
            }
        }
    }

    /// How the command ended, if that is known by now.
    async fn ask(&self, followed: &FollowedCommand) -> Option<CommandEnding> {
        let command = &followed.command;
        let path = format!("commands/{}", path_segment(&command.sent_id));
        let age = followed.age();
        let late = age > GIVE_UP;
        let asked = boot_epoch_of(&self.link.snapshot.load());
        let status = self.calls.command_status(&path).await;
        let snapshot = self.link.snapshot.load();
        let ending = match status {
            // Which of two starts answered cannot be told: the next answer is of one.
            Ok(_) if boot_epoch_of(&snapshot) != asked => None,
            Ok(status) => ending_by_status(&snapshot, command, age, status),
            Err(CallError::NotCapable(_)) => {
                return ending_by_state(&snapshot, command, followed.since, age, late);
            }
            Err(_) => None,
        };
        if ending.is_none() && late {
            let why = "the bot did not say for an hour".to_owned();
            return Some(CommandEnding::StillUnknown(why, state_shows(&snapshot, command)));
        }
        ending
    }
}

fn boot_epoch_of(snapshot: &BotSnapshot) -> Option<String> {
    snapshot.hello.as_ref().and_then(|hello| hello.boot_epoch.clone())
}

/// An id as one segment of a path.
fn path_segment(id: &str) -> String {
    let mut segment = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}
