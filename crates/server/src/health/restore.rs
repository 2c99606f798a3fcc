//! Restoring the memory after a restart: streaks, open alerts, silences, budgets, and the time in which botops did
//! not run.

use std::collections::VecDeque;

use super::alerts::{Alert, AlertNotice, NoticeRecord, Silence, idempotency_key};
use super::changes::{HealthRow, NoticeEnd, OutboxRow};
use super::history::EarlierRun;
use super::memory::HealthMemory;
use super::model::{ClockReading, HealthLevel, StatusSpan};
use super::recovery::{RecoveryBudget, RecoveryMachine};
use super::status::{
    CLOCK_STEP, ClockStep, ComponentSpec, MaintenanceWindow, MonitoringConfig, StatusEngine, WatchedComponent,
};

/// Milliseconds between the last stored sign that botops ran and now, from which on that time counts as unknown.
const GAP: i64 = 5_000;

/// The memory as the last run stored it, and the notices that are still to be delivered.
pub(crate) fn restore_memory(
    left: EarlierRun,
    receivers: Vec<String>,
    now: ClockReading,
) -> (HealthMemory, Vec<OutboxRow>) {
    let config: Option<MonitoringConfig> =
        left.things("config").find_map(|(_, body)| serde_json::from_str(body).ok());
    let config = config.filter(|config| config.defects().is_empty()).unwrap_or_default();
    let mut memory = HealthMemory::new(config, receivers);
    let mut seed = [0_u8; 8];
    // Without randomness the waits are spread in the same way in every run; nothing else depends on it.
    let _ = getrandom::fill(&mut seed);
    memory.recovery.seed(u64::from_le_bytes(seed));
    let added = left.specs.iter().filter_map(|(_, spec)| serde_json::from_str::<ComponentSpec>(spec).ok());
    for spec in ComponentSpec::all_built_in().into_iter().chain(added) {
        memory.add_component(spec, now);
    }
    restore_quiet_times(&mut memory, &left);
    let step = left.things(CLOCK_STEP).find_map(|(_, body)| ClockStep::restore(body, now));
    memory.status.clock_step = step;
    restore_statuses(&mut memory.status, &left, now);
    restore_recovery(&mut memory, &left, now);
    let spans = left.spans.get("system").into_iter().flatten().copied();
    memory.status.system_spans.extend(spans);
    let gap = left.alive.filter(|alive| now.wall - alive > GAP);
    if let Some(alive) = gap {
        record_gap(&mut memory, alive);
    }
    restore_alerts(&mut memory, &left, now);
    memory.status.system_since = memory.status.system_spans.back().map_or(now.wall, |last| last.from);
    (memory, left.outbox)
}

/// Restores silences and maintenance windows.
fn restore_quiet_times(memory: &mut HealthMemory, left: &EarlierRun) {
    for (_, body) in left.things("silence") {
        if let Ok(silence) = serde_json::from_str::<Silence>(body) {
            memory.alerts.silences.insert(silence.id.clone(), silence);
        }
    }
    for (_, body) in left.things("maintenance") {
        if let Ok(window) = serde_json::from_str::<MaintenanceWindow>(body) {
            memory.status.maintenance.insert(window.id.clone(), window);
        }
    }
}

fn restore_statuses(status: &mut StatusEngine, left: &EarlierRun, now: ClockReading) {
    status.left_states = left.states.clone();
    for (id, component) in &mut status.components {
        if let Some(state) = status.left_states.remove(id) {
            component.resume(state, &status.config, now);
        }
        component.spans.extend(left.spans.get(id).into_iter().flatten().copied());
        resume_recorded(component, now);
    }
}

fn resume_recorded(component: &mut WatchedComponent, now: ClockReading) {
    if let Some(last) = component.spans.back() {
        component.recorded = Some((last.level, last.in_maintenance));
        component.status_since = last.from;
        if last.level.is_some_and(HealthLevel::is_up) {
            component.up_since = Some(now.mono);
        }
    }
}

fn restore_recovery(memory: &mut HealthMemory, left: &EarlierRun, now: ClockReading) {
    for (_, body) in left.things("recovery_budget") {
        if let Some((offset, budget)) = stored::<RecoveryBudget>(body, "budget") {
            memory.recovery.restore_budget(budget, offset - now.offset());
        }
    }
    for (id, body) in left.things("recovery") {
        if let Some((offset, machine)) = stored::<RecoveryMachine>(body, "recovery")
            && memory.status.components.contains_key(id)
        {
            memory.recovery.restore_machine(id, machine, offset - now.offset(), now);
        }
    }
    memory.recovery.resume_attempts(&memory.status);
}

fn stored<T: serde::de::DeserializeOwned>(body: &str, member: &str) -> Option<(i64, T)> {
    let mut body: serde_json::Value = serde_json::from_str(body).ok()?;
    let offset = body["offset"].as_i64()?;
    serde_json::from_value(body[member].take()).ok().map(|value| (offset, value))
}

/// Records the time in which botops did not run as unknown, for each component and for the system.
fn record_gap(memory: &mut HealthMemory, alive: i64) {
    let status = &mut memory.status;
    for (id, component) in &mut status.components {
        if end_in_gap(&mut component.spans, alive) {
            component.recorded = Some((None, false));
            memory.changes.store(unknown_since(id, alive));
        }
    }
    if end_in_gap(&mut status.system_spans, alive) {
        memory.changes.store(unknown_since("system", alive));
    }
}

/// Ends the last span at the beginning of the gap; false when its level was unknown anyway.
fn end_in_gap(spans: &mut VecDeque<StatusSpan>, alive: i64) -> bool {
    let was_known = spans.back().is_some_and(|last| last.level.is_some());
    if was_known {
        spans.push_back(StatusSpan { from: alive, level: None, in_maintenance: false });
    }
    was_known
}

fn unknown_since(component: &str, alive: i64) -> HealthRow {
    HealthRow::Transition {
        component: component.to_owned(),
        at: alive,
        level: None,
        maintenance: false,
        reason: Some("botops did not run".to_owned()),
    }
}

fn restore_alerts(memory: &mut HealthMemory, left: &EarlierRun, now: ClockReading) {
    for body in &left.alerts {
        let Ok(mut alert) = serde_json::from_str::<Alert>(body) else { continue };
        alert.resume(now);
        recall_notices(&mut alert, left);
        let components = &memory.status.components;
        memory.alerts.restore_open(alert, |id| components.contains_key(id));
    }
    for body in left.resolved.iter().rev() {
        if let Ok(mut alert) = serde_json::from_str::<Alert>(body) {
            recall_notices(&mut alert, left);
            memory.alerts.restore_resolved(alert);
        }
    }
}

/// Completes what is known of an alert's notices from the outbox: what ended while botops was ending itself, and the first
/// notices of an alert that an older version stored without them.
fn recall_notices(alert: &mut Alert, left: &EarlierRun) {
    if alert.notices.is_empty() {
        for receiver in alert.told_to.clone() {
            let (notice, queued_at) = (AlertNotice::Firing, alert.fired_at.unwrap_or(alert.starts_at));
            let key = idempotency_key(alert, notice, &receiver);
            alert.record_queued(NoticeRecord { key, receiver, notice, queued_at, end: None, ended_at: None });
        }
    }
    let waits = |key: &String| left.outbox.iter().any(|row| row.key == *key);
    for record in alert.notices.iter_mut().filter(|record| record.end.is_none() && !waits(&record.key)) {
        let is_delivered = left.delivered.contains(&record.key);
        record.end = Some(if is_delivered { NoticeEnd::Delivered } else { NoticeEnd::GivenUp });
    }
}
