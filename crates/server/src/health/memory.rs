//! The memory of health, under one lock: statuses, alerts and recovery side by side, keyed by component.

use super::alerts::AlertBook;
use super::changes::HealthChanges;
use super::model::ClockReading;
use super::recovery::RecoveryBook;
use super::status::{ComponentSpec, MonitoringConfig, StatusEngine};

/// The state of health, and what of it must still be stored, published and started.
#[derive(Debug)]
pub(crate) struct HealthMemory {
    pub(crate) status: StatusEngine,
    pub(crate) alerts: AlertBook,
    pub(crate) recovery: RecoveryBook,
    pub(crate) changes: HealthChanges,
}

impl HealthMemory {
    pub(crate) fn new(config: MonitoringConfig, receivers: Vec<String>) -> Self {
        Self {
            status: StatusEngine::new(config),
            alerts: AlertBook::new(receivers),
            recovery: RecoveryBook::default(),
            changes: HealthChanges::default(),
        }
    }

    /// Whether something waits to be stored, published or started.
    pub(crate) fn has_changes(&self) -> bool {
        !(self.changes.is_empty() && self.recovery.attempts.is_empty())
    }

    /// Begins to watch a component, and continues its alerts of an earlier run.
    pub(crate) fn add_component(&mut self, spec: ComponentSpec, now: ClockReading) {
        let id = spec.id.clone();
        self.status.add(spec, now);
        self.alerts.adopt_orphans(&id);
    }

    /// Stops watching a component; its open alerts end as `removed`.
    pub(crate) fn remove_component(&mut self, id: &str, now: ClockReading) {
        let timing = self.status.config.alerting;
        self.alerts.end_component(id, &timing, now, &mut self.changes);
        if self.status.remove(id, now, &mut self.changes) {
            self.recovery.remove(id, &mut self.changes);
        }
    }

    /// Advances everything to `now`: statuses, then alerts and recovery, those of components that others need first.
    pub(crate) fn advance(&mut self, now: ClockReading) {
        self.status.advance(now, &mut self.changes);
        for id in self.status.roots_first() {
            let is_exhausted = self.recovery.is_exhausted(&id);
            self.alerts.evaluate(&id, &mut self.status, is_exhausted, now, &mut self.changes);
            self.recovery.evaluate(&id, &self.status, now, &mut self.changes);
        }
    }

    /// Ends alerts of components that were not registered again after the start.
    pub(crate) fn end_orphans(&mut self, now: ClockReading) {
        let timing = self.status.config.alerting;
        self.alerts.end_orphans(&timing, now, &mut self.changes);
    }
}
