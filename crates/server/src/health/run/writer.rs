//! Storing what happened, and queueing notices for delivery once they are stored.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use botops_core::error::Code;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::health::changes::{HealthRow, OutboxRow};
use crate::health::inner::HealthInner;

/// How often measurements are written; a crash loses at most this much of them.
const FLUSH: Duration = Duration::from_secs(1);

/// How often rows that are past their retention are deleted.
const PRUNE: Duration = Duration::from_secs(600);

/// Writes rows that must not be lost, in order, and queues notices once they are stored.
///
/// While the store cannot be written, notices are sent all the same: a full disk must be reported.
pub(crate) async fn write_rows(
    inner: Arc<HealthInner>,
    mut inbox: mpsc::UnboundedReceiver<Vec<HealthRow>>,
    stopping: CancellationToken,
) {
    let mut waiting: Vec<HealthRow> = Vec::new();
    let mut queued = 0;
    let mut sets = 0;
    loop {
        let retry = tokio::time::sleep(if waiting.is_empty() { Duration::from_secs(3_600) } else { FLUSH });
        tokio::select! {
            () = stopping.cancelled(), if inbox.is_empty() && waiting.is_empty() => return,
            set = inbox.recv() => {
                let Some(set) = set else { return };
                waiting.extend(set);
                sets += 1;
                while let Ok(more) = inbox.try_recv() {
                    waiting.extend(more);
                    sets += 1;
                }
            }
            () = retry => {}
        }
        let written = inner.writer.write_rows(waiting.clone()).await;
        inner.outbox.add(notices(waiting.get(queued..).unwrap_or_default()));
        queued = waiting.len();
        match written {
            Ok(()) => {
                waiting.clear();
                queued = 0;
                inner.stored.send_replace(sets);
            }
            Err(error) if error.code() == Code::Internal => {
                tracing::error!(
                    error.cause = error.cause_for_log(),
                    "a row of health cannot be stored: {error}"
                );
                waiting = write_one_by_one(&inner, waiting).await;
                queued = waiting.len();
                if waiting.is_empty() {
                    inner.stored.send_replace(sets);
                }
            }
            Err(_) if stopping.is_cancelled() => return,
            Err(_) => {}
        }
    }
}

/// Writes each row alone, so that one that cannot be stored does not hold up the others. Returns those worth another
/// try.
async fn write_one_by_one(inner: &HealthInner, rows: Vec<HealthRow>) -> Vec<HealthRow> {
    let mut left = Vec::new();
    for row in rows {
        let stored = inner.writer.write_rows(vec![row.clone()]).await;
        if stored.is_err_and(|error| error.code() != Code::Internal) {
            left.push(row);
        }
    }
    left
}

fn notices(rows: &[HealthRow]) -> Vec<OutboxRow> {
    let of = |row: &HealthRow| if let HealthRow::Outbox(row) = row { Some(row.clone()) } else { None };
    rows.iter().filter_map(of).collect()
}

/// Writes measurements once a second and deletes old rows.
pub(crate) async fn write_history(inner: Arc<HealthInner>, stopping: CancellationToken) {
    let mut pruned = Instant::now();
    loop {
        tokio::select! {
            () = stopping.cancelled() => {
                // One more attempt for the last measurements before the stop.
                let _ = inner.writer.flush(inner.now()).await;
                return;
            }
            () = tokio::time::sleep(FLUSH) => {}
        }
        let now = inner.now();
        // The store's own check reports a failure. Measurements of that second are lost, changes of status are not.
        let _ = inner.writer.flush(now).await;
        inner.progress.writer.store(inner.now().mono, Ordering::Relaxed);
        if pruned.elapsed() >= PRUNE {
            pruned = Instant::now();
            if let Err(error) = inner.writer.prune().await {
                tracing::warn!("old measurements could not be deleted: {error}");
            }
        }
    }
}
