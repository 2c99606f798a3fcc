//! The queue: runs that wait for a lock get it in the order in which they came.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::journal::{Fact, Folded, RunState, Written, write_fact};
use super::{Shared, plan};
use crate::operations_log::{self, OperationKind, OperationRow, now_ms};
use botops_core::error::Error;

/// How often a queue with somebody in it looks whether its lock is free.
const QUEUE_LOOK: Duration = Duration::from_millis(250);

/// How long a run may wait in a queue.
const QUEUE_MAX_MS: i64 = 3_600_000;

/// Gives free locks to those who wait, first come, first served.
pub(super) async fn serve_queue(shared: Arc<Shared>) {
    loop {
        let idle = shared.waiting.load(Ordering::Relaxed) == 0;
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = shared.queue.notified() => {}
            () = tokio::time::sleep(QUEUE_LOOK), if !idle => {}
        }
        if let Err(error) = shared.admit_waiting().await {
            tracing::warn!(
                error.cause = error.cause_for_log(),
                "the queue of runs waits for the store: {error}"
            );
        }
    }
}

impl Shared {
    async fn admit_waiting(self: &Arc<Self>) -> Result<(), Error> {
        let live = self
            .store
            .read(|connection| Ok(operations_log::live(connection, OperationKind::Workflow)?))
            .await?;
        let queued: Vec<OperationRow> =
            live.into_iter().filter(|op| op.state == RunState::Queued.as_str()).collect();
        self.waiting.store(queued.len(), Ordering::Relaxed);
        for op in queued {
            let workflow = self.definition(&op).await?;
            let Some(lock) = plan::lock_key(&workflow, self.world.bots.id()) else { continue };
            let (id, definition) = (op.op_id.clone(), workflow.clone());
            let is_too_old = now_ms() - op.created_ms > QUEUE_MAX_MS;
            let begun = self
                .store
                .write(move |connection| {
                    if is_too_old {
                        let error = None;
                        let late = Fact::Finished { state: RunState::Cancelled, outputs: None, error };
                        return Ok(write_fact(connection, &id, 0, &late)?.map(|written| (written, late)));
                    }
                    if operations_log::take_lock(connection, &id, &lock)?.is_some() {
                        return Ok(None);
                    }
                    let limit =
                        i64::try_from(definition.definition.policy.timeout_s).unwrap_or(3_600) * 1_000;
                    let started = Fact::Started { deadline_ms: now_ms() + limit };
                    Ok(write_fact(connection, &id, 0, &started)?.map(|written| (written, started)))
                })
                .await?;
            let Some((Written { events, state }, fact)) = begun else { continue };
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            if let Some(own) = events.last() {
                self.tell(&op, own.seq, own.at_ms, &fact, state);
            }
            if !state.is_terminal() {
                let folded = Folded::of(&workflow, &events);
                self.launch(op, workflow, folded);
            }
        }
        Ok(())
    }
}
