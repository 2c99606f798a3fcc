//! Commands that make the broker session call its broker.
//!
//! They run outside the trading loop, which never waits for a broker; the loop only records their outcome, once per
//! command id.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::inbox::{IpcInbox, IpcRequest};
use crate::session::{SessionCommandOutcome, SessionMonitor, sign_in_code};
use botops_contract::{BreakerState, CommandRequest, CommandResult, ContractRefusal, Verb};
use botops_core::tasks::{OnFailure, Tasks};

/// An answer comes within this time, if only that the work goes on. botops waits a little longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Carries out the session's commands; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct SessionCommands {
    session: SessionMonitor,
    tasks: Tasks,
    running: Arc<Mutex<BTreeSet<String>>>,
}

impl SessionCommands {
    pub(crate) fn new(session: SessionMonitor, tasks: Tasks) -> Self {
        Self { session, tasks, running: Arc::default() }
    }

    pub(crate) fn is_running(&self, command_id: &str) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).contains(command_id)
    }

    /// Whether the session carries out this verb. A reset is the loop's when only the risk breaker is open.
    pub(crate) fn handles(&self, verb: Verb) -> bool {
        match verb {
            Verb::ProbeSession | Verb::Reauth | Verb::Halt => true,
            Verb::ResetBreaker => self.session.breaker().state != BreakerState::Closed,
            _ => false,
        }
    }

    /// Carries out a command once per command id and has the loop record the outcome.
    ///
    /// It runs to its end even when the client has gone, so that what was begun at the broker is recorded.
    pub(crate) async fn run_command(
        &self,
        inbox: &IpcInbox,
        verb: Verb,
        request: CommandRequest,
    ) -> Result<CommandResult, ContractRefusal> {
        let running = RunningCommand::begin(&self.running, &request.command_id)?;
        let (reply, answer) = oneshot::channel();
        let (session, inbox) = (self.clone(), inbox.clone());
        self.tasks.spawn("session command", OnFailure::Log, async move {
            let answer = session.run_and_record(&inbox, verb, request).await;
            drop(running);
            // Fails when the client has gone.
            let _ = reply.send(answer);
        });
        answer.await.unwrap_or_else(|_| Err(no_answer("the bot stopped over it")))
    }

    async fn run_and_record(
        &self,
        inbox: &IpcInbox,
        verb: Verb,
        request: CommandRequest,
    ) -> Result<CommandResult, ContractRefusal> {
        let ask = |outcome| {
            let request = request.clone();
            inbox.ask(move |reply| IpcRequest::Session(verb, Box::new(request), outcome, reply))
        };
        if let Some(known) = ask(None).await? {
            return Ok(known);
        }
        let outcome = timeout(LONGEST_WAIT, self.call_session(verb, &request)).await.unwrap_or_else(|_| {
            SessionCommandOutcome {
                done: true,
                reason_code: None,
                message: "under way; `session.state` tells how it ends".to_owned(),
            }
        });
        let recorded = ask(Some(outcome)).await?;
        recorded.ok_or_else(|| no_answer("the loop gave no answer"))
    }

    async fn call_session(&self, verb: Verb, request: &CommandRequest) -> SessionCommandOutcome {
        match verb {
            Verb::Reauth => match sign_in_code(&request.args) {
                Ok(code) => self.session.reauth(code).await,
                Err(refusal) => refusal,
            },
            Verb::ResetBreaker => self.session.reset_breaker().await,
            Verb::Halt => self.session.halt(&request.reason),
            _ => self.session.probe().await,
        }
    }
}

fn no_answer(message: &str) -> ContractRefusal {
    ContractRefusal { code: "no_answer".to_owned(), message: message.to_owned(), context: Value::Null }
}

/// Marks a command id as being carried out until it is dropped.
struct RunningCommand {
    all: Arc<Mutex<BTreeSet<String>>>,
    id: String,
}

impl RunningCommand {
    fn begin(all: &Arc<Mutex<BTreeSet<String>>>, id: &str) -> Result<Self, ContractRefusal> {
        let is_new = all.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        if !is_new {
            let message = "the same command is under way; ask again in a moment".to_owned();
            return Err(ContractRefusal { code: "in_progress".to_owned(), message, context: Value::Null });
        }
        Ok(Self { all: all.clone(), id: id.to_owned() })
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
