//! All components together: what a finished check or the passing of time changes.
//!
//! Holds everything in memory and does no I/O: it is handed moments and samples, and collects in [`Output`] what its
//! caller must store, publish and start. One caller at a time (a mutex in `mod.rs`, never held over an await).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::aggregate::{Whole, aggregate};
use super::alerts::{Alert, Look};
use super::checks::{Probe, Sample};
use super::component::{AlertKind, Component, Stored, remember};
use super::recovery::{AttemptRun, Budget};
use super::silence::{Maintenance, Silence};
use super::slo::Span;
use super::spec::{Handler, MonitoringConfig, Spec};
use super::status::{Level, Now, Standing, Status};
use super::views::{self, severity};
use crate::bots::UnaskedRestart;
use crate::events::NewEvent;
use botops_contract::{EventKind, Severity};

/// A jump of the wall clock worth telling.
const JUMP: i64 = 2_000;

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
    /// An alert that ended before it fired.
    Forgotten {
        alert: String,
    },
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
    pub handler: Handler,
    /// The workflow run that it is, where it is one.
    pub run: Option<AttemptRun>,
}

/// What recovery knows of the workflows that mend components.
pub(super) type WorkflowFacts = BTreeMap<String, WorkflowFact>;

/// What recovery must know of a workflow before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkflowFact {
    /// It ends the bot's process and starts it again.
    pub restarts_bot: bool,
    /// It is over within this time, what it takes back included.
    pub longest: Duration,
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
    pub workflow_facts: WorkflowFacts,
    /// Whether the bot may be started or restarted without anybody asking for it.
    pub unasked_restart: Arc<UnaskedRestart>,
    pub whole: Option<Whole>,
    pub whole_since: i64,
    pub whole_spans: VecDeque<Span>,
    pub ticks: u64,
    /// What an earlier run left of components that are not plugged in yet.
    pub states: BTreeMap<String, Stored>,
    /// Open alerts of such components.
    pub orphans: Vec<Alert>,
    last: Option<Now>,
    pub next_id: u64,
    pub dice: u64,
    pub out: Output,
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
            workflow_facts: WorkflowFacts::new(),
            unasked_restart: Arc::new(UnaskedRestart::not_asked_yet()),
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

    /// Stops watching a component; its open alerts are resolved.
    pub(super) fn remove(&mut self, id: &str, now: Now) -> bool {
        let Some(mut component) = self.components.remove(id) else { return false };
        for kind in AlertKind::ALL {
            self.look_at(&mut component, kind, &Look::REMOVED, now);
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

    /// Workflows that may soon have to mend a component.
    pub(super) fn workflows_in_demand(&self) -> BTreeSet<String> {
        let bad = self.components.values().filter(|component| component.recovery.bad_since.is_some());
        let handlers = bad.filter_map(|component| component.spec.recovery.as_ref());
        handlers
            .filter_map(|handler| match handler {
                Handler::Workflow(id) => Some(id.clone()),
                Handler::CheckpointStore => None,
            })
            .collect()
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

    /// When the next check is due; none is while monitoring is stopped.
    pub(super) fn next_due(&self) -> Option<i64> {
        let watched = self.config.enable_monitoring;
        let idle = self.components.values().filter(|component| watched && !component.in_flight);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_while_monitoring_is_stopped() {
        let at = |mono| Now { mono, wall: 1_700_000_000_000 + mono };
        let mut engine = Engine::new(MonitoringConfig::default(), Vec::new());
        for spec in Spec::all_built_in() {
            engine.add(spec, at(0));
        }
        assert!(engine.next_due().is_some());
        // What is overdue and not taken would be waited for in vain, again and again.
        engine.config.enable_monitoring = false;
        assert!(engine.take_due(at(3_600_000)).is_empty());
        assert_eq!(engine.next_due(), None);
        engine.config.enable_monitoring = true;
        assert!(!engine.take_due(at(3_600_000)).is_empty());
    }
}
