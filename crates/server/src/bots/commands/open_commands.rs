//! The commands of one bot whose effect is not known, kept over a restart of botops.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::Value;
use tokio::sync::Notify;

use super::ending::CommandEnding;
use super::ending_event::{abandoned_event, ending_event};
use super::late_ending::{late_ending, nothing_done_because, operation_of};
use super::model::{CommandAsker, OpenCommand};
use crate::bots::operator_commands::OperatorCommands;
use crate::bots::operator_pause::BotStart;
use crate::change_keys::ChangeKeys;
use crate::events::Events;
use crate::store::{Store, get_value, put_value};
use botops_contract::{BotId, CommandResult};
use botops_core::error::Error;

/// The wait before the bot is first asked; it doubles with each question.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait between two questions.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// More open commands than these are not followed: the oldest is left to a person.
const MAX_OPEN: usize = 200;
/// Of so many commands it is remembered to which start of the bot they were given: bots remember as many ids.
const MAX_GIVEN: usize = 1_000;

/// The open commands of one bot.
#[derive(Debug)]
pub(in crate::bots) struct OpenCommands {
    key: String,
    store: Store,
    events: Events,
    keys: ChangeKeys,
    operator: Arc<OperatorCommands>,
    followed: Mutex<Vec<FollowedCommand>>,
    given: Mutex<GivenCommands>,
    added: Notify,
}

/// To which start of the bot the newest commands were given, by their ids; the oldest come first.
#[derive(Debug, Default)]
struct GivenCommands(VecDeque<(String, Option<String>)>);

impl GivenCommands {
    fn add(&mut self, command: &OpenCommand) {
        if self.0.len() >= MAX_GIVEN {
            self.0.pop_front();
        }
        // The first start that was given it may have carried it out.
        if self.boot_epoch_of(&command.sent_id).is_none() {
            self.0.push_back((command.sent_id.clone(), command.boot_epoch.clone()));
        }
    }

    fn boot_epoch_of(&self, sent_id: &str) -> Option<Option<String>> {
        self.0.iter().find(|(id, _)| id == sent_id).map(|(_, boot_epoch)| boot_epoch.clone())
    }
}

#[derive(Debug, Clone)]
pub(super) struct FollowedCommand {
    pub command: OpenCommand,
    pub since: Instant,
    tries: u32,
    /// When the bot is asked; nothing while the command itself is under way.
    due: Option<Instant>,
    /// When this run of botops knew of it first, and how old it was then by the wall clock.
    known_since: (Instant, Duration),
}

impl FollowedCommand {
    fn new(command: OpenCommand, due: Option<Instant>) -> Self {
        let now = Instant::now();
        let age = (Utc::now() - command.given_at).to_std().unwrap_or_default();
        Self { command, since: now, tries: 0, due, known_since: (now, age) }
    }

    /// How long ago it was given. No step of the wall clock counts while this run of botops knows of it.
    pub(crate) fn age(&self) -> Duration {
        let (since, age) = self.known_since;
        age.saturating_add(since.elapsed())
    }
}

impl OpenCommands {
    /// Reads what an earlier run of botops left open.
    pub(crate) async fn load(
        bot: &BotId,
        store: Store,
        events: Events,
        keys: ChangeKeys,
        operator: Arc<OperatorCommands>,
    ) -> Result<Self, Error> {
        let key = format!("open_commands:{bot}");
        let asked = key.clone();
        let stored = store.read(move |connection| Ok(get_value(connection, &asked)?)).await?;
        let commands: Vec<OpenCommand> =
            stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let mut given = GivenCommands::default();
        commands.iter().for_each(|command| given.add(command));
        let due = Some(Instant::now() + FIRST_WAIT);
        let followed = commands.into_iter().map(|command| FollowedCommand::new(command, due));
        let followed = Mutex::new(followed.collect());
        let given = Mutex::new(given);
        Ok(Self { key, store, events, keys, operator, followed, given, added: Notify::new() })
    }

    /// A command is about to be given. It is stored, so that the next run of botops follows it if this one is killed.
    pub(super) fn begin(&self, command: OpenCommand) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).add(&command);
        {
            let mut followed = self.lock();
            if followed.iter().any(|one| one.command.sent_id == command.sent_id) {
                return;
            }
            followed.push(FollowedCommand::new(command, None));
        }
        self.store_all();
    }

    /// To which start of the bot a command was given, as that start names itself; `None` when it is not known any more.
    pub(in crate::bots) fn boot_epoch_of(&self, sent_id: &str) -> Option<Option<String>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).boot_epoch_of(sent_id)
    }

    /// What this command did is not known: from now on it is followed.
    pub(super) fn follow(&self, command: OpenCommand) {
        self.operator.record_doubt(&command.as_done(), BotStart::of_epoch(command.boot_epoch.as_deref()));
        let left_out = {
            let mut followed = self.lock();
            let now = Instant::now();
            let due = Some(now + FIRST_WAIT);
            match followed.iter_mut().find(|one| one.command.sent_id == command.sent_id) {
                Some(one) => {
                    // Each try counts: one that was answered arrived.
                    one.command.was_answered |= command.was_answered;
                    if one.due.is_none() {
                        (one.since, one.due) = (now, due);
                    }
                }
                None => followed.push(FollowedCommand::new(command, due)),
            }
            (followed.len() > MAX_OPEN).then(|| followed.remove(0).command)
        };
        if let Some(command) = left_out {
            let why = format!("more than {MAX_OPEN} commands are open at once");
            let ending = CommandEnding::StillUnknown(why, Value::Null);
            self.publish_ending(&command, &ending);
        }
        self.store_all();
        self.added.notify_one();
    }

    /// The command is answered: it is not followed, unless an earlier try of it already is.
    pub(super) fn forget(&self, sent_id: &str) {
        self.lock().retain(|one| one.command.sent_id != sent_id || one.due.is_some());
        self.store_all();
    }

    /// The bot carried a command out, and said so at once.
    pub(super) fn record_done(&self, command: &OpenCommand, start: Option<BotStart>, result: &CommandResult) {
        self.operator.record_done(&command.as_done(), start, result);
    }

    /// The bot says once more that it carried a command out.
    pub(super) fn record_replay(&self, command: &OpenCommand) {
        self.operator.record_replay(&command.asker.command_id);
    }

    /// How a command ended is known: publishes that if it was followed, and follows it no longer.
    pub(super) fn end(&self, sent_id: &str, ending: &CommandEnding) {
        let ended = {
            let mut followed = self.lock();
            let index = followed.iter().position(|one| one.command.sent_id == sent_id && one.due.is_some());
            index.map(|index| followed.remove(index).command)
        };
        if let Some(command) = ended {
            match ending {
                CommandEnding::Done(result) | CommandEnding::DoneNow(result) => {
                    let start = BotStart::of_epoch(command.boot_epoch.as_deref());
                    self.operator.record_done(&command.as_done(), start, result);
                }
                CommandEnding::Refused(..) | CommandEnding::NotReceived => {
                    let why = nothing_done_because(ending);
                    self.operator.record_nothing_done(&command.asker.command_id, command.given_at, &why);
                }
                CommandEnding::StillUnknown(..) => {}
            }
            self.publish_ending(&command, ending);
            self.store_all();
        }
    }

    /// Completes the record of the command's key, and publishes how it ended. Both are queued before the command is stored as
    /// one that is open no longer: after a kill in between it is followed again.
    fn publish_ending(&self, command: &OpenCommand, ending: &CommandEnding) {
        // What a workflow gives has no key of its own.
        if command.asker.run_id.is_none() {
            let (CommandAsker { actor, command_id, .. }, operation) = (&command.asker, operation_of(command));
            self.keys.complete(actor, command_id, &operation, late_ending(command, ending));
        }
        self.events.publish(ending_event(command, ending));
    }

    /// Whether a command is followed.
    pub(super) fn has(&self, sent_id: &str) -> bool {
        let followed = self.lock();
        followed.iter().any(|one| one.command.sent_id == sent_id && one.due.is_some())
    }

    /// When the bot is to be asked next; `None` while no command is followed.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let followed = self.lock();
        followed.iter().filter_map(|one| one.due).min()
    }

    /// Those to ask about now; each is due again after a longer wait.
    pub(super) fn take_due(&self) -> Vec<FollowedCommand> {
        let now = Instant::now();
        let mut followed = self.lock();
        let due = followed.iter_mut().filter(|one| one.due.is_some_and(|due| due <= now));
        due.map(|one| {
            one.tries += 1;
            let wait = (FIRST_WAIT * 2_u32.saturating_pow(one.tries.min(10))).min(LONGEST_WAIT);
            one.due = Some(now + wait);
            one.clone()
        })
        .collect()
    }

    /// Queues the write of all open commands: an answer never waits for the disk.
    fn store_all(&self) {
        let text = {
            let followed = self.lock();
            let commands: Vec<_> = followed.iter().map(|one| &one.command).collect();
            serde_json::to_string(&commands).unwrap_or_default()
        };
        let key = self.key.clone();
        self.store.post("the open commands", move |connection| Ok(put_value(connection, &key, &text)?));
    }

    /// Publishes that the request of a command ended before the answer.
    pub(super) fn publish_abandoned(&self, command: &OpenCommand) {
        self.events.publish(abandoned_event(command));
    }

    /// Resolves when another command has to be followed.
    pub(super) async fn wait_for_more(&self) {
        self.added.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<FollowedCommand>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
