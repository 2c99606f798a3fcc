//! All components together: what a finished check or the passing of time changes.
//!
//! Holds everything in memory and does no I/O: it is handed moments and samples, and collects in [`Output`] what its
//! caller must store, publish and start. One caller at a time (a mutex in `mod.rs`, never held over an await).

use std::collections::{BTreeMap, VecDeque};

use serde_json::json;

use super::aggregate::{Criticality, Whole, aggregate};
use super::alerts::{
    Alert, AlertState, Change, Condition, Labels, Look, Notice, Overlay, idempotency_key, step,
};
use super::checks::{Probe, Sample};
use super::component::{AlertKind, Component, Stored, remember};
use super::recovery::{Budget, Recovering, Sight, Step};
use super::silence::{Maintenance, Silence};
use super::slo::Span;
use super::spec::{Handler, MonitoringConfig, Spec};
use super::status::{Level, Now, Standing, Status};
use super::views::{self, severity};
use crate::contract::{EventKind, Severity};
use crate::events::NewEvent;

/// Resolved alerts kept in memory.
const RESOLVED: usize = 200;

/// A jump of the wall clock worth telling.
const JUMP: i64 = 2_000;

/// How long an alert waits for its parents to be looked at.
const PARENT_WAIT: i64 = 15_000;

/// Something to store.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Row {
    Transition {
        component: String,
        at: i64,
        level: Option<Level>,
        maintenance: bool,
        reason: Option<String>,
    },
    Alert(Box<Alert>),
    Outbox(OutboxRow),
    /// A small thing by kind and id; `None` deletes it.
    Thing {
        kind: &'static str,
        id: String,
        body: Option<String>,
    },
    /// A checker that was added or removed.
    Checker {
        id: String,
        spec: Option<String>,
    },
}

/// A notice on its way to one receiver.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OutboxRow {
    pub key: String,
    pub receiver: String,
    pub group: String,
    pub created: i64,
    pub body: serde_json::Value,
}

/// A handler to run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    pub component: String,
    pub attempt: u32,
    pub handler: Handler,
    pub reason: String,
}

/// What the caller must do.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub rows: Vec<Row>,
    pub events: Vec<NewEvent>,
    pub attempts: Vec<Attempt>,
}

/// A check to run.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub id: String,
    pub probe: Probe,
    pub timeout_ms: i64,
}

/// All components.
#[derive(Debug)]
pub(super) struct Engine {
    pub config: MonitoringConfig,
    pub components: BTreeMap<String, Component>,
    pub silences: BTreeMap<String, Silence>,
    pub maintenance: BTreeMap<String, Maintenance>,
    pub budget: Budget,
    pub resolved: VecDeque<Alert>,
    /// Who is told of alerts.
    pub receivers: Vec<String>,
    /// Whether somebody can run workflows.
    pub has_runner: bool,
    pub whole: Option<Whole>,
    pub whole_since: i64,
    pub whole_spans: VecDeque<Span>,
    pub ticks: u64,
    /// What an earlier run left of components that are not plugged in yet.
    pub states: BTreeMap<String, Stored>,
    /// Open alerts of such components.
    pub orphans: Vec<Alert>,
    last: Option<Now>,
    next_id: u64,
    dice: u64,
    out: Output,
}

impl Engine {
    pub(super) fn new(config: MonitoringConfig, receivers: Vec<String>) -> Self {
        Self {
            config,
            components: BTreeMap::new(),
            silences: BTreeMap::new(),
            maintenance: BTreeMap::new(),
            budget: Budget::default(),
            resolved: VecDeque::new(),
            receivers,
            has_runner: false,
            whole: None,
            whole_since: 0,
            whole_spans: VecDeque::new(),
            ticks: 0,
            states: BTreeMap::new(),
            orphans: Vec::new(),
            last: None,
            next_id: 0,
            dice: 0x9E37_79B9_7F4A_7C15,
            out: Output::default(),
        }
    }

    /// What has to be done since the last call.
    pub(super) fn take_output(&mut self) -> Output {
        std::mem::take(&mut self.out)
    }

    /// Whether something waits to be stored, published or started.
    pub(super) fn has_news(&self) -> bool {
        !(self.out.rows.is_empty() && self.out.events.is_empty() && self.out.attempts.is_empty())
    }

    /// Begins to watch a component.
    pub(super) fn add(&mut self, spec: Spec, now: Now) {
        let id = spec.id.clone();
        let mut component = Component::new(spec, &self.config, now);
        if let Some(stored) = self.states.remove(&id) {
            component.resume(stored, &self.config, now);
        }
        let is_its = |alert: &Alert| alert.labels.get("component") == Some(&id);
        for alert in self.orphans.extract_if(.., |alert| is_its(alert)) {
            let name = alert.labels.get("alertname");
            let kind = AlertKind::ALL.into_iter().find(|kind| name.is_some_and(|name| name == kind.name()));
            if let Some(kind) = kind {
                component.alerts.insert(kind, Some(alert));
            }
        }
        self.components.insert(id, component);
    }

    /// Alerts of components that nobody plugged in again end; whoever was told of them is told so.
    pub(super) fn end_orphans(&mut self, now: Now) {
        for alert in std::mem::take(&mut self.orphans) {
            let look = Look {
                condition: Condition::Removed,
                overlays: &[],
                may_fire: false,
                is_urgent: false,
                summary: "",
            };
            let spare = alert.clone();
            let mut slot = Some(alert);
            let changes = step(&mut slot, || spare, &look, &self.config.alerting, now);
            self.take_changes(&mut slot, &changes, now);
        }
    }

    /// Stops watching a component; its open alerts are resolved.
    pub(super) fn remove(&mut self, id: &str, now: Now) -> bool {
        let Some(mut component) = self.components.remove(id) else { return false };
        for kind in AlertKind::ALL {
            let look = Look {
                condition: Condition::Removed,
                overlays: &[],
                may_fire: false,
                is_urgent: false,
                summary: "",
            };
            self.look_at(&mut component, kind, &look, now);
        }
        self.out.rows.push(Row::Transition {
            component: id.to_owned(),
            at: now.wall,
            level: None,
            maintenance: false,
            reason: Some("removed".to_owned()),
        });
        self.out.rows.push(Row::Thing { kind: "recovery", id: id.to_owned(), body: None });
        true
    }

    /// Checks that are due, marked as begun.
    pub(super) fn take_due(&mut self, now: Now) -> Vec<Job> {
        let mut jobs = Vec::new();
        if !self.config.enable_monitoring {
            return jobs;
        }
        for component in self.components.values_mut().filter(|component| component.next_due <= now.mono) {
            if component.in_flight {
                component.skipped += 1;
                let interval = component.spec.interval_ms(&self.config);
                while component.next_due <= now.mono {
                    component.next_due += interval;
                }
                continue;
            }
            component.begin(&self.config, now);
            jobs.push(Job {
                id: component.spec.id.clone(),
                probe: component.spec.probe.clone(),
                timeout_ms: component.spec.timeout_ms(&self.config),
            });
        }
        jobs
    }

    /// When the next check is due.
    pub(super) fn next_due(&self) -> Option<i64> {
        let idle = self.components.values().filter(|component| !component.in_flight);
        idle.map(|component| component.next_due).min()
    }

    /// Asks for a check now; one that began less than a second ago, or still runs, is that check. Returns how many
    /// runs the component will have had when it is done.
    pub(super) fn request(&mut self, id: &str, now: Now) -> Option<u64> {
        let component = self.components.get_mut(id)?;
        if component.in_flight {
            return Some(component.runs + 1);
        }
        if component.last_start.is_some_and(|start| now.mono - start < 1_000) {
            return Some(component.runs);
        }
        component.next_due = now.mono;
        Some(component.runs + 1)
    }

    /// A check ended.
    pub(super) fn finish(&mut self, id: &str, sample: Sample, took_ms: f64, now: Now) -> bool {
        let Some(component) = self.components.get_mut(id) else { return false };
        component.finish(sample, took_ms, &self.config, now);
        true
    }

    /// Time passed: clocks, statuses, alerts, recovery.
    pub(super) fn tick(&mut self, now: Now) {
        self.ticks += 1;
        self.compare_clocks(now);
        let wall = chrono::DateTime::from_timestamp_millis(now.wall).unwrap_or_default();
        for component in self.components.values_mut() {
            let id = &component.spec.id;
            component.in_maintenance = self.maintenance.values().any(|window| window.covers(id, wall));
        }
        self.record_statuses(now);
        self.record_whole(now);
        for id in self.roots_first() {
            let Some(mut component) = self.components.remove(&id) else { continue };
            self.alert(&mut component, now, wall);
            self.recover(&mut component, now);
            self.components.insert(id, component);
        }
    }

    /// A handler came back.
    pub(super) fn handler_ended(
        &mut self,
        id: &str,
        outcome: Result<String, String>,
        took_ms: u64,
        now: Now,
    ) {
        let Some(component) = self.components.get_mut(id) else {
            self.budget.is_busy = false;
            return;
        };
        let said_ok = outcome.is_ok();
        let step = component.recovery.ended(said_ok, &mut self.budget, now.mono);
        component.next_due = now.mono;
        let words = match outcome {
            Ok(words) | Err(words) => words,
        };
        let ended = if said_ok { "ended; its check decides" } else { "failed" };
        let message = format!("recovery of {id}: the handler {ended} ({words})");
        let data = json!({"event_type": "recovery.handler_ended", "component_id": id, "ok": said_ok, "detail": words,
            "attempt": component.recovery.attempts, "duration_ms": took_ms});
        self.out.events.push(NewEvent::own(EventKind::Health, Severity::Medium, message, data));
        self.store_recovery(id, now);
        self.tell_step(id, &step);
    }

    /// An operator acts on a component's recovery.
    pub(super) fn act(&mut self, id: &str, act: &str, by: &str, now: Now) -> Result<(), &'static str> {
        let has_runner = self.has_runner;
        let Some(component) = self.components.get_mut(id) else { return Err("no such component") };
        let recovery = &mut component.recovery;
        match act {
            "hold" => recovery.held_by = Some(by.to_owned()),
            "release" => recovery.held_by = None,
            "reset" => recovery.reset(),
            _ => {
                let Some(handler) =
                    component.spec.recovery.clone().filter(|handler| runs(handler, has_runner))
                else {
                    return Err("the component has no handler that can run");
                };
                let started = recovery.run_now(handler.limit_ms(), &mut self.budget, now.mono)?;
                if let Step::Start { attempt } = started {
                    let reason = format!("started by {by}");
                    self.start(id, attempt, handler, reason);
                }
            }
        }
        let message = format!("recovery of {id}: {act} by {by}");
        let data = json!({"event_type": format!("recovery.{act}"), "component_id": id, "by": by});
        self.out.events.push(NewEvent::own(EventKind::Health, Severity::Medium, message, data));
        self.store_recovery(id, now);
        Ok(())
    }

    /// The alert with this id, open or resolved.
    pub(super) fn alert_mut(&mut self, id: &str) -> Option<&mut Alert> {
        let open = self.components.values_mut().flat_map(|component| component.alerts.values_mut().flatten());
        open.chain(self.resolved.iter_mut()).find(|alert| alert.id == id)
    }

    /// Puts something into the output.
    pub(super) fn put(&mut self, row: Row) {
        self.out.rows.push(row);
    }

    /// Publishes an event.
    pub(super) fn say(&mut self, severity: Severity, message: String, data: serde_json::Value) {
        self.out.events.push(NewEvent::own(EventKind::Health, severity, message, data));
    }

    /// Silences in force.
    pub(super) fn active_silences(&self, now: Now) -> usize {
        let wall = chrono::DateTime::from_timestamp_millis(now.wall).unwrap_or_default();
        self.silences.values().filter(|silence| silence.state(wall) == "active").count()
    }

    fn compare_clocks(&mut self, now: Now) {
        let Some(last) = self.last.replace(now) else { return };
        let jump = now.offset() - last.offset();
        if jump.abs() <= JUMP {
            return;
        }
        let message = format!("the wall clock jumped by {:.1} s", views::seconds(jump));
        let data = json!({"event_type": "clock.jump", "jump_ms": jump});
        self.say(Severity::Medium, message, data);
    }

    /// The machine slept: what was known before says nothing now.
    pub(super) fn slept(&mut self, for_ms: i64, now: Now) {
        for component in self.components.values_mut() {
            component.tracker.shift(-for_ms);
            component.next_due = component.next_due.min(now.mono);
        }
        let message = format!("the machine slept for {:.0} s", views::seconds(for_ms));
        self.say(Severity::Medium, message, json!({"event_type": "clock.sleep", "slept_ms": for_ms}));
    }

    fn record_statuses(&mut self, now: Now) {
        for component in self.components.values_mut() {
            let standing = component.standing(&self.config, now);
            let before = component.recorded.map(|(level, _)| level);
            if !component.record(standing, now) {
                continue;
            }
            let id = component.spec.id.clone();
            let reason = standing.reason().map(str::to_owned).or_else(|| component.note.clone());
            self.out.rows.push(Row::Transition {
                component: id.clone(),
                at: now.wall,
                level: standing.level(),
                maintenance: component.in_maintenance,
                reason: reason.clone(),
            });
            let status = standing.status();
            let is_news =
                before != Some(standing.level()) && !(before.is_none() && standing == Standing::Starting);
            if is_news {
                let previous = before.flatten().map_or(Status::Unknown, Status::from);
                let why = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                let message = format!("{id} is {}{why}", status.as_str());
                let data = json!({"event_type": "component.status_changed", "component_id": id,
                    "component_type": component.spec.probe.component_type(), "status": status,
                    "previous_status": previous, "reason": reason});
                let grave = standing.level().map_or(Severity::Medium, severity);
                self.out.events.push(NewEvent::own(EventKind::Health, grave, message, data));
            }
        }
    }

    fn record_whole(&mut self, now: Now) {
        let parts: Vec<_> =
            self.components.values().map(|component| component.part(&self.config, now)).collect();
        let mut whole = aggregate(&parts);
        if !self.config.enable_monitoring {
            whole.status = Status::Unknown;
            whole.reason = Some("monitoring_stopped");
        }
        let changed = self.whole.as_ref().is_none_or(|before| before.status != whole.status);
        if changed {
            let level = views::level_of(whole.status);
            let data = json!({"event_type": "system.status_changed", "status": whole.status,
                "caused_by": whole.caused_by, "reason": whole.reason});
            if self.whole.is_some() {
                let causes = whole.caused_by.join(", ");
                let by = if causes.is_empty() { String::new() } else { format!(", because of {causes}") };
                let message = format!("the system is {}{by}", whole.status.as_str());
                self.say(level.map_or(Severity::Medium, severity), message, data);
            }
            self.out.rows.push(Row::Transition {
                component: "system".to_owned(),
                at: now.wall,
                level,
                maintenance: false,
                reason: whole.reason.map(str::to_owned).or_else(|| Some(whole.caused_by.join(", "))),
            });
            remember(&mut self.whole_spans, Span { from: now.wall, level, in_maintenance: false });
            self.whole_since = now.wall;
        }
        self.whole = Some(whole);
    }

    fn roots_first(&self) -> Vec<String> {
        let mut ids: Vec<(usize, String)> =
            self.components.keys().map(|id| (self.depth(id, self.components.len()), id.clone())).collect();
        ids.sort();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    fn depth(&self, id: &str, limit: usize) -> usize {
        let parents =
            self.components.get(id).map(|component| component.spec.depends_on.as_slice()).unwrap_or_default();
        if limit == 0 {
            return 0;
        }
        parents.iter().map(|parent| 1 + self.depth(parent, limit - 1)).max().unwrap_or(0)
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

    fn is_down(&self, id: &str, now: Now) -> bool {
        let component = self.components.get(id);
        component
            .is_some_and(|component| component.standing(&self.config, now) == Standing::Known(Level::Down))
    }

    fn alert(&mut self, component: &mut Component, now: Now, wall: chrono::DateTime<chrono::Utc>) {
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

    fn look_at(&mut self, component: &mut Component, kind: AlertKind, look: &Look<'_>, now: Now) {
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
        let Some(alert) = slot else {
            // It ended before it fired: an event is all that stays.
            return;
        };
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

    fn recover(&mut self, component: &mut Component, now: Now) {
        let Some(handler) = component.spec.recovery.clone() else { return };
        let is_idle = component.recovery.at == Recovering::Idle;
        let standing = component.standing(&self.config, now);
        let blocked = if !runs(&handler, self.has_runner) {
            Some("no_handler")
        } else if !self.config.enable_recovery {
            Some("disabled")
        } else if component.in_maintenance || !self.config.enable_monitoring {
            Some("suspended")
        } else if component.tracker.is_flapping() {
            Some("flapping")
        } else if component.spec.depends_on.iter().any(|parent| self.is_down(parent, now)) {
            Some("parent_down")
        } else {
            None
        };
        let sight = Sight { standing, blocked, handler_ms: handler.limit_ms(), jitter: self.roll() };
        let before = component.recovery.clone();
        let Some(step) = component.recovery.step(&sight, &mut self.budget, now.mono) else {
            if component.recovery.at != before.at && !is_idle {
                self.put_recovery(component, now);
            }
            return;
        };
        self.put_recovery(component, now);
        let id = component.spec.id.clone();
        if let Step::Start { attempt } = step {
            let reason = component.note.clone().unwrap_or_else(|| "it is not working".to_owned());
            self.start(&id, attempt, handler, reason);
        }
        self.tell_step(&id, &step);
    }

    fn start(&mut self, id: &str, attempt: u32, handler: Handler, reason: String) {
        let message = format!("recovery of {id}: attempt {attempt} runs {}", handler.name());
        let data = json!({"event_type": "recovery.started", "component_id": id, "attempt": attempt,
            "handler": handler.name(), "reason": reason});
        self.say(Severity::High, message, data);
        self.out.attempts.push(Attempt { component: id.to_owned(), attempt, handler, reason });
    }

    fn tell_step(&mut self, id: &str, step: &Step) {
        let (severity, kind, attempt, message) = match step {
            Step::Recovered { attempt } => (
                Severity::Low,
                "recovery.succeeded",
                *attempt,
                format!("recovery of {id}: its check confirms that it works"),
            ),
            Step::Failed { attempt, why } => (
                Severity::High,
                "recovery.failed",
                *attempt,
                format!("recovery of {id}: attempt {attempt} did not help, {why}"),
            ),
            Step::Exhausted => (
                Severity::Critical,
                "recovery.exhausted",
                0,
                format!("recovery of {id}: the attempts are used up"),
            ),
            Step::Start { .. } | Step::Planned => return,
        };
        self.say(severity, message, json!({"event_type": kind, "component_id": id, "attempt": attempt}));
    }

    fn store_recovery(&mut self, id: &str, now: Now) {
        let Some(component) = self.components.remove(id) else { return };
        self.put_recovery(&component, now);
        self.components.insert(id.to_owned(), component);
    }

    fn put_recovery(&mut self, component: &Component, now: Now) {
        let body = json!({"offset": now.offset(), "recovery": component.recovery});
        let id = component.spec.id.clone();
        self.put(Row::Thing { kind: "recovery", id, body: Some(body.to_string()) });
        let body = json!({"offset": now.offset(), "budget": self.budget});
        self.put(Row::Thing {
            kind: "recovery_budget",
            id: "process".to_owned(),
            body: Some(body.to_string()),
        });
    }

    /// From 0 to 1; spreads waits, so its quality hardly matters.
    fn roll(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        f64::from(u32::try_from(self.dice >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    /// Seeds what is left to chance.
    pub(super) fn seed(&mut self, seed: u64) {
        self.dice = seed | 1;
    }
}

fn runs(handler: &Handler, has_runner: bool) -> bool {
    has_runner || *handler == Handler::CheckpointStore
}

fn labels(kind: AlertKind, component: &Component) -> Labels {
    [
        ("alertname".to_owned(), kind.name().to_owned()),
        ("component".to_owned(), component.spec.id.clone()),
        ("component_type".to_owned(), component.spec.probe.component_type().to_owned()),
    ]
    .into()
}
