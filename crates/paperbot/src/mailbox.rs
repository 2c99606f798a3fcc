//! Letters to the loop: what a server may ask of it, and the way the answer comes back.
//!
//! The box is bounded and never waited for: when it is full, the sender is told so. The loop reads between ticks. A
//! letter that the loop has not taken within its time, or whose sender has gone, is withdrawn: it is never carried out,
//! so the sender can be told that nothing happened. Only a letter that was taken and not answered is in doubt.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::oneshot;

use super::session::CommandOutcome;
use botops_contract::{Activate, CommandRequest, CommandResult, ConfigAck, EXPIRED, Refusal, Settle, Verb};

/// Letters that may wait at once.
pub(super) const ROOM: usize = 64;
/// The loop answers between two ticks; later than this something is wrong.
const DEADLINE: Duration = Duration::from_secs(5);

/// Something for the loop, with its return address.
#[derive(Debug)]
pub(super) enum Letter {
    /// A command of an operator.
    Command(Verb, CommandRequest, oneshot::Sender<Result<CommandResult, Refusal>>),
    /// A command of the broker session: look it up (no outcome yet), or record what came of it.
    Session(
        Verb,
        Box<CommandRequest>,
        Option<CommandOutcome>,
        oneshot::Sender<Result<Option<CommandResult>, Refusal>>,
    ),
    /// Run a document as a trial.
    Activate(Box<Activate>, oneshot::Sender<Result<ConfigAck, Refusal>>),
    /// End a trial for good.
    Commit(Settle, oneshot::Sender<Result<ConfigAck, Refusal>>),
    /// End a trial and go back.
    Revert(Settle, oneshot::Sender<Result<ConfigAck, Refusal>>),
}

impl Letter {
    /// The command it is about, unless it is a dry run.
    fn command(&self) -> Option<&CommandRequest> {
        let request = match self {
            Self::Command(_, request, _) => request,
            Self::Session(_, request, ..) => request,
            _ => return None,
        };
        (!request.dry_run).then_some(request)
    }

    /// Whether it tells of something that has happened already: that is never withdrawn.
    fn records(&self) -> bool {
        matches!(self, Self::Session(_, _, Some(_), _))
    }
}

/// A letter in the box.
#[derive(Debug)]
pub(super) struct Delivery {
    pub letter: Letter,
    pub ticket: Ticket,
}

impl Delivery {
    /// Takes it to carry it out. False when it was withdrawn, or waited longer than it was wanted.
    pub fn take(&self) -> bool {
        if self.letter.records() {
            return true;
        }
        let expired = self.ticket.until.is_some_and(|until| Instant::now() > until)
            || self.ticket.expires_at.is_some_and(|at| Utc::now() > at);
        !expired && self.ticket.claim.advance(WAITING, TAKEN)
    }
}

/// The loop's hold on a letter; once it is dropped, the command is no longer pending.
#[derive(Debug)]
pub(super) struct Ticket {
    claim: Arc<Claim>,
    /// The loop does not begin it after this.
    until: Option<Instant>,
    expires_at: Option<DateTime<Utc>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.claim.advance(WAITING, LEFT) {
            self.claim.0.store(DONE, Ordering::Release);
        }
    }
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;
const DONE: u8 = 3;
/// The loop ended before it took it.
const LEFT: u8 = 4;

/// Who has a letter: it is taken by the loop or withdrawn by its sender, never both.
#[derive(Debug)]
struct Claim(AtomicU8);

impl Claim {
    fn advance(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Withdraws the letter when its sender goes away.
struct Withdrawal(Arc<Claim>);

impl Drop for Withdrawal {
    fn drop(&mut self) {
        self.0.advance(WAITING, WITHDRAWN);
    }
}

/// Where a command in the box stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It waits, or the loop is at it.
    Pending,
    /// It was withdrawn, and the loop has not noted it yet.
    Withdrawn,
}

/// The sending side; cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Mailbox {
    letters: SyncSender<Delivery>,
    /// How long a letter may wait for its answer.
    deadline: Duration,
    /// Commands in the box by their id. Only the serving side uses this lock.
    commands: Arc<Mutex<HashMap<String, Arc<Claim>>>>,
}

impl Mailbox {
    /// The sending side of this box.
    pub fn new(letters: SyncSender<Delivery>) -> Self {
        Self { letters, deadline: DEADLINE, commands: Arc::default() }
    }

    /// Posts what `write` makes of a return address, and waits for the answer.
    pub async fn ask<T>(
        &self,
        write: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Letter,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let letter = write(reply);
        let claim = Arc::new(Claim(AtomicU8::new(WAITING)));
        let withdrawable = !letter.records();
        let (mut until, mut expires_at, mut earlier) = (None, None, None);
        if let Some(request) = letter.command() {
            until = request.valid_for_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
            expires_at = request.expires_at;
            earlier = self.note(&request.command_id, &claim);
        }
        let withdrawal = withdrawable.then(|| Withdrawal(claim.clone()));
        let delivery = Delivery { letter, ticket: Ticket { claim: claim.clone(), until, expires_at } };
        match self.letters.try_send(delivery) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(refusal("busy", "too many commands wait already")),
            Err(TrySendError::Disconnected(_)) => return Err(refusal("stopping", "the bot is stopping")),
        }
        let answered = tokio::time::timeout(self.deadline, answer).await;
        drop(withdrawal);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) if claim.0.load(Ordering::Acquire) == LEFT => {
                Err(refusal("stopping", "the bot is stopping; it was not carried out"))
            }
            Ok(Err(_)) => Err(refusal("stopped", "the bot stopped before it answered; it may have acted")),
            // That this letter was withdrawn says nothing of the one before it with the same command.
            Err(_) if earlier.is_some_and(|first| first.0.load(Ordering::Acquire) == TAKEN) => {
                Err(refusal("in_progress", "the same command is under way; ask again in a moment"))
            }
            Err(_) if claim.0.load(Ordering::Acquire) == WITHDRAWN => Err(withdrawn()),
            Err(_) => Err(refusal("no_answer", "the trading loop did not answer in time; it may still act")),
        }
    }

    /// Where a command stands while it is in the box.
    pub fn waiting(&self, command_id: &str) -> Option<Waiting> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        match commands.get(command_id)?.0.load(Ordering::Acquire) {
            WAITING | TAKEN => Some(Waiting::Pending),
            WITHDRAWN => Some(Waiting::Withdrawn),
            _ => None,
        }
    }

    /// Notes a command; returns an earlier letter with the same one.
    fn note(&self, command_id: &str, claim: &Arc<Claim>) -> Option<Arc<Claim>> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.retain(|_, claim| claim.0.load(Ordering::Acquire) < DONE);
        if let Some(first) = commands.get(command_id) {
            // The first decides what both are answered.
            return Some(first.clone());
        }
        commands.insert(command_id.to_owned(), claim.clone());
        None
    }
}

/// The answer to what the loop did not take in time.
pub(super) fn withdrawn() -> Refusal {
    refusal(EXPIRED, "the trading loop did not take it in time; it was withdrawn and is not carried out")
}

fn refusal(code: &str, message: &str) -> Refusal {
    Refusal { code: code.to_owned(), message: message.to_owned(), context: Value::Null }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(reply: oneshot::Sender<Result<CommandResult, Refusal>>, valid_for_ms: Option<u64>) -> Letter {
        let request = CommandRequest {
            command_id: "a".to_owned(),
            reason: "a test".to_owned(),
            args: Value::Null,
            dry_run: false,
            valid_for_ms,
            expires_at: None,
        };
        Letter::Command(Verb::Pause, request, reply)
    }

    /// A box whose senders wait 20 ms.
    fn impatient() -> (Mailbox, std::sync::mpsc::Receiver<Delivery>) {
        let (letters, inbox) = std::sync::mpsc::sync_channel(ROOM);
        (Mailbox { deadline: Duration::from_millis(20), ..Mailbox::new(letters) }, inbox)
    }

    #[tokio::test]
    async fn what_nobody_takes_is_withdrawn_and_cannot_be_taken_later() {
        let (mailbox, inbox) = impatient();
        let refused = mailbox.ask(|reply| pause(reply, None)).await.unwrap_err();
        assert_eq!(refused.code, EXPIRED);
        assert_eq!(mailbox.waiting("a"), Some(Waiting::Withdrawn));
        let delivery = inbox.recv().unwrap();
        assert!(!delivery.take());
        drop(delivery);
        assert_eq!(mailbox.waiting("a"), None);
    }

    #[tokio::test]
    async fn what_was_taken_and_not_answered_is_in_doubt() {
        let (mailbox, inbox) = impatient();
        let asked = mailbox.clone();
        let (refused, delivery) = tokio::join!(asked.ask(|reply| pause(reply, None)), async {
            let delivery = inbox.recv().unwrap();
            assert!(delivery.take());
            delivery
        });
        assert_eq!(refused.unwrap_err().code, "no_answer");
        assert_eq!(mailbox.waiting("a"), Some(Waiting::Pending));
        drop(delivery);
    }

    #[tokio::test]
    async fn what_is_wanted_no_longer_is_not_taken_and_a_sender_that_goes_away_withdraws() {
        let (mailbox, inbox) = impatient();
        let limit = Duration::from_millis(1);
        let asked = mailbox.ask(|reply| pause(reply, None));
        assert!(tokio::time::timeout(limit, asked).await.is_err());
        assert!(!inbox.recv().unwrap().take());
        let asked = mailbox.ask(|reply| pause(reply, Some(0)));
        assert!(tokio::time::timeout(limit, asked).await.is_err());
        std::thread::sleep(limit);
        assert!(!inbox.recv().unwrap().take());
    }
}
