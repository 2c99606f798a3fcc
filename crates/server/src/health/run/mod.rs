//! The loops of health: running checks that are due, storing what happened, delivering notices, recovering.

mod recovery_worker;
mod scheduler;
mod watchdog;
mod writer;

use std::sync::Arc;

use botops_core::tasks::{OnFailure, Tasks};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use recovery_worker::{describe_workflows, follow_operators, run_recovery};
use scheduler::{STARTS, schedule_checks};
use watchdog::ask_watchdog;
use writer::{write_history, write_rows};

use super::alerts::{deliver_notices, push_to_alertmanager};
use super::changes::OutboxRow;
use super::inner::{HealthInboxes, HealthInner};
use super::options::HealthOptions;

/// Starts every loop as a background task.
pub(crate) fn start_loops(
    inner: &Arc<HealthInner>,
    options: &HealthOptions,
    inboxes: HealthInboxes,
    tasks: &Tasks,
) {
    let stopping = tasks.stopping();
    let permits = Arc::new(Semaphore::new(STARTS));
    let (this, token, spawner) = (inner.clone(), stopping.clone(), tasks.clone());
    tasks.supervise("health", move || {
        schedule_checks(this.clone(), permits.clone(), spawner.clone(), token.clone())
    });
    let rows = write_rows(inner.clone(), inboxes.rows, stopping.clone());
    tasks.spawn("health-rows", OnFailure::Log, rows);
    let (this, token) = (inner.clone(), stopping.clone());
    tasks.supervise("health-history", move || write_history(this.clone(), token.clone()));
    let recovery = run_recovery(inner.clone(), inboxes.attempts, stopping.clone());
    tasks.spawn("health-recovery", OnFailure::Log, recovery);
    let (this, token) = (inner.clone(), stopping.clone());
    tasks.supervise("health-workflows", move || describe_workflows(this.clone(), token.clone()));
    let (this, token) = (inner.clone(), stopping.clone());
    tasks.supervise("health-operators", move || follow_operators(this.clone(), token.clone()));
    start_receivers(inner, options, &stopping, tasks);
    if let Some(url) = options.watchdog.clone() {
        let this = inner.clone();
        tasks.supervise("health-watchdog", move || ask_watchdog(this.clone(), url.clone(), stopping.clone()));
    }
}

/// Starts one loop for each receiver, and one for Alertmanager.
fn start_receivers(
    inner: &Arc<HealthInner>,
    options: &HealthOptions,
    stopping: &CancellationToken,
    tasks: &Tasks,
) {
    for receiver in options.receivers() {
        let (this, token) = (inner.clone(), stopping.clone());
        tasks.supervise("health-notices", move || {
            let recorder = this.clone();
            let record = move |rows: &[OutboxRow], end| recorder.record_notices(rows, end);
            let (outbox, http) = (this.outbox.clone(), this.targets.own_http.clone());
            deliver_notices(receiver.clone(), outbox, record, http, token.clone())
        });
    }
    if let Some(url) = options.alertmanager.clone() {
        let url = url.join("api/v2/alerts").unwrap_or(url);
        let (this, token) = (inner.clone(), stopping.clone());
        tasks.supervise("health-alertmanager", move || {
            let reader = this.clone();
            let read = move || reader.snapshot().alerts.clone();
            let (http, receivers) = (this.targets.own_http.clone(), this.outbox.receivers.clone());
            push_to_alertmanager(url.clone(), read, this.alerted.clone(), receivers, http, token.clone())
        });
    }
}
