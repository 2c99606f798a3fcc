//! The engine's alerts: which conditions hold, what holds notices back, who is told.

use super::aggregate::Criticality;
use super::alerts::{
    Alert, AlertState, Change, Condition, Labels, Look, Notice, Overlay, idempotency_key, step,
};
use super::component::{AlertKind, Component};
use super::engine::{Engine, OutboxRow, Row};
use super::status::{Level, Now, Standing};
use super::views::{self, severity};

/// Resolved alerts kept in memory.
const RESOLVED: usize = 200;

/// How long an alert waits for its parents to be looked at.
const PARENT_WAIT: i64 = 15_000;

impl Engine {
    /// Alerts of components that nobody plugged in again end; whoever was told of them is told so.
    pub(super) fn end_orphans(&mut self, now: Now) {
        for alert in std::mem::take(&mut self.orphans) {
            let spare = alert.clone();
            let mut slot = Some(alert);
            let changes = step(&mut slot, || spare, &Look::REMOVED, &self.config.alerting, now);
            self.take_changes(&mut slot, &changes, now);
        }
    }

    /// The component at the top of the dependencies: notices about what hangs on it leave together.
    fn root(&self, component: &Component) -> String {
        let mut root = component.spec.id.clone();
        let mut parent = component.spec.depends_on.first();
        for _ in 0..self.components.len() {
            let Some(id) = parent else { break };
            root.clone_from(id);
            parent = self.components.get(id).and_then(|component| component.spec.depends_on.first());
        }
        root
    }

    pub(super) fn is_down(&self, id: &str, now: Now) -> bool {
        let component = self.components.get(id);
        component
            .is_some_and(|component| component.standing(&self.config, now) == Standing::Known(Level::Down))
    }

    pub(super) fn alert(&mut self, component: &mut Component, now: Now, wall: chrono::DateTime<chrono::Utc>) {
        let standing = component.standing(&self.config, now);
        let parents = component.spec.depends_on.clone();
        let mut overlays = Vec::new();
        if component.in_maintenance {
            overlays.push(Overlay::Maintenance);
        }
        if parents.iter().any(|parent| self.is_down(parent, now)) {
            overlays.push(Overlay::Parent);
        }
        if component.tracker.is_flapping() {
            overlays.push(Overlay::Flapping);
        }
        let in_grace = component.in_grace(&self.config, now);
        let may_fire = !in_grace && self.parents_were_asked(component, &parents, now);
        let cap = match component.spec.criticality {
            Criticality::Informational => None,
            Criticality::Optional => Some(Level::Warning),
            Criticality::Important => Some(Level::Critical),
            Criticality::Required => Some(Level::Down),
        };
        let watched = self.config.enable_monitoring;
        let is_late = now.mono - component.added > component.spec.stale_ms(&self.config);
        for kind in AlertKind::ALL {
            let condition = match (kind, standing) {
                _ if cap.is_none() => Condition::False,
                (AlertKind::Unhealthy, Standing::Known(Level::Healthy)) => Condition::False,
                (AlertKind::Unhealthy, Standing::Known(level)) => {
                    Condition::True(level.min(cap.unwrap_or(level)))
                }
                (AlertKind::Unhealthy, _) => Condition::Unknown,
                (AlertKind::Flapping, _) if component.tracker.is_flapping() => {
                    Condition::True(Level::Warning)
                }
                (AlertKind::Flapping, _) => Condition::False,
                (AlertKind::Unchecked, Standing::Known(_)) => Condition::False,
                (AlertKind::Unchecked, _) if !watched || in_grace => Condition::Unknown,
                (AlertKind::Unchecked, Standing::Starting) if !is_late => Condition::Unknown,
                // A component that was not looked at because its parent is away is told of by its parent.
                (AlertKind::Unchecked, _) if component.spec.criticality >= Criticality::Important => {
                    Condition::True(Level::Warning)
                }
                (AlertKind::Unchecked, _) => Condition::False,
                (AlertKind::RecoveryExhausted, _) if component.recovery.is_exhausted() => {
                    Condition::True(Level::Critical)
                }
                (AlertKind::RecoveryExhausted, _) => Condition::False,
            };
            let has_slot = component.alerts.get(&kind).is_some_and(Option::is_some);
            if !has_slot && !matches!(condition, Condition::True(_)) {
                continue;
            }
            let mut overlays = overlays.clone();
            if kind == AlertKind::Flapping {
                overlays.retain(|overlay| *overlay != Overlay::Flapping);
            }
            let level = if let Condition::True(level) = condition { level } else { Level::Warning };
            if self.is_silenced(&labels(kind, component), level, wall) {
                overlays.push(Overlay::Silenced);
            }
            let id = &component.spec.id;
            let note = component.reason().unwrap_or("no reason was given");
            let summary = match kind {
                AlertKind::Unhealthy => format!("{id} is {}: {note}", standing.status().as_str()),
                AlertKind::Flapping => format!("{id} changes too often to be believed"),
                AlertKind::Unchecked => format!("{id} cannot be judged: {note}"),
                AlertKind::RecoveryExhausted => format!("{id} did not recover, and the attempts are used up"),
            };
            let is_urgent = level == Level::Down && component.spec.criticality == Criticality::Required;
            let look = Look { condition, overlays: &overlays, may_fire, is_urgent, summary: &summary };
            self.look_at(component, kind, &look, now);
        }
    }

    /// A parent that was not looked at since this one began to fail is looked at first.
    fn parents_were_asked(&mut self, component: &Component, parents: &[String], now: Now) -> bool {
        let Some(failing) = component.failing_since else { return true };
        if now.mono - failing > PARENT_WAIT {
            return true;
        }
        let mut all_asked = true;
        for parent in parents {
            let Some(parent) = self.components.get_mut(parent) else { continue };
            let was_asked =
                parent.last_start.is_some_and(|start| start >= failing) && !parent.tracker.is_unsettled();
            if !was_asked {
                all_asked = false;
                let is_quiet = parent.last_start.is_none_or(|start| now.mono - start >= 1_000);
                if !parent.in_flight && is_quiet {
                    parent.next_due = parent.next_due.min(now.mono);
                }
            }
        }
        all_asked
    }

    fn is_silenced(&self, labels: &Labels, level: Level, wall: chrono::DateTime<chrono::Utc>) -> bool {
        let severity = views::severity_name(severity(level));
        self.silences.values().any(|silence| silence.matches(labels, severity, wall))
    }

    pub(super) fn look_at(&mut self, component: &mut Component, kind: AlertKind, look: &Look<'_>, now: Now) {
        let labels = labels(kind, component);
        let group = self.root(component);
        let slot = component.alerts.entry(kind).or_default();
        let next_id = &mut self.next_id;
        let resolved = &self.resolved;
        let birth = || {
            *next_id += 1;
            let mut alert = Alert::new(uuid::Uuid::now_v7().to_string(), labels, group);
            alert.previous = resolved
                .iter()
                .rev()
                .find(|other| other.fingerprint == alert.fingerprint)
                .map(|other| other.id.clone());
            alert
        };
        let changes = step(slot, birth, look, &self.config.alerting, now);
        if changes.is_empty() {
            return;
        }
        let mut slot = slot.take();
        self.take_changes(&mut slot, &changes, now);
        component.alerts.insert(kind, slot);
    }

    /// Stores, tells and publishes what happened to an alert. A resolved one leaves its slot.
    fn take_changes(&mut self, slot: &mut Option<Alert>, changes: &[Change], now: Now) {
        if changes.contains(&Change::Cancelled) {
            // It ended before it fired. What was stored of it goes too: it would stand in the next one's way.
            self.out.rows.extend(slot.take().map(|alert| Row::Forgotten { alert: alert.id }));
            return;
        }
        let Some(alert) = slot else { return };
        alert.offset = now.offset();
        let mut outbox = Vec::new();
        for change in changes {
            if let Change::Notice(notice) = change {
                if *notice == Notice::Firing {
                    alert.told_to.clone_from(&self.receivers);
                }
                let body = views::notice_body(alert, *notice);
                outbox.extend(alert.told_to.iter().map(|receiver| OutboxRow {
                    key: idempotency_key(alert, *notice, receiver),
                    receiver: receiver.clone(),
                    group: alert.group.clone(),
                    created: now.wall,
                    body: body.clone(),
                }));
            }
            if let Some(event) = views::alert_event(alert, *change) {
                self.out.events.push(event);
            }
        }
        self.out.rows.push(Row::Alert(Box::new(alert.clone())));
        self.out.rows.extend(outbox.into_iter().map(Row::Outbox));
        if alert.state == AlertState::Resolved
            && let Some(alert) = slot.take()
        {
            self.resolved.push_back(alert);
            if self.resolved.len() > RESOLVED {
                self.resolved.pop_front();
            }
        }
    }
}

fn labels(kind: AlertKind, component: &Component) -> Labels {
    [
        ("alertname".to_owned(), kind.name().to_owned()),
        ("component".to_owned(), component.spec.id.clone()),
        ("component_type".to_owned(), component.spec.probe.component_type().to_owned()),
    ]
    .into()
}
