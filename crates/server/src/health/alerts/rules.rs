//! The alerts of all components: which conditions hold, what holds notices back, and who is notified.
//!
//! Keyed by component, beside the status engine, which it reads. Changes go into [`HealthChanges`].

use std::collections::{BTreeMap, VecDeque};

use super::machine::{
    Alert, AlertChange, AlertCondition, AlertEvaluation, AlertKind, AlertLabels, AlertOverlay, AlertState,
    advance_alert, idempotency_key,
};
use super::notice::{AlertNotice, NoticeRecord};
use super::silence::{Silence, SilenceReach};
use super::view::{alert_event, notice_body, severity_name};
use crate::health::changes::{HealthChanges, HealthRow, NoticeEnd, OutboxRow};
use crate::health::limit_rules::LimitRuleView;
use crate::health::model::{ClockReading, ConfirmedStatus, Criticality, HealthLevel};
use crate::health::status::{AlertTiming, MonitoringConfig, StatusEngine, WatchedComponent};
use crate::health::units::time;
use botops_core::durable_deadline::DurableDeadline;

/// Resolved alerts kept in memory.
const RESOLVED: usize = 200;

/// How long an alert waits until the components it depends on were checked, in milliseconds.
const PARENT_WAIT: i64 = 15_000;

/// The limits of this file.
pub(crate) fn alert_rules() -> Vec<LimitRuleView> {
    let decides = "how long an alert waits until what its component depends on was checked";
    vec![LimitRuleView::fixed_ms("parent_wait", PARENT_WAIT, decides)]
}

/// All alerts and silences.
#[derive(Debug, Default)]
pub(crate) struct AlertBook {
    /// Pending and firing ones, by component and kind.
    open: BTreeMap<(String, AlertKind), Alert>,
    /// Ended alerts, the oldest first; at most [`RESOLVED`].
    resolved: VecDeque<Alert>,
    pub(crate) silences: BTreeMap<String, Silence>,
    /// Names of the receivers that are notified.
    pub(crate) receivers: Vec<String>,
    /// Open alerts of an earlier run, of components that have not been registered yet.
    orphans: Vec<Alert>,
}

impl AlertBook {
    pub(crate) fn new(receivers: Vec<String>) -> Self {
        Self { receivers, ..Self::default() }
    }

    /// Restores an alert that an earlier run left open. `is_watched` says whether a component is watched now.
    pub(crate) fn restore_open(&mut self, alert: Alert, is_watched: impl Fn(&str) -> bool) {
        match alert.component().zip(AlertKind::of(&alert)) {
            Some((component, kind)) if is_watched(component) => {
                self.open.insert((component.to_owned(), kind), alert);
            }
            // Its component may be registered later in the start.
            _ => self.orphans.push(alert),
        }
    }

    /// Restores an alert that ended in an earlier run; to be called in order, the newest last.
    pub(crate) fn restore_resolved(&mut self, alert: Alert) {
        self.resolved.push_back(alert);
    }

    /// Continues the alerts that an earlier run left of this component, which is watched now.
    pub(crate) fn adopt_orphans(&mut self, id: &str) {
        for alert in self.orphans.extract_if(.., |alert| alert.component() == Some(id)) {
            if let Some(kind) = AlertKind::of(&alert) {
                self.open.insert((id.to_owned(), kind), alert);
            }
        }
    }

    /// Ends alerts of components that were not registered again; their receivers are notified of the end.
    pub(crate) fn end_orphans(
        &mut self,
        timing: &AlertTiming,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) {
        for alert in std::mem::take(&mut self.orphans) {
            self.end_removed(alert, timing, now, changes);
        }
    }

    /// Ends the open alerts of a component that is no longer watched.
    pub(crate) fn end_component(
        &mut self,
        id: &str,
        timing: &AlertTiming,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) {
        for kind in AlertKind::ALL {
            if let Some(alert) = self.open.remove(&(id.to_owned(), kind)) {
                self.end_removed(alert, timing, now, changes);
            }
        }
    }

    fn end_removed(
        &mut self,
        alert: Alert,
        timing: &AlertTiming,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) {
        let spare = alert.clone();
        let mut slot = Some(alert);
        let happened = advance_alert(&mut slot, || spare, &AlertEvaluation::REMOVED, timing, now);
        self.record_changes(slot, &happened, now, changes);
    }

    /// Evaluates all alerts of one component.
    pub(crate) fn evaluate(
        &mut self,
        id: &str,
        status: &mut StatusEngine,
        recovery_exhausted: bool,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) {
        let may_fire = may_fire(id, status, now);
        let Some(component) = status.components.get(id) else { return };
        let overlays = overlays_of(component, status, now);
        let timing = status.config.alerting;
        for kind in AlertKind::ALL {
            let condition = condition_of(kind, component, &status.config, recovery_exhausted, now);
            let key = (id.to_owned(), kind);
            if !self.open.contains_key(&key) && !matches!(condition, AlertCondition::True(_)) {
                continue;
            }
            let labels = labels_of(kind, component);
            let level =
                if let AlertCondition::True(level) = condition { level } else { HealthLevel::Warning };
            let mut overlays = overlays.clone();
            if kind == AlertKind::Flapping {
                overlays.retain(|overlay| *overlay != AlertOverlay::Flapping);
            }
            if self.is_silenced(&labels, level, now) {
                overlays.push(AlertOverlay::Silenced);
            }
            let is_required = component.spec.criticality == Criticality::Required;
            let evaluation = AlertEvaluation {
                condition,
                overlays: &overlays,
                may_fire,
                is_urgent: level == HealthLevel::Down && is_required,
                summary: &summary_of(kind, component, &status.config, now),
            };
            let mut slot = self.open.remove(&key);
            let birth = || self.new_alert(labels, status.root(id));
            let happened = advance_alert(&mut slot, birth, &evaluation, &timing, now);
            if let Some(alert) = self.record_changes(slot, &happened, now, changes) {
                self.open.insert(key, alert);
            }
        }
    }

    fn new_alert(&self, labels: AlertLabels, group: String) -> Alert {
        let mut alert = Alert::new(uuid::Uuid::now_v7().to_string(), labels, group);
        let mut before = self.resolved.iter().rev();
        let previous = before.find(|other| other.fingerprint == alert.fingerprint);
        alert.previous = previous.map(|other| other.id.clone());
        alert
    }

    fn is_silenced(&self, labels: &AlertLabels, level: HealthLevel, now: ClockReading) -> bool {
        let severity = severity_name(level.severity());
        self.silences.values().any(|silence| silence.matches(labels, severity, time(now.wall)))
    }

    /// Stores, publishes and notifies what changed about an alert, and returns the alert while it is open.
    fn record_changes(
        &mut self,
        slot: Option<Alert>,
        happened: &[AlertChange],
        now: ClockReading,
        changes: &mut HealthChanges,
    ) -> Option<Alert> {
        let mut alert = slot?;
        if happened.is_empty() {
            return Some(alert);
        }
        if happened.contains(&AlertChange::Cancelled) {
            // It ended before it fired. Its stored row goes too, or it would conflict with the next alert of the same
            // fingerprint.
            changes.store(HealthRow::Forgotten { alert: alert.id });
            return None;
        }
        alert.offset = now.offset();
        let mut notices = Vec::new();
        for change in happened {
            if let AlertChange::Notice(notice) = change {
                if *notice == AlertNotice::Firing {
                    alert.told_to.clone_from(&self.receivers);
                }
                let rows = outbox_rows(&alert, *notice, now);
                for row in &rows {
                    alert.record_queued(NoticeRecord {
                        key: row.key.clone(),
                        receiver: row.receiver.clone(),
                        notice: *notice,
                        queued_at: now.wall,
                        end: None,
                        ended_at: None,
                    });
                }
                notices.extend(rows);
            }
            changes.events.extend(alert_event(&alert, *change));
        }
        changes.store(HealthRow::Alert(alert.row()));
        changes.rows.extend(notices.into_iter().map(HealthRow::Outbox));
        if alert.state != AlertState::Resolved {
            return Some(alert);
        }
        self.resolved.push_back(alert);
        if self.resolved.len() > RESOLVED {
            self.resolved.pop_front();
        }
        None
    }

    /// Records that notices were taken by their receiver or given up, and stores it with their alerts.
    pub(crate) fn record_notices(
        &mut self,
        rows: &[OutboxRow],
        end: NoticeEnd,
        now: ClockReading,
        changes: &mut HealthChanges,
    ) {
        for row in rows {
            changes.store(HealthRow::NoticeEnded { key: row.key.clone(), at: now.wall, end });
            let all = self.open.values_mut().chain(&mut self.resolved).chain(&mut self.orphans);
            for alert in all.filter(|alert| alert.notices.iter().any(|record| record.key == row.key)) {
                for record in alert.notices.iter_mut().filter(|record| record.key == row.key) {
                    record.end = Some(end);
                    record.ended_at = Some(now.wall);
                }
                changes.store(HealthRow::Alert(alert.row()));
            }
        }
    }

    /// What a silence would hold back now: open alerts that its matchers match, whenever it begins.
    pub(crate) fn reach_of(&self, silence: &Silence) -> SilenceReach {
        let matches =
            |alert: &&Alert| silence.matches_labels(&alert.labels, severity_name(alert.level.severity()));
        let matching = self.open.values().filter(matches);
        SilenceReach::of(matching.map(|alert| (alert.id.clone(), alert.is_firing())))
    }

    /// Pending and firing alerts, by component and kind.
    pub(crate) fn open_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.open.values()
    }

    /// Resolved alerts, the newest first.
    pub(crate) fn resolved_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.resolved.iter().rev()
    }

    /// Silences in force.
    pub(crate) fn active_silences(&self, now: ClockReading) -> usize {
        let wall = time(now.wall);
        self.silences.values().filter(|silence| silence.state(wall) == "active").count()
    }

    /// Records that an operator took note of an alert, open or resolved; `None` when no alert has this id.
    pub(crate) fn acknowledge(
        &mut self,
        id: &str,
        by: &str,
        note: Option<String>,
        now: ClockReading,
    ) -> Option<&Alert> {
        let mut all = self.open.values_mut().chain(self.resolved.iter_mut());
        let alert = all.find(|alert| alert.id == id)?;
        alert.acked_by = Some(by.to_owned());
        alert.acked_at = Some(now.wall);
        alert.ack_note = note;
        Some(alert)
    }
}

/// Whether an alert of the component may fire now.
///
/// Not within the grace after its start, and not before the components it depends on were checked; this function
/// requests those checks.
fn may_fire(id: &str, status: &mut StatusEngine, now: ClockReading) -> bool {
    let Some(component) = status.components.get(id) else { return false };
    if component.in_grace(&status.config, now) {
        return false;
    }
    let Some(failing) = component.failing_since else { return true };
    if now.mono - failing > PARENT_WAIT {
        return true;
    }
    let mut all_checked = true;
    for id in component.spec.depends_on.clone() {
        let Some(parent) = status.components.get(&id) else { continue };
        let was_checked =
            parent.last_start.is_some_and(|start| start >= failing) && !parent.tracker.is_unconfirmed();
        if !was_checked {
            all_checked = false;
            let is_quiet = parent.last_start.is_none_or(|start| now.mono - start >= 1_000);
            if !parent.in_flight && is_quiet {
                status.check_soon(&id, now);
            }
        }
    }
    all_checked
}

fn overlays_of(component: &WatchedComponent, status: &StatusEngine, now: ClockReading) -> Vec<AlertOverlay> {
    let mut overlays = Vec::new();
    if component.in_maintenance {
        overlays.push(AlertOverlay::Maintenance);
    }
    if status.is_parent_down(&component.spec.id, now) {
        overlays.push(AlertOverlay::Parent);
    }
    if component.tracker.is_flapping() {
        overlays.push(AlertOverlay::Flapping);
    }
    overlays
}

fn condition_of(
    kind: AlertKind,
    component: &WatchedComponent,
    config: &MonitoringConfig,
    recovery_exhausted: bool,
    now: ClockReading,
) -> AlertCondition {
    let criticality = component.spec.criticality;
    if criticality == Criticality::Informational {
        return AlertCondition::False;
    }
    let holds =
        |is_true: bool, level| if is_true { AlertCondition::True(level) } else { AlertCondition::False };
    let confirmed = component.confirmed_status(config, now);
    match (kind, confirmed) {
        (AlertKind::Unhealthy, ConfirmedStatus::Known(level)) => {
            holds(level != HealthLevel::Healthy, level.min(criticality.cap()))
        }
        (AlertKind::Unhealthy, _) => AlertCondition::Unknown,
        (AlertKind::Flapping, _) => holds(component.tracker.is_flapping(), HealthLevel::Warning),
        (AlertKind::Unchecked, ConfirmedStatus::Known(_)) => AlertCondition::False,
        (AlertKind::Unchecked, _) => {
            let is_late = now.mono - component.added > component.spec.stale_ms(config);
            let is_starting = confirmed == ConfirmedStatus::Starting && !is_late;
            if !config.enable_monitoring || component.in_grace(config, now) || is_starting {
                AlertCondition::Unknown
            } else {
                holds(criticality >= Criticality::Important, HealthLevel::Warning)
            }
        }
        (AlertKind::RecoveryExhausted, _) => holds(recovery_exhausted, HealthLevel::Critical),
    }
}

fn summary_of(
    kind: AlertKind,
    component: &WatchedComponent,
    config: &MonitoringConfig,
    now: ClockReading,
) -> String {
    let id = &component.spec.id;
    let confirmed = component.confirmed_status(config, now);
    let note = component.reason_of(confirmed).unwrap_or("no reason was given");
    match kind {
        AlertKind::Unhealthy => format!("{id} is {}: {note}", confirmed.status().as_str()),
        AlertKind::Flapping => format!("{id} changes too often to be believed"),
        AlertKind::Unchecked => format!("{id} cannot be judged: {note}"),
        AlertKind::RecoveryExhausted => format!("{id} did not recover, and the attempts are used up"),
    }
}

fn labels_of(kind: AlertKind, component: &WatchedComponent) -> AlertLabels {
    [
        ("alertname".to_owned(), kind.name().to_owned()),
        ("component".to_owned(), component.spec.id.clone()),
        ("component_type".to_owned(), component.spec.check.component_type().to_owned()),
    ]
    .into()
}

/// One outbox row for each receiver that is notified.
fn outbox_rows(alert: &Alert, notice: AlertNotice, now: ClockReading) -> Vec<OutboxRow> {
    let body = notice_body(alert, notice);
    let given_up = DurableDeadline::after(OutboxRow::LIFE);
    let row = |receiver: &String| OutboxRow {
        key: idempotency_key(alert, notice, receiver),
        receiver: receiver.clone(),
        group: alert.group.clone(),
        created: now.wall,
        given_up: given_up.clone(),
        body: body.clone(),
    };
    alert.told_to.iter().map(row).collect()
}
