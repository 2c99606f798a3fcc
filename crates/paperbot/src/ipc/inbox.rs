//! Requests from the server to the trading loop, and the channels for their answers.
//!
//! The queue is bounded: when it is full, the sender is refused at once. The loop reads it between ticks. A request
//! that the loop has not taken within its time, or whose sender has gone, is withdrawn and never carried out, so that
//! nothing happened is certain. Only when a request was taken and not answered, its effect is unknown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::session::SessionCommandOutcome;
use botops_contract::{
    ActivateConfigRequest, CommandRequest, CommandResult, ConfigAck, ContractRefusal, EXPIRED,
    EndTrialRequest, Verb,
};

/// Requests that may wait in the queue; further ones are refused as busy.
pub(crate) const INBOX_CAPACITY: usize = 64;
/// How long a sender waits for an answer. The loop answers between two ticks, far sooner unless it is stuck.
const DEADLINE: Duration = Duration::from_secs(5);

/// A request to the loop, with the channel for its answer.
#[derive(Debug)]
pub(crate) enum IpcRequest {
    /// A command of an operator.
    Command(Verb, CommandRequest, oneshot::Sender<Result<CommandResult, ContractRefusal>>),
    /// A command of the broker session: without an outcome its answer is looked up, with one it is recorded.
    Session(
        Verb,
        Box<CommandRequest>,
        Option<SessionCommandOutcome>,
        oneshot::Sender<Result<Option<CommandResult>, ContractRefusal>>,
    ),
    /// Run a document as a trial.
    Activate(Box<ActivateConfigRequest>, oneshot::Sender<Result<ConfigAck, ContractRefusal>>),
    /// Commit a trial.
    Commit(EndTrialRequest, oneshot::Sender<Result<ConfigAck, ContractRefusal>>),
    /// End a trial and return to the config that `HEAD` names.
    Revert(EndTrialRequest, oneshot::Sender<Result<ConfigAck, ContractRefusal>>),
}

impl IpcRequest {
    /// The command of the request; `None` for a dry run and for config verbs.
    fn command(&self) -> Option<&CommandRequest> {
        let request = match self {
            Self::Command(_, request, _) => request,
            Self::Session(_, request, ..) => request,
            _ => return None,
        };
        (!request.dry_run).then_some(request)
    }

    /// Whether it records something that has happened already; such a request is never withdrawn.
    fn records(&self) -> bool {
        matches!(self, Self::Session(_, _, Some(_), _))
    }
}

/// A request in the queue.
#[derive(Debug)]
pub(crate) struct RequestDelivery {
    pub request: IpcRequest,
    pub ticket: RequestTicket,
}

impl RequestDelivery {
    /// Claims the request for the loop. False when it was withdrawn or has expired: it must not be carried out then.
    pub(crate) fn take(&self) -> bool {
        if self.request.records() {
            return true;
        }
        let expired = self.ticket.until.is_some_and(|until| Instant::now() > until)
            || self.ticket.expires_at.is_some_and(|at| Utc::now() > at);
        !expired && self.ticket.claim.advance(WAITING, TAKEN)
    }
}

/// The loop's claim on a request; until it is dropped, the command counts as pending.
#[derive(Debug)]
pub(crate) struct RequestTicket {
    claim: Arc<RequestClaim>,
    /// End of `valid_for_ms`: the loop does not begin the request after it.
    until: Option<Instant>,
    expires_at: Option<DateTime<Utc>>,
}

impl Drop for RequestTicket {
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
/// The loop ended without taking the request.
const LEFT: u8 = 4;

/// The state of a request, one of the constants above: taken by the loop or withdrawn by its sender, never both.
#[derive(Debug)]
struct RequestClaim(AtomicU8);

impl RequestClaim {
    fn advance(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Withdraws the request when it is dropped, as when the sender's connection ends.
struct RequestWithdrawal(Arc<RequestClaim>);

impl Drop for RequestWithdrawal {
    fn drop(&mut self) {
        self.0.advance(WAITING, WITHDRAWN);
    }
}

/// The state of a command in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueuedCommand {
    /// It waits, or the loop is carrying it out.
    Pending,
    /// It was withdrawn, and the loop has not recorded that refusal yet.
    Withdrawn,
}

/// The sending side; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct IpcInbox {
    requests: SyncSender<RequestDelivery>,
    /// How long a sender waits for its answer.
    deadline: Duration,
    /// Commands in the queue by their id. The trading loop never takes this lock.
    commands: Arc<Mutex<HashMap<String, Arc<RequestClaim>>>>,
}

impl IpcInbox {
    /// Makes the sending side of this queue.
    pub(crate) fn new(requests: SyncSender<RequestDelivery>) -> Self {
        Self { requests, deadline: DEADLINE, commands: Arc::default() }
    }

    /// Sends the request that `make_request` makes with an answer channel, and waits for the answer.
    pub(crate) async fn ask<T>(
        &self,
        make_request: impl FnOnce(oneshot::Sender<Result<T, ContractRefusal>>) -> IpcRequest,
    ) -> Result<T, ContractRefusal> {
        let (reply, answer) = oneshot::channel();
        let request = make_request(reply);
        let claim = Arc::new(RequestClaim(AtomicU8::new(WAITING)));
        let withdrawable = !request.records();
        let (mut until, mut expires_at, mut earlier) = (None, None, None);
        if let Some(command) = request.command() {
            until = command.valid_for_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
            expires_at = command.expires_at;
            earlier = self.register(&command.command_id, &claim);
        }
        let withdrawal = withdrawable.then(|| RequestWithdrawal(claim.clone()));
        let delivery =
            RequestDelivery { request, ticket: RequestTicket { claim: claim.clone(), until, expires_at } };
        match self.requests.try_send(delivery) {
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
            // This request was withdrawn, but an earlier one with the same command was taken and may still act.
            Err(_) if earlier.is_some_and(|first| first.0.load(Ordering::Acquire) == TAKEN) => {
                Err(refusal("in_progress", "the same command is under way; ask again in a moment"))
            }
            Err(_) if claim.0.load(Ordering::Acquire) == WITHDRAWN => Err(withdrawn_refusal()),
            Err(_) => Err(refusal("no_answer", "the trading loop did not answer in time; it may still act")),
        }
    }

    /// The state of a command while it is in the queue; `None` once it was answered, or when it is unknown.
    pub(crate) fn queued_command(&self, command_id: &str) -> Option<QueuedCommand> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        match commands.get(command_id)?.0.load(Ordering::Acquire) {
            WAITING | TAKEN => Some(QueuedCommand::Pending),
            WITHDRAWN => Some(QueuedCommand::Withdrawn),
            _ => None,
        }
    }

    /// Registers a command; returns the claim of an earlier request with the same command, if one is in the queue.
    fn register(&self, command_id: &str, claim: &Arc<RequestClaim>) -> Option<Arc<RequestClaim>> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.retain(|_, claim| claim.0.load(Ordering::Acquire) < DONE);
        if let Some(first) = commands.get(command_id) {
            // The first request stays registered: its state is what the command's status shows.
            return Some(first.clone());
        }
        commands.insert(command_id.to_owned(), claim.clone());
        None
    }
}

/// The refusal of a request that the loop did not take in time.
pub(crate) fn withdrawn_refusal() -> ContractRefusal {
    refusal(EXPIRED, "the trading loop did not take it in time; it was withdrawn and is not carried out")
}

fn refusal(code: &str, message: &str) -> ContractRefusal {
    ContractRefusal { code: code.to_owned(), message: message.to_owned(), context: Value::Null }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(
        reply: oneshot::Sender<Result<CommandResult, ContractRefusal>>,
        valid_for_ms: Option<u64>,
    ) -> IpcRequest {
        let request = CommandRequest {
            command_id: "a".to_owned(),
            reason: "a test".to_owned(),
            args: Value::Null,
            dry_run: false,
            valid_for_ms,
            expires_at: None,
        };
        IpcRequest::Command(Verb::Pause, request, reply)
    }

    /// An inbox whose senders wait 20 ms.
    fn impatient() -> (IpcInbox, std::sync::mpsc::Receiver<RequestDelivery>) {
        let (requests, queue) = std::sync::mpsc::sync_channel(INBOX_CAPACITY);
        (IpcInbox { deadline: Duration::from_millis(20), ..IpcInbox::new(requests) }, queue)
    }

    #[tokio::test]
    async fn what_nobody_takes_is_withdrawn_and_cannot_be_taken_later() {
        let (inbox, queue) = impatient();
        let refused = inbox.ask(|reply| pause(reply, None)).await.unwrap_err();
        assert_eq!(refused.code, EXPIRED);
        assert_eq!(inbox.queued_command("a"), Some(QueuedCommand::Withdrawn));
        let delivery = queue.recv().unwrap();
        assert!(!delivery.take());
        drop(delivery);
        assert_eq!(inbox.queued_command("a"), None);
    }

    #[tokio::test]
    async fn what_was_taken_and_not_answered_is_in_doubt() {
        let (inbox, queue) = impatient();
        let asked = inbox.clone();
        let (refused, delivery) = tokio::join!(asked.ask(|reply| pause(reply, None)), async {
            let delivery = queue.recv().unwrap();
            assert!(delivery.take());
            delivery
        });
        assert_eq!(refused.unwrap_err().code, "no_answer");
        assert_eq!(inbox.queued_command("a"), Some(QueuedCommand::Pending));
        drop(delivery);
    }

    #[tokio::test]
    async fn what_is_wanted_no_longer_is_not_taken_and_a_sender_that_goes_away_withdraws() {
        let (inbox, queue) = impatient();
        let limit = Duration::from_millis(1);
        let asked = inbox.ask(|reply| pause(reply, None));
        assert!(tokio::time::timeout(limit, asked).await.is_err());
        assert!(!queue.recv().unwrap().take());
        let asked = inbox.ask(|reply| pause(reply, Some(0)));
        assert!(tokio::time::timeout(limit, asked).await.is_err());
        std::thread::sleep(limit);
        assert!(!queue.recv().unwrap().take());
    }
}
