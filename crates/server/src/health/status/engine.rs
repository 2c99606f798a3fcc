//! The statuses of all components: their checks, maintenance, and the status of the system.
//!
//! In memory and without I/O: it gets moments and samples, and puts what must be stored and published into
//! [`HealthChanges`]. Alerts and recovery are kept beside it and read it.

use std::collections::{BTreeMap, VecDeque};

use botops_contract::Severity;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::aggregate::{SystemStatus, aggregate};
use super::clock_step::ClockStep;
use super::component::{StoredComponent, WatchedComponent, remember_span};
use super::config::{ComponentSpec, MonitoringConfig};
use super::maintenance::MaintenanceWindow;
use crate::health::changes::{HealthChanges, HealthRow};
use crate::health::checks::{CheckKind, CheckSample};
use crate::health::model::{ClockReading, ConfirmedStatus, HealthLevel, HealthStatus, StatusSpan};
use crate::health::units::seconds;

/// Milliseconds by which the wall clock must jump to be worth an event.
const JUMP: i64 = 2_000;

/// A check that is due, for the scheduler to run.
#[derive(Debug, Clone)]
pub(crate) struct DueCheck {
    pub(crate) id: String,
    pub(crate) check: CheckKind,
    pub(crate) timeout_ms: i64,
}

/// The statuses of all components and of the system.
#[derive(Debug)]
pub(crate) struct StatusEngine {
    pub(crate) config: MonitoringConfig,
    pub(crate) components: BTreeMap<String, WatchedComponent>,
    pub(crate) maintenance: BTreeMap<String, MaintenanceWindow>,
    /// The system's status; `None` until the first [`StatusEngine::advance`].
    pub(crate) system: Option<SystemStatus>,
    pub(crate) system_since: i64,
    /// The system's spans of the last day, oldest first.
    pub(crate) system_spans: VecDeque<StatusSpan>,
    /// Stored states of an earlier run, of components that have not been registered yet.
    pub(crate) left_states: BTreeMap<String, StoredComponent>,
    last_reading: Option<ClockReading>,
    /// The steps of the wall clock that are shown; `None` when none was seen.
    pub(crate) clock_step: Option<ClockStep>,
}

impl StatusEngine {
    pub(crate) fn new(config: MonitoringConfig) -> Self {
        Self {
            config,
            components: BTreeMap::new(),
            maintenance: BTreeMap::new(),
            system: None,
            system_since: 0,
            system_spans: VecDeque::new(),
            left_states: BTreeMap::new(),
            last_reading: None,
            clock_step: None,
        }
    }

    /// Begins to watch a component, with its state of an earlier run if there is one.
    pub(crate) fn add(&mut self, spec: ComponentSpec, now: ClockReading) {
        let id = spec.id.clone();
        let mut component = WatchedComponent::new(spec, &self.config, now);
        if let Some(stored) = self.left_states.remove(&id) {
            component.resume(stored, &self.config, now);
        }
        self.components.insert(id, component);
    }

    /// Stops watching a component; false when there is none with this id.
    pub(crate) fn remove(&mut self, id: &str, now: ClockReading, changes: &mut HealthChanges) -> bool {
        if self.components.remove(id).is_none() {
            return false;
        }
        changes.store(HealthRow::Transition {
            component: id.to_owned(),
            at: now.wall,
            level: None,
            maintenance: false,
            reason: Some("removed".to_owned()),
        });
        true
    }

    /// Takes the checks that are due, marked as begun.
    pub(crate) fn take_due(&mut self, now: ClockReading) -> Vec<DueCheck> {
        let mut jobs = Vec::new();
        if !self.config.enable_monitoring {
            return jobs;
        }
        for component in self.components.values_mut().filter(|component| component.due_at() <= now.mono) {
            if component.in_flight {
                component.skipped += 1;
                let interval = component.spec.interval_ms(&self.config);
                while component.next_due <= now.mono {
                    component.next_due += interval;
                }
                continue;
            }
            component.begin(&self.config, now);
            jobs.push(DueCheck {
                id: component.spec.id.clone(),
                check: component.spec.check.clone(),
                timeout_ms: component.spec.timeout_ms(&self.config),
            });
        }
        jobs
    }

    /// When the next check is due, in monotonic milliseconds; `None` while monitoring is stopped.
    pub(crate) fn next_due(&self) -> Option<i64> {
        let watched = self.config.enable_monitoring;
        let idle = self.components.values().filter(|component| watched && !component.in_flight);
        idle.map(WatchedComponent::due_at).min()
    }

    /// Requests a check now. One that still runs, or began less than a second ago, counts as that check, and so does the
    /// last one of a target that asks to wait.
    ///
    /// Returns how many checks the component will have completed when the requested one is done.
    pub(crate) fn request_check(&mut self, id: &str, now: ClockReading) -> Option<u64> {
        let component = self.components.get_mut(id)?;
        if component.in_flight {
            return Some(component.runs + 1);
        }
        let is_recent = component.last_start.is_some_and(|start| now.mono - start < 1_000);
        if is_recent || component.current_wait(now).is_some() {
            return Some(component.runs);
        }
        component.next_due = now.mono;
        Some(component.runs + 1)
    }

    /// Takes the result of a check.
    pub(crate) fn finish_check(
        &mut self,
        id: &str,
        sample: CheckSample,
        took_ms: f64,
        now: ClockReading,
    ) -> bool {
        let Some(component) = self.components.get_mut(id) else { return false };
        component.finish(sample, took_ms, &self.config, now);
        true
    }

    /// Makes a component's next check due as soon as possible.
    pub(crate) fn check_soon(&mut self, id: &str, now: ClockReading) {
        if let Some(component) = self.components.get_mut(id) {
            component.next_due = component.next_due.min(now.mono);
        }
    }

    /// Replaces the config; no component waits longer for its next check than the new interval.
    pub(crate) fn configure(&mut self, config: MonitoringConfig, now: ClockReading) {
        let starts = config.enable_monitoring && !self.config.enable_monitoring;
        for component in self.components.values_mut() {
            let interval = component.spec.interval_ms(&config);
            component.next_due = component.next_due.min(now.mono + interval);
            if starts {
                component.next_due = component.next_due.min(now.mono + 1_000);
            }
        }
        self.config = config;
    }

    /// Advances to `now`: maintenance, statuses, the system.
    pub(crate) fn advance(&mut self, now: ClockReading, changes: &mut HealthChanges) {
        self.compare_clocks(now, changes);
        let wall = DateTime::<Utc>::from_timestamp_millis(now.wall).unwrap_or_default();
        for component in self.components.values_mut() {
            let id = &component.spec.id;
            component.in_maintenance = self.maintenance.values().any(|window| window.covers(id, wall));
        }
        self.record_statuses(now, changes);
        self.record_system(now, changes);
    }

    /// Treats all samples as older by the time the machine slept, and makes all checks due.
    pub(crate) fn resume_after_sleep(
        &mut self,
        slept_ms: i64,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) {
        for component in self.components.values_mut() {
            component.tracker.shift(-slept_ms);
            if let Some(wait) = &mut component.wait {
                wait.until -= slept_ms;
            }
            component.next_due = component.next_due.min(now.mono);
        }
        let message = format!("the machine slept for {:.0} s", seconds(slept_ms));
        let data = json!({"event_type": "clock.sleep", "slept_ms": slept_ms});
        changes.publish(Severity::Medium, message, data);
    }

    /// Ids of the components that this one needs.
    pub(crate) fn parents(&self, id: &str) -> &[String] {
        self.components.get(id).map(|component| component.spec.depends_on.as_slice()).unwrap_or_default()
    }

    /// The id of the component that this one depends on in the end, following the first dependency of each.
    pub(crate) fn root(&self, id: &str) -> String {
        let mut root = id;
        for _ in 0..self.components.len() {
            let Some(parent) = self.parents(root).first() else { break };
            root = parent;
        }
        root.to_owned()
    }

    /// Whether a component that this one needs is confirmed DOWN.
    pub(crate) fn is_parent_down(&self, id: &str, now: ClockReading) -> bool {
        let down = ConfirmedStatus::Known(HealthLevel::Down);
        let mut parents = self.parents(id).iter().filter_map(|parent| self.components.get(parent));
        parents.any(|parent| parent.confirmed_status(&self.config, now) == down)
    }

    /// Ids of all components, those that others need first.
    pub(crate) fn roots_first(&self) -> Vec<String> {
        let limit = self.components.len();
        let mut ids: Vec<(usize, String)> =
            self.components.keys().map(|id| (self.depth(id, limit), id.clone())).collect();
        ids.sort();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// The longest path to a component without dependencies. `limit` ends the walk if there is a circle.
    fn depth(&self, id: &str, limit: usize) -> usize {
        if limit == 0 {
            return 0;
        }
        self.parents(id).iter().map(|parent| 1 + self.depth(parent, limit - 1)).max().unwrap_or(0)
    }

    fn compare_clocks(&mut self, now: ClockReading, changes: &mut HealthChanges) {
        let Some(last) = self.last_reading.replace(now) else { return };
        let jump = now.offset() - last.offset();
        if jump.abs() <= JUMP {
            return;
        }
        let step = ClockStep::after(self.clock_step, jump, now);
        self.clock_step = Some(step);
        changes.store(step.row());
        let message = format!("the wall clock jumped by {:.1} s", seconds(jump));
        let data = json!({"event_type": "clock.jump", "jump_ms": jump});
        changes.publish(Severity::Medium, message, data);
    }

    fn record_statuses(&mut self, now: ClockReading, changes: &mut HealthChanges) {
        let mut published = Vec::new();
        for component in self.components.values_mut() {
            let confirmed = component.confirmed_status(&self.config, now);
            let before = component.recorded.map(|(level, _)| level);
            if !component.record_status(confirmed, now) {
                continue;
            }
            let reason = confirmed.reason().or_else(|| component.reason_of(confirmed)).map(str::to_owned);
            changes.store(HealthRow::Transition {
                component: component.spec.id.clone(),
                at: now.wall,
                level: confirmed.level(),
                maintenance: component.in_maintenance,
                reason: reason.clone(),
            });
            let is_first = before.is_none() && confirmed == ConfirmedStatus::Starting;
            if before != Some(confirmed.level()) && !is_first {
                published.push((component.spec.id.clone(), confirmed, before.flatten(), reason));
            }
        }
        for (id, confirmed, before, reason) in published {
            let root = self.root(&id);
            if let Some(component) = self.components.get(&id) {
                publish_status(component, &root, confirmed, before, reason.as_deref(), changes);
            }
        }
    }

    fn record_system(&mut self, now: ClockReading, changes: &mut HealthChanges) {
        let mut system = self.evaluate_system(now);
        if !self.config.enable_monitoring {
            system.status = HealthStatus::Unknown;
            system.reason = Some("monitoring_stopped");
        }
        if self.system.as_ref().is_none_or(|before| before.status != system.status) {
            let level = system.status.level();
            if self.system.is_some() {
                publish_system_status(&system, changes);
            }
            changes.store(HealthRow::Transition {
                component: "system".to_owned(),
                at: now.wall,
                level,
                maintenance: false,
                reason: system.reason.map(str::to_owned).or_else(|| Some(system.caused_by.join(", "))),
            });
            let span = StatusSpan { from: now.wall, level, in_maintenance: false };
            remember_span(&mut self.system_spans, span);
            self.system_since = now.wall;
        }
        self.system = Some(system);
    }

    /// Derives the system's status from the components as they are now.
    pub(crate) fn evaluate_system(&self, now: ClockReading) -> SystemStatus {
        let parts: Vec<_> =
            self.components.values().map(|component| component.as_part(&self.config, now)).collect();
        aggregate(&parts)
    }
}

fn publish_status(
    component: &WatchedComponent,
    root: &str,
    confirmed: ConfirmedStatus,
    before: Option<HealthLevel>,
    reason: Option<&str>,
    changes: &mut HealthChanges,
) {
    let id = &component.spec.id;
    let status = confirmed.status();
    let previous = before.map_or(HealthStatus::Unknown, HealthStatus::from);
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let message = format!("{id} is {}{why}", status.as_str());
    let data = json!({"event_type": "component.status_changed", "component_id": id,
        "component_type": component.spec.check.component_type(), "status": status,
        "previous_status": previous, "reason": reason, "root_component": root});
    let severity = confirmed.level().map_or(Severity::Medium, HealthLevel::severity);
    changes.publish(severity, message, data);
}

fn publish_system_status(system: &SystemStatus, changes: &mut HealthChanges) {
    let causes = system.caused_by.join(", ");
    let by = if causes.is_empty() { String::new() } else { format!(", because of {causes}") };
    let message = format!("the system is {}{by}", system.status.as_str());
    let data = json!({"event_type": "system.status_changed", "status": system.status,
        "caused_by": system.caused_by, "reason": system.reason});
    let severity = system.status.level().map_or(Severity::Medium, HealthLevel::severity);
    changes.publish(severity, message, data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_while_monitoring_is_stopped() {
        let at = |mono| ClockReading { mono, wall: 1_700_000_000_000 + mono };
        let mut engine = StatusEngine::new(MonitoringConfig::default());
        for spec in ComponentSpec::all_built_in() {
            engine.add(spec, at(0));
        }
        assert!(engine.next_due().is_some());
        // Otherwise the overdue check, which nothing takes here, would stay due forever.
        engine.config.enable_monitoring = false;
        assert!(engine.take_due(at(3_600_000)).is_empty());
        assert_eq!(engine.next_due(), None);
        engine.config.enable_monitoring = true;
        assert!(!engine.take_due(at(3_600_000)).is_empty());
    }
}
