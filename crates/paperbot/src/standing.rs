//! The broker session as the trading loop sees it: may an order pass, what has the session to tell, what came of a
//! command.
//!
//! The loop never waits for the session: it reads what is in memory and drains a queue of notes. Commands that make
//! the session call its broker run beside the loop; the loop only records their outcome, once per command id.
//! Deliberately absent: the session itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::engine::{Engine, LedgerDown};
use super::ledger::Entry;
use super::mailbox::{Letter, Mailbox};
use super::session::{CommandOutcome, GateQuestion, SessionMonitor};
use botops_contract::{
    Breaker, BreakerState, CommandRequest, CommandResult, EventKind, Exposure, GateReason, Outcome, Refusal,
    Severity, Verb,
};
use botops_core::tasks::{OnFailure, Tasks};

/// An answer comes within this, or says that the work goes on; the asking side waits a little longer.
const PATIENCE: Duration = Duration::from_secs(8);

impl Engine {
    /// Whether the broker session lets this order pass. The one place where orders ask; the session records it.
    pub fn permission(&self, reducing: bool, symbol: &str) -> GateReason {
        let Some(session) = &self.session else { return GateReason::Ok };
        session.ask_gate(GateQuestion { reducing, symbol }).reason
    }

    /// What the gate would most likely say, for reports: asks nothing and records nothing.
    pub fn outlook(&self) -> GateReason {
        self.session.as_ref().map_or(GateReason::Ok, |session| session.facts().gate)
    }

    /// Whether an order would pass at this moment. When that takes a check, it is on its way: ask at the next tick.
    pub fn may_send(&self, reducing: bool) -> bool {
        self.session.as_ref().is_none_or(|session| session.is_open(reducing))
    }

    /// Takes in what the session has told since the last look. True when there was something.
    pub fn hear_session(&mut self) -> bool {
        let mut heard = false;
        while let Some(note) = self.notes.as_ref().and_then(|notes| notes.try_recv().ok()) {
            heard = true;
            if let Some(error) = &note.error {
                self.remember(error.clone());
            }
            self.emit(note.kind, note.severity, note.message, note.error, note.data);
        }
        heard
    }

    /// The breaker that stands in the way: the one of the risk limits first, since it needs a human.
    pub fn circuit_breaker(&self) -> Breaker {
        let risk = &self.book.breaker;
        let (source, reason) = risk.open.clone().unzip();
        let of_risk = Breaker {
            state: if risk.open.is_some() { BreakerState::Open } else { BreakerState::Closed },
            reason,
            since: risk.since,
            source,
            failure_count: 0,
            retry_at: None,
        };
        let of_session = self.session.as_ref().map(SessionMonitor::breaker);
        match of_session {
            Some(session) if risk.open.is_none() && session.state != BreakerState::Closed => session,
            Some(session) if risk.open.is_none() => Breaker {
                since: risk.since.max(session.since),
                failure_count: session.failure_count,
                ..of_risk
            },
            _ => of_risk,
        }
    }

    /// A command of the session: without an outcome, is it known already; with one, record it.
    pub fn session_command(
        &mut self,
        verb: Verb,
        request: &CommandRequest,
        outcome: Option<CommandOutcome>,
    ) -> Result<Option<CommandResult>, Refusal> {
        if let Some(answer) = self.answered(verb, request)? {
            return Ok(Some(answer));
        }
        let Some(outcome) = outcome else { return Ok(None) };
        let mut entries = Vec::new();
        let closes_risk = verb == Verb::ResetBreaker && outcome.done && self.book.breaker.open.is_some();
        if closes_risk {
            let reason = botops_core::text::clean(&request.reason, 200);
            entries.push(Entry::Reset { reason, daily_pl: self.daily_pl(), equity: self.equity() });
        }
        let result = CommandResult {
            command_id: request.command_id.clone(),
            outcome: if outcome.done { Outcome::Done } else { Outcome::Refused },
            reason_code: outcome.reason_code.map(str::to_owned),
            message: outcome.message,
            phase: self.phase(),
            trading_enabled: self.trading_enabled(),
            exposure: Exposure {
                positions_left: u32::try_from(self.book.positions.len()).unwrap_or(u32::MAX),
                orders_left: u32::try_from(self.book.working.len()).unwrap_or(u32::MAX),
                ..Exposure::default()
            },
            at: Utc::now(),
            replayed: false,
        };
        entries.push(Entry::Command { verb, result: Box::new(result.clone()) });
        self.commit(entries).map_err(|LedgerDown| Refusal {
            code: "acted_unrecorded".to_owned(),
            message: "the session acted, and the bot cannot record it".to_owned(),
            context: Value::Null,
        })?;
        self.note_effect("command", json!({"command_id": request.command_id, "verb": verb}));
        let reason = botops_core::text::clean(&request.reason, 200);
        let kind = if matches!(verb, Verb::ResetBreaker | Verb::Halt) {
            EventKind::Breaker
        } else {
            EventKind::Session
        };
        let data =
            json!({"verb": verb, "command_id": request.command_id, "reason": reason, "done": outcome.done});
        self.tell(kind, Severity::Medium, format!("{verb}: {} ({reason})", result.message), data);
        Ok(Some(result))
    }
}

/// Carries out the commands that make the session call its broker.
#[derive(Debug, Clone)]
pub(super) struct SessionCommands {
    pub session: SessionMonitor,
    tasks: Tasks,
    running: Arc<Mutex<BTreeSet<String>>>,
}

impl SessionCommands {
    pub(super) fn new(session: SessionMonitor, tasks: Tasks) -> Self {
        Self { session, tasks, running: Arc::default() }
    }

    /// Whether this command is being carried out.
    pub(super) fn is_running(&self, command_id: &str) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).contains(command_id)
    }

    /// Whether this verb is about the session. An open breaker of the risk limits alone is the loop's own matter.
    pub(super) fn concerns(&self, verb: Verb) -> bool {
        match verb {
            Verb::ProbeSession | Verb::Reauth | Verb::Halt => true,
            Verb::ResetBreaker => self.session.breaker().state != BreakerState::Closed,
            _ => false,
        }
    }

    /// Acts once per command id, and has the loop record what came of it. Goes on to its end although whoever asked
    /// has gone: what was begun at the broker is recorded.
    pub(super) async fn carry_out(
        &self,
        mailbox: &Mailbox,
        verb: Verb,
        request: CommandRequest,
    ) -> Result<CommandResult, Refusal> {
        let running = Running::begin(&self.running, &request.command_id)?;
        let (reply, answer) = oneshot::channel();
        let (session, mailbox) = (self.clone(), mailbox.clone());
        self.tasks.spawn("session command", OnFailure::Log, async move {
            let answer = session.act_and_record(&mailbox, verb, request).await;
            drop(running);
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        });
        answer.await.unwrap_or_else(|_| Err(no_answer("the bot stopped over it")))
    }

    async fn act_and_record(
        &self,
        mailbox: &Mailbox,
        verb: Verb,
        request: CommandRequest,
    ) -> Result<CommandResult, Refusal> {
        let ask = |outcome| {
            let request = request.clone();
            mailbox.ask(move |reply| Letter::Session(verb, Box::new(request), outcome, reply))
        };
        if let Some(known) = ask(None).await? {
            return Ok(known);
        }
        let outcome = timeout(PATIENCE, self.act(verb, &request)).await.unwrap_or_else(|_| CommandOutcome {
            done: true,
            reason_code: None,
            message: "under way; `session.state` tells how it ends".to_owned(),
        });
        let recorded = ask(Some(outcome)).await?;
        recorded.ok_or_else(|| no_answer("the loop gave no answer"))
    }

    async fn act(&self, verb: Verb, request: &CommandRequest) -> CommandOutcome {
        match verb {
            Verb::Reauth => {
                let code = request.args.get("code").and_then(Value::as_str).map(str::to_owned);
                self.session.reauth(code).await
            }
            Verb::ResetBreaker => self.session.reset_breaker().await,
            Verb::Halt => self.session.halt(&request.reason),
            _ => self.session.probe().await,
        }
    }
}

fn no_answer(message: &str) -> Refusal {
    Refusal { code: "no_answer".to_owned(), message: message.to_owned(), context: Value::Null }
}

/// A command id in work; it is free again when this is dropped.
struct Running {
    all: Arc<Mutex<BTreeSet<String>>>,
    id: String,
}

impl Running {
    fn begin(all: &Arc<Mutex<BTreeSet<String>>>, id: &str) -> Result<Self, Refusal> {
        let is_new = all.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        if !is_new {
            let message = "the same command is under way; ask again in a moment".to_owned();
            return Err(Refusal { code: "in_progress".to_owned(), message, context: Value::Null });
        }
        Ok(Self { all: all.clone(), id: id.to_owned() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
