//! The journal of runs: facts are stored first, then published to everyone who follows them.
//!
//! Each fact is an event of the run's row, then one line of `workflow_execution_log.jsonl` and one event of the
//! journal.

use rusqlite::Connection;
use serde_json::json;
use tokio::sync::watch;

use super::execution_log::ExecutionLog;
use super::facts::RunFact;
use super::progress::RunProgress;
use super::state::WorkflowRunState;
use super::statistics::{RunMetrics, WorkflowStats};
use crate::events::{Events, NewEvent};
use crate::operations_log::{self, OperationEvent, OperationRow, now_ms};
use crate::store::Store;
use crate::workflows::definition::CheckedWorkflow;
use botops_contract::{EventKind, Severity};
use botops_core::error::Error;

/// Stores facts and publishes them.
#[derive(Debug)]
pub(crate) struct RunJournal {
    store: Store,
    log: ExecutionLog,
    events: Events,
    metrics: RunMetrics,
    /// Changes with each fact of any run; the value has no meaning.
    changed: watch::Sender<u64>,
}

impl RunJournal {
    pub(crate) fn new(store: Store, log: ExecutionLog, events: Events, metrics: RunMetrics) -> Self {
        Self { store, log, events, metrics, changed: watch::Sender::new(0) }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn log(&self) -> &ExecutionLog {
        &self.log
    }

    /// Resolves with each fact of any run.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Stores a fact; `None` when the run is over already. The caller publishes it.
    pub(crate) async fn write_fact(
        &self,
        op_id: &str,
        seen: u64,
        fact: &RunFact,
    ) -> Result<Option<WrittenFact>, Error> {
        let (op_id, fact) = (op_id.to_owned(), fact.clone());
        self.store.write(move |connection| Ok(insert_fact(connection, &op_id, seen, &fact)?)).await
    }

    /// Publishes a stored fact: log line, event, metrics, and waking requests that wait for the run.
    pub(crate) fn publish_fact(
        &self,
        op: &OperationRow,
        workflow: &CheckedWorkflow,
        seq: u64,
        at_ms: i64,
        fact: &RunFact,
        state: WorkflowRunState,
    ) {
        self.log.write_line(op, seq, at_ms, fact, state);
        let (kind, _) = fact.to_row();
        let severity = match fact {
            RunFact::Finished { state: WorkflowRunState::NeedsAttention, .. } => Severity::Critical,
            RunFact::Finished { state: WorkflowRunState::FailedAfterPivot, .. } => Severity::High,
            RunFact::Finished { state: WorkflowRunState::Failed | WorkflowRunState::RolledBack, .. } => {
                Severity::Medium
            }
            _ => Severity::Low,
        };
        let data = json!({
            "topic": "workflow.run", "run_id": op.op_id, "workflow_id": op.name, "event": kind, "state": state,
            "terminal": state.is_terminal(), "seq": seq, "actor": op.actor.key_id,
            "acts_on_bot": workflow.acts_on_bot(),
        });
        let sentence = fact.sentence(&op.name);
        self.events.publish(match fact.failure(&op.op_id) {
            Some(error) => NewEvent::own_failure(EventKind::Workflow, severity, sentence, &error, data),
            None => NewEvent::own(EventKind::Workflow, severity, sentence, data),
        });
        if state.is_terminal() {
            self.metrics.count_ended(&op.name, state);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Publishes the facts that were stored when a run was admitted.
    pub(crate) fn publish_admission(
        &self,
        op: &OperationRow,
        events: &[OperationEvent],
        workflow: &CheckedWorkflow,
    ) -> RunProgress {
        let mut progress = RunProgress::new(workflow);
        for event in events {
            if let Some(fact) = progress.apply_event(event) {
                self.publish_fact(op, workflow, event.seq, event.at_ms, &fact, progress.state);
            }
        }
        progress
    }

    /// Adds a fact to a run's journal once, also after its end. The state of the run does not change.
    pub(crate) async fn append_fact_once(&self, op_id: &str, fact: &RunFact) -> Result<(), Error> {
        let (id, (kind, data)) = (op_id.to_owned(), fact.to_row());
        let written = self.store.write(move |connection| {
            let Some(op) = operations_log::load(connection, &id)? else { return Ok(None) };
            let known = operations_log::events(connection, &id, 0)?;
            if known.iter().any(|event| event.kind == kind && event.data == data) {
                return Ok(None);
            }
            let seq = operations_log::append(connection, &id, &kind, &data)?;
            Ok(Some((op, seq)))
        });
        if let Some((op, seq)) = written.await? {
            let state = WorkflowRunState::parse(&op.state).unwrap_or(WorkflowRunState::NeedsAttention);
            self.log.write_line(&op, seq, now_ms(), fact, state);
            self.changed.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Computes the success ratio of a workflow anew, for the metrics.
    pub(crate) async fn refresh_success_ratio(&self, name: String) {
        let id = name.clone();
        let read = self.store.read(move |connection| Ok(WorkflowStats::load(connection, &id)?)).await;
        match read {
            Ok(stats) => self.metrics.set_success_ratio(&name, stats.success_rate),
            Err(error) => tracing::warn!("the success ratio of {name} could not be read: {error}"),
        }
    }
}

/// The result of storing a fact: all events after the last known one, with the fact's own last, and the row's state.
pub(crate) struct WrittenFact {
    pub(crate) events: Vec<OperationEvent>,
    pub(crate) state: WorkflowRunState,
}

/// Stores a fact in a run's row and journal, and returns every event after `seen`; `None` when the run is over.
pub(crate) fn insert_fact(
    connection: &Connection,
    op_id: &str,
    seen: u64,
    fact: &RunFact,
) -> rusqlite::Result<Option<WrittenFact>> {
    let (kind, data) = fact.to_row();
    let state = match fact.run_state() {
        Some(state) => state,
        // A cancel may have changed the row's state meanwhile, which stays.
        None => {
            let known =
                operations_log::load(connection, op_id)?.and_then(|op| WorkflowRunState::parse(&op.state));
            known.unwrap_or(WorkflowRunState::Running)
        }
    };
    let deadline_ms = if let RunFact::Started { deadline_ms, .. } = fact { Some(*deadline_ms) } else { None };
    let to = operations_log::OperationChange {
        state: state.as_str().to_owned(),
        live: !state.is_terminal(),
        result: None,
        deadline_ms,
    };
    if !operations_log::advance(connection, op_id, &to, &kind, &data)? {
        return Ok(None);
    }
    let events = operations_log::events(connection, op_id, seen)?;
    Ok(Some(WrittenFact { events, state }))
}
