//! Commands whose effect is not known: followed until it is, and told.
//!
//! A bot that can say what became of a command (capability `command-status`) is asked, with growing waits; a command is
//! never sent again, since a bot that had not got it would then carry it out at a time nobody chose. That it never
//! arrived is believed only once it expired: a copy on its way can have no effect from then on. A bot that cannot be
//! asked is left to a person, with what its state shows. Open commands are stored, so that the next life of botops goes
//! on. Deliberately absent: a conclusion from the state alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Bots, CallError, Seen, answers};
use crate::events::{Events, NewEvent};
use crate::store::Store;
use botops_contract::{
    BotId, BreakerState, CommandProgress, CommandRequest, CommandResult, CommandStatus, EventKind,
    OrderStatus, Severity, Verb,
};
use botops_core::error::{Code, Effect, Error, Problem};

/// The first wait before the bot is asked; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Nobody asks any longer than this.
const GIVE_UP: TimeDelta = TimeDelta::hours(1);
/// Clocks are read at different moments on both sides.
const EXPIRY_MARGIN: TimeDelta = TimeDelta::seconds(1);
/// How long the state of a bot that cannot be asked is watched for what was wanted.
const STATE_WATCH: TimeDelta = TimeDelta::seconds(20);
/// More open commands than these are not followed: the oldest is left to a person.
const MOST: usize = 200;

/// On whose account a command is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// The key's name.
    pub actor: String,
    /// The command's id as the asker knows it.
    pub command_id: String,
    /// The workflow run that gives it.
    pub run_id: Option<String>,
    /// The step of that run.
    pub step: Option<String>,
}

/// A command that may have been carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenCommand {
    pub verb: Verb,
    /// The id the bot knows it by.
    pub sent_id: String,
    pub asker: Asker,
    pub reason: String,
    pub given_at: DateTime<Utc>,
    /// No bot that can be asked begins it after this.
    pub expires_at: DateTime<Utc>,
    /// The bot's life when it was given.
    pub boot_epoch: Option<String>,
}

/// How an open command ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    Done(Box<CommandResult>),
    /// Somebody sent it again, and the bot did it then.
    DoneNow(Box<CommandResult>),
    /// Not done, with code and sentence.
    Refused(String, String),
    /// It did not arrive, and can have no effect any more.
    NotReceived,
    /// A person has to look; why, and what the state shows.
    StillUnknown(String, Value),
}

/// The open commands of one bot.
#[derive(Debug)]
pub(super) struct OpenCommands {
    key: String,
    store: Store,
    events: Events,
    followed: Mutex<Vec<Followed>>,
    added: Notify,
}

#[derive(Debug, Clone)]
struct Followed {
    command: OpenCommand,
    since: Instant,
    looks: u32,
    /// When the bot is asked; nothing while the command itself is under way.
    due: Option<Instant>,
}

impl OpenCommands {
    /// Reads what an earlier life of botops left open.
    pub async fn load(bot: &BotId, store: Store, events: Events) -> Result<Self, Error> {
        let key = format!("open_commands:{bot}");
        let asked = key.clone();
        let kept: Option<String> = store
            .read(move |connection| {
                let query = "SELECT value FROM meta WHERE key = ?1";
                Ok(connection.query_row(query, [asked], |row| row.get(0)).optional()?)
            })
            .await?;
        let commands: Vec<OpenCommand> =
            kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let now = Instant::now();
        let due = Some(now + FIRST_WAIT);
        let followed = commands.into_iter().map(|command| Followed { command, since: now, looks: 0, due });
        let followed = Mutex::new(followed.collect());
        Ok(Self { key, store, events, followed, added: Notify::new() })
    }

    /// A command is about to be given: should botops be killed over it, its next life follows it.
    fn begin(&self, command: OpenCommand) {
        {
            let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            if followed.iter().any(|one| one.command.sent_id == command.sent_id) {
                return;
            }
            followed.push(Followed { command, since: Instant::now(), looks: 0, due: None });
        }
        self.keep();
    }

    /// What this command did is not known: from now on it is followed.
    fn follow(&self, command: OpenCommand) {
        let left_out = {
            let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let due = Some(now + FIRST_WAIT);
            match followed.iter_mut().find(|one| one.command.sent_id == command.sent_id) {
                Some(one) if one.due.is_some() => {}
                Some(one) => (one.since, one.due) = (now, due),
                None => followed.push(Followed { command, since: now, looks: 0, due }),
            }
            (followed.len() > MOST).then(|| followed.remove(0).command)
        };
        if let Some(command) = left_out {
            let why = format!("more than {MOST} commands are open at once");
            self.publish(&command, &Ending::StillUnknown(why, Value::Null));
        }
        self.keep();
        self.added.notify_one();
    }

    /// A command that was given and answered.
    fn forget(&self, sent_id: &str) {
        self.followed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|one| one.command.sent_id != sent_id || one.due.is_some());
        self.keep();
    }

    /// It is known how a command ended; told when it was open.
    fn end(&self, sent_id: &str, ending: &Ending) {
        let ended = {
            let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            let index = followed.iter().position(|one| one.command.sent_id == sent_id && one.due.is_some());
            index.map(|index| followed.remove(index).command)
        };
        if let Some(command) = ended {
            self.publish(&command, ending);
            self.keep();
        }
    }

    fn has(&self, sent_id: &str) -> bool {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.iter().any(|one| one.command.sent_id == sent_id && one.due.is_some())
    }

    fn next_due(&self) -> Option<Instant> {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.iter().filter_map(|one| one.due).min()
    }

    /// Those to ask about now; each is due again after a longer wait.
    fn take_due(&self) -> Vec<Followed> {
        let now = Instant::now();
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let due = followed.iter_mut().filter(|one| one.due.is_some_and(|due| due <= now));
        due.map(|one| {
            one.looks += 1;
            let wait = (FIRST_WAIT * 2_u32.saturating_pow(one.looks.min(10))).min(LONGEST_WAIT);
            one.due = Some(now + wait);
            one.clone()
        })
        .collect()
    }

    /// Queued: an answer never waits for the disk.
    fn keep(&self) {
        let text = {
            let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            let commands: Vec<_> = followed.iter().map(|one| &one.command).collect();
            serde_json::to_string(&commands).unwrap_or_default()
        };
        let key = self.key.clone();
        self.store.post("the open commands", move |connection| {
            connection.execute(
                "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                [key, text],
            )?;
            Ok(())
        });
    }

    fn publish(&self, command: &OpenCommand, ending: &Ending) {
        let (verb, actor) = (command.verb, &command.asker.actor);
        let given = command.given_at.format("%H:%M:%S");
        let what = format!("{verb} of {actor}, given at {given} UTC without a clear answer");
        let (outcome, severity, message) = match ending {
            Ending::Done(result) => {
                ("done", Severity::Medium, format!("{what}: the bot carried it out: {}", result.message))
            }
            Ending::DoneNow(result) => (
                "done",
                Severity::Medium,
                format!("{what}: it was sent again, and the bot carried it out then: {}", result.message),
            ),
            Ending::Refused(code, text) => {
                ("refused", Severity::Medium, format!("{what}: it was not carried out ({code}): {text}"))
            }
            Ending::NotReceived => (
                "not_received",
                Severity::Medium,
                format!("{what}: the bot never got it, and it expired: nothing happened"),
            ),
            Ending::StillUnknown(why, state) => {
                let shown = match state["as_asked"].as_bool() {
                    Some(true) => "the bot's state is as it would be after it, which proves nothing",
                    Some(false) => "the bot's state does not show it",
                    None => "the bot's state says nothing about it",
                };
                let severity = if state["as_asked"] == true { Severity::Medium } else { Severity::High };
                let text = format!(
                    "{what}: what became of it is still unknown ({why}); {shown}. A person has to look at the bot; \
                     the same command with the same Idempotency-Key acts once, now if the bot never got it"
                );
                ("still_unknown", severity, text)
            }
        };
        let (result, reason_code, state) = match ending {
            Ending::Done(result) | Ending::DoneNow(result) => {
                (Some(result), result.reason_code.as_deref(), Value::Null)
            }
            Ending::Refused(code, _) => (None, Some(code.as_str()), Value::Null),
            Ending::NotReceived => (None, None, Value::Null),
            Ending::StillUnknown(_, state) => (None, None, state.clone()),
        };
        let data = json!({
            "verb": verb, "outcome": outcome, "follow_up": true, "dry_run": false,
            "command_id": command.asker.command_id, "reason": command.reason, "actor": actor,
            "run_id": command.asker.run_id, "step": command.asker.step, "given_at": command.given_at,
            "reason_code": reason_code, "exposure": result.map(|result| &result.exposure),
            "carried_out_at": result.map(|result| result.at), "state_shows": state,
        });
        self.events.publish(NewEvent::own(EventKind::Control, severity, message, data));
    }

    /// The first word on a command whose asker is not there any more to hear the answer.
    fn tell_abandoned(&self, command: &OpenCommand) {
        let (verb, actor) = (command.verb, &command.asker.actor);
        let message = format!(
            "{actor} told the bot to {verb} and went away before it answered; what it did is not known yet ({})",
            command.reason
        );
        let data = json!({
            "verb": verb, "outcome": "unknown", "dry_run": false, "command_id": command.asker.command_id,
            "reason": command.reason, "actor": actor, "run_id": command.asker.run_id, "step": command.asker.step,
        });
        self.events.publish(NewEvent::own(EventKind::Control, Severity::Medium, message, data));
    }
}

/// A command under way. When its future is dropped before the answer, what it did is followed all the same.
pub(super) struct UnderWay {
    open: Arc<OpenCommands>,
    command: Option<OpenCommand>,
}

impl UnderWay {
    pub fn new(
        open: Arc<OpenCommands>,
        verb: Verb,
        request: &CommandRequest,
        asker: Asker,
        seen: &Seen,
    ) -> Self {
        let given_at = Utc::now();
        let command = OpenCommand {
            verb,
            sent_id: request.command_id.clone(),
            asker,
            reason: request.reason.clone(),
            given_at,
            expires_at: request.expires_at.unwrap_or(given_at),
            boot_epoch: seen.hello.as_ref().map(|hello| hello.boot_epoch.clone()),
        };
        // A dry run leaves nothing behind that could be followed.
        let command = (!request.dry_run).then_some(command);
        if let Some(command) = &command {
            open.begin(command.clone());
        }
        Self { open, command }
    }

    /// What this try did is known. It ends an earlier one of the same command when the bot speaks of that: by what it
    /// did, or by the answer that it kept. Otherwise the effect is as unknown as it was.
    pub fn known(mut self, answer: Result<CommandResult, Error>) -> Result<CommandResult, Error> {
        let Some(command) = self.command.take() else { return answer };
        self.open.forget(&command.sent_id);
        let error = match answer {
            Ok(result) => {
                let ending = if result.replayed { Ending::Done } else { Ending::DoneNow };
                self.open.end(&command.sent_id, &ending(Box::new(result.clone())));
                return Ok(result);
            }
            Err(error) => error,
        };
        let problem = error.problem("", Utc::now());
        if problem.context.get("replayed") == Some(&Value::Bool(true)) {
            self.open.end(&command.sent_id, &Ending::Refused(reason_of(&problem), problem.cause));
            return Err(error);
        }
        if !self.open.has(&command.sent_id) {
            return Err(error);
        }
        let detail = format!(
            "{}. This says nothing of an earlier try of the same command, which may still have acted",
            problem.cause.trim_end_matches('.')
        );
        Err(error.detail(detail).effect(Effect::Unknown))
    }

    /// What it did is not known.
    pub fn unknown(mut self) {
        if let Some(command) = self.command.take() {
            self.open.follow(command);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(command) = self.command.take() {
            self.open.tell_abandoned(&command);
            self.open.follow(command);
        }
    }
}

/// Asks about open commands as they come due, until the stop.
pub(super) async fn follow(bots: Bots, stopping: CancellationToken) {
    loop {
        let due = bots.open.next_due();
        tokio::select! {
            () = stopping.cancelled() => return,
            () = bots.open.added.notified() => continue,
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
        }
        for followed in bots.open.take_due() {
            let ending = tokio::select! {
                () = stopping.cancelled() => return,
                ending = look(&bots, &followed) => ending,
            };
            if let Some(ending) = ending {
                bots.open.end(&followed.command.sent_id, &ending);
            }
        }
    }
}

/// How it ended, if that is known by now.
async fn look(bots: &Bots, followed: &Followed) -> Option<Ending> {
    let command = &followed.command;
    let path = format!("commands/{}", encoded(&command.sent_id));
    let late = Utc::now() > command.given_at + GIVE_UP;
    let asked = match bots.command_status(&path).await {
        Ok(status) => of_status(&bots.seen(), command, status),
        Err(CallError::NotCapable(_)) => {
            return by_state(
                &bots.seen(),
                followed,
                late,
                "this bot cannot be asked what became of a command",
            );
        }
        Err(_) => None,
    };
    match asked {
        None if late => {
            let why = "the bot did not say for an hour".to_owned();
            Some(Ending::StillUnknown(why, state_shows(&bots.seen(), command)))
        }
        ending => ending,
    }
}

fn of_status(seen: &Seen, command: &OpenCommand, status: CommandStatus) -> Option<Ending> {
    if status.command_id != command.sent_id {
        return None;
    }
    match (status.progress, status.result, status.refusal) {
        (CommandProgress::Answered, Some(result), _) => {
            let request = CommandRequest {
                command_id: command.sent_id.clone(),
                reason: String::new(),
                args: Value::Null,
                dry_run: false,
                valid_for_ms: None,
                expires_at: None,
            };
            match answers::judge(command.verb, &request, seen, Ok(result)) {
                Ok(Ok(result)) => Some(Ending::Done(Box::new(result))),
                Ok(Err(error)) => {
                    let problem = error.problem("", Utc::now());
                    let code = problem
                        .context
                        .get("reason_code")
                        .and_then(Value::as_str)
                        .unwrap_or("unnamed")
                        .to_owned();
                    Some(Ending::Refused(code, problem.cause))
                }
                // Asking again would bring the same: it is what the bot keeps.
                Err(error) if error.code() == Code::BotAnswerInvalid => {
                    let why = error.problem("", Utc::now()).cause;
                    Some(Ending::StillUnknown(why, state_shows(seen, command)))
                }
                Err(_) => None,
            }
        }
        (CommandProgress::Answered, None, Some(refusal)) if answers::is_reason(&refusal.code) => {
            let text = |text: &str, most| botops_core::text::clean(text, most);
            Some(Ending::Refused(text(&refusal.code, 64), text(&refusal.message, 500)))
        }
        (CommandProgress::Unknown, ..) if Utc::now() > command.expires_at + EXPIRY_MARGIN => {
            Some(Ending::NotReceived)
        }
        _ => None,
    }
}

fn reason_of(problem: &Problem) -> String {
    problem.context.get("reason_code").and_then(Value::as_str).unwrap_or("unnamed").to_owned()
}

/// The end for a bot that cannot be asked: once its state shows what was wanted, or was watched long enough.
fn by_state(seen: &Seen, followed: &Followed, late: bool, why: &str) -> Option<Ending> {
    let command = &followed.command;
    let fresh = seen.presence.answers() && seen.received.is_some_and(|at| at > followed.since);
    let shown = state_shows(seen, command);
    let watched = Utc::now() > command.given_at + STATE_WATCH;
    let enough = late || (fresh && (watched || shown["as_asked"] == true));
    enough.then(|| Ending::StillUnknown(why.to_owned(), shown))
}

/// What the bot's last report says about it: facts, and whether they are as they would be after the command.
fn state_shows(seen: &Seen, command: &OpenCommand) -> Value {
    let Some(report) = &seen.report else { return Value::Null };
    let rests = |status| matches!(status, OrderStatus::Pending | OrderStatus::PartiallyFilled);
    let resting = report.orders.iter().filter(|order| rests(order.status)).count();
    let breaker_open = report.circuit_breaker.state != BreakerState::Closed;
    let as_asked = match command.verb {
        Verb::Pause => Some(!report.trading_enabled),
        Verb::Resume => Some(report.trading_enabled),
        Verb::CancelOrders => Some(resting == 0),
        Verb::Flatten => Some(report.positions.is_empty() && !report.trading_enabled),
        Verb::ResetBreaker => Some(!breaker_open),
        Verb::Halt => Some(breaker_open && !report.trading_enabled),
        Verb::Shutdown => Some(command.boot_epoch.as_ref() != Some(&report.boot_epoch)),
        Verb::ProbeSession | Verb::Reauth => None,
    };
    json!({
        "as_asked": as_asked, "trading_enabled": report.trading_enabled, "phase": report.phase,
        "open_positions": report.positions.len(), "resting_orders": resting,
        "circuit_breaker": report.circuit_breaker.state, "as_of": report.as_of,
    })
}

/// An id as one segment of a path.
fn encoded(id: &str) -> String {
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
