//! One transition of a transaction written down: its row, its audit record and its event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;

use super::live::{LiveTrial, RECORD_AGAIN};
use crate::configs::audit::ConfigAudit;
use crate::configs::current::CurrentConfig;
use crate::configs::transaction::{ConfigTransaction, EndedBy, TransactionState};
use crate::configs::versions::mark_committed;
use crate::events::{Events, NewEvent};
use crate::operations_log;
use crate::store::Store;
use botops_contract::{EventKind, Severity};
use botops_core::error::{Code, Error};

/// Records transitions, and keeps the generation by which the bot distinguishes the newest botops from older ones.
#[derive(Debug)]
pub(crate) struct TransitionRecorder {
    store: Store,
    audit: ConfigAudit,
    events: Events,
    current: Arc<CurrentConfig>,
    /// Grows with each start; the bot refuses a message with an older one.
    generation: AtomicU64,
}

impl TransitionRecorder {
    /// Takes the next generation.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) async fn open(
        store: Store,
        audit: ConfigAudit,
        events: Events,
        current: Arc<CurrentConfig>,
    ) -> Result<Self, Error> {
        let generation = AtomicU64::new(next_generation(&store).await?);
        Ok(Self { store, audit, events, current, generation })
    }

    /// Writes down which state the transaction has reached. It is in that state once this is durable, and as before when
    /// that fails.
    pub(super) async fn record(&self, live: &mut LiveTrial, state: TransactionState) -> Result<(), Error> {
        if !self.store.is_durable() {
            // The audit's file would tell of an end that the next start does not find in the store.
            return Err(
                Error::new(Code::StoreUnavailable).detail("the store's file could not be used at the start")
            );
        }
        let mut txn = live.txn.clone();
        txn.state = state;
        txn.updated_ms = operations_log::now_ms();
        let (queue, record) = (self.audit.queue(), txn.record());
        let to = txn.as_move();
        let data = json!({"by": txn.progress.by, "outcome": txn.progress.outcome});
        let (id, version) = (txn.id.clone(), txn.plan.candidate.version);
        // What `HEAD` names is committed, whatever the bot says to it.
        let is_committed = state == TransactionState::Committed
            || (state == TransactionState::FailedAttention && self.current.is_committed(&txn.plan.candidate));
        self.store
            .write(move |connection| {
                if operations_log::advance(connection, &id, &to, &to.state, &data)? {
                    if is_committed {
                        mark_committed(connection, version, operations_log::now_ms())?;
                    }
                    queue(connection, record)?;
                }
                Ok(())
            })
            .await?;
        live.enter(state);
        live.txn.updated_ms = txn.updated_ms;
        self.publish(&txn);
        if !state.is_terminal() {
            self.current.show_live(&txn);
        }
        Ok(())
    }

    /// Goes on in a state that is so although it could not be recorded: the bot runs the candidate, or is told to go back.
    /// It is shown; a restart asks the bot.
    pub(super) fn go_on_unrecorded(&self, live: &mut LiveTrial, state: TransactionState) {
        live.enter(state);
        self.current.show_live(&live.txn);
    }

    /// As [`Self::record`], with the audit record in its file on return.
    pub(super) async fn record_and_flush(
        &self,
        live: &mut LiveTrial,
        state: TransactionState,
    ) -> Result<(), Error> {
        self.record(live, state).await?;
        self.audit.flush().await
    }

    /// The bot runs it, and that could not be recorded: it is watched all the same, and recorded later.
    pub(super) fn watch_unrecorded(&self, live: &mut LiveTrial, error: &Error) {
        tracing::error!("that config change {} is on trial is not recorded yet: {error}", live.txn.id);
        self.go_on_unrecorded(live, TransactionState::Trial);
        live.unrecorded = true;
        live.retry_at = Instant::now() + RECORD_AGAIN;
    }

    fn publish(&self, txn: &ConfigTransaction) {
        let severity = match (txn.state, txn.progress.by) {
            (TransactionState::FailedAttention, _) | (_, Some(EndedBy::BotCrash)) => Severity::Critical,
            (TransactionState::Activating, _) if txn.progress.outcome.is_some() => Severity::High,
            (_, Some(EndedBy::Criteria | EndedBy::BotTimer | EndedBy::Recovery)) => Severity::High,
            (TransactionState::RolledBack | TransactionState::Rejected, _) => Severity::Medium,
            _ => Severity::Low,
        };
        let version = txn.plan.candidate.version;
        let state = txn.state.as_str().replace('_', " ");
        let mut message = format!("config version {version} is {state}");
        if let Some(outcome) = &txn.progress.outcome {
            message = format!("{message}: {outcome}");
        }
        let failure = txn.failure();
        let code = failure.as_ref().map(|failure| failure.code().row().code);
        if let Some(code) = code {
            tracing::warn!(config.txn = %txn.id, config.state = txn.state.as_str(), error.code = code, "{message}");
        } else {
            tracing::info!(config.txn = %txn.id, config.state = txn.state.as_str(), "{message}");
        }
        let data = json!({
            "txn": txn.id, "state": txn.state, "by": txn.progress.by, "version": version,
            "base": txn.plan.base, "reason": txn.plan.reason, "actor": txn.actor.key_id,
        });
        self.events.publish(match &failure {
            Some(failure) => NewEvent::own_failure(EventKind::Config, severity, message, failure, data),
            None => NewEvent::own(EventKind::Config, severity, message, data),
        });
    }

    /// The generation that messages to the bot carry.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Exceeds a generation that the bot has seen, which is higher than ours when the store came from a backup.
    pub(super) fn exceed_generation(&self, of_bot: u64) {
        if of_bot <= self.generation() {
            return;
        }
        self.generation.store(of_bot + 1, Ordering::Relaxed);
        self.store.post("the config generation", move |connection| {
            connection
                .execute("UPDATE meta SET value = ?1 WHERE key = 'config_gen'", [(of_bot + 1).to_string()])?;
            Ok(())
        });
    }
}

async fn next_generation(store: &Store) -> Result<u64, Error> {
    let next: i64 = store
        .write(|connection| {
            Ok(connection.query_row(
                "INSERT INTO meta(key, value) VALUES('config_gen', '1')
                 ON CONFLICT(key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)
                 RETURNING CAST(value AS INTEGER)",
                [],
                |row| row.get(0),
            )?)
        })
        .await?;
    Ok(u64::try_from(next).unwrap_or_default())
}
