//! What operators do with health: checks on demand, checkers, config, silences, windows, acknowledgement, recovery.
//!
//! Each verb is one change of the memory (`HealthInner::change`) and returns when the change is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use botops_contract::Severity;
use botops_core::durable_deadline::DurableDeadline;
use botops_core::error::{Code, Error, FieldError};
use botops_core::text::clean;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::alerts::{AlertView, Silence, alert_view};
use super::changes::{HealthRow, OutboxRow};
use super::checks::{CheckerReview, FileLook, component_types};
use super::handle::Health;
use super::memory::HealthMemory;
use super::model::{ClockReading, RecoveryCandidate};
use super::recovery::RecoveryAction;
use super::render::{ComponentView, RecoveryView, recovery_view};
use super::status::{
    COMPONENTS, CheckerRequest, CheckerSurroundings, ComponentSpec, MaintenanceWindow, MonitoringConfig,
    StatusEngine, WatchedComponent,
};
use super::units::{tidy, time};

/// How long a check on demand is waited for; what has not ended then is answered as it was.
const ON_DEMAND: Duration = Duration::from_secs(20);

/// How long the file system may take to say what lies at the path of a new checker.
const FILE_LOOK: Duration = Duration::from_secs(3);

/// How many silences, and how many maintenance windows, may exist.
const QUIET_TIMES: usize = 500;

/// How long receivers may take to accept a test notice before the test counts as failed.
const TEST_NOTICES_WITHIN: Duration = Duration::from_secs(10);

/// The outcome of one test of monitoring itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SelfTestView {
    /// The name of the test.
    pub(crate) name: &'static str,
    /// Whether it passed.
    pub(crate) passed: bool,
    /// What the test saw, in one sentence.
    pub(crate) detail: String,
    /// How long the test took, in milliseconds.
    pub(crate) duration_ms: f64,
}

impl SelfTestView {
    fn new(name: &'static str, started: Instant, passed: bool, detail: String) -> Self {
        Self { name, passed, detail, duration_ms: tidy(started.elapsed().as_secs_f64() * 1000.0) }
    }
}

impl Health {
    /// Checks one component or all now, and waits for the outcome. A check that runs already is joined.
    pub(crate) async fn check_now(&self, component: Option<&str>) -> Result<(), Error> {
        let inner = &self.inner;
        let now = inner.now();
        let mut finished = inner.finished.subscribe();
        let wanted: BTreeMap<String, u64> = {
            let status = &mut inner.lock().status;
            if !status.config.enable_monitoring {
                return Err(Error::new(Code::MonitoringStopped));
            }
            let ids: Vec<String> = match component {
                Some(id) if status.components.contains_key(id) => vec![id.to_owned()],
                Some(id) => return Err(self.unknown_component(id)),
                None => status.components.keys().cloned().collect(),
            };
            ids.into_iter().filter_map(|id| status.request_check(&id, now).map(|runs| (id, runs))).collect()
        };
        inner.wake.notify_one();
        let all_done = || {
            let components = &inner.lock().status.components;
            let is_done = |id: &String, runs: u64| components.get(id).is_none_or(|one| one.runs >= runs);
            wanted.iter().all(|(id, runs)| is_done(id, *runs))
        };
        let waited = tokio::time::timeout(ON_DEMAND, async {
            while !all_done() {
                // Cannot fail: `self` owns the sender.
                let _ = finished.changed().await;
            }
        });
        // A check that did not end in time leaves its component as it was.
        let _ = waited.await;
        let mut memory = inner.lock();
        memory.advance(inner.now());
        inner.publish_changes(&mut memory);
        Ok(())
    }

    /// Adds a checker, whose first check begins at once.
    pub(crate) async fn add_checker(
        &self,
        request: &CheckerRequest,
        by: &str,
    ) -> Result<ComponentView, Error> {
        let runner = self.inner.runner.borrow().clone();
        let candidates = match runner.filter(|_| request.recovery_workflow.is_some()) {
            Some(runner) => (runner.list_candidates)().await,
            None => Vec::new(),
        };
        let file = self.look_at_file(request).await;
        let change = |memory: &mut HealthMemory, now| {
            let spec = self.specify_checker(request, &candidates, file, &memory.status)?;
            let id = spec.id.clone();
            let body = Some(stored_body(&spec)?);
            memory.add_component(spec, now);
            memory.changes.store(HealthRow::Checker { id: id.clone(), spec: body });
            let data = json!({"event_type": "checker.added", "component_id": id, "by": by});
            memory.changes.publish(Severity::Low, format!("{by} added the checker {id}"), data);
            memory.advance(now);
            Ok(())
        };
        self.inner.change(change).await?;
        self.component(&request.component_id)
    }

    /// What lies at the path that the request names. The call may never return, so it has a thread of the checks.
    async fn look_at_file(&self, request: &CheckerRequest) -> FileLook {
        let Some(path) = request.config.get("db_path").and_then(Value::as_str).map(PathBuf::from) else {
            return FileLook::NotAsked;
        };
        let name = format!("a new checker, {}", clean(&path.display().to_string(), 120));
        let look = self.inner.targets.threads.call(&name, move || path.is_file());
        match tokio::time::timeout(FILE_LOOK, look).await {
            Ok(Ok(true)) => FileLook::File,
            Ok(Ok(false)) => FileLook::NoFile,
            Ok(Err(_)) | Err(_) => FileLook::Hangs,
        }
    }

    fn specify_checker(
        &self,
        request: &CheckerRequest,
        candidates: &[RecoveryCandidate],
        file: FileLook,
        status: &StatusEngine,
    ) -> Result<ComponentSpec, Error> {
        if status.components.contains_key(&request.component_id) {
            let id = clean(&request.component_id, 80);
            let expected = "an id that is not watched yet";
            return Err(Error::new(Code::CheckerExists).field("/component_id", id, expected));
        }
        if status.components.len() >= COMPONENTS {
            let detail = format!("{COMPONENTS} components are watched, which is the most");
            return Err(Error::new(Code::CheckerInvalid).detail(detail));
        }
        let needs =
            |(id, component): (&String, &WatchedComponent)| (id.clone(), component.spec.depends_on.clone());
        let known: BTreeMap<String, Vec<String>> = status.components.iter().map(needs).collect();
        let targets = &self.inner.targets;
        let secrets: BTreeSet<String> = targets.secrets.keys().cloned().collect();
        let around = CheckerSurroundings { known: &known, config: &status.config, candidates };
        let mut review = CheckerReview::new(&targets.guard, &secrets, file);
        request.specify(&around, &mut review).ok_or_else(|| {
            let code = if review.address_closed { Code::CheckerAddressClosed } else { Code::CheckerInvalid };
            Error::new(code).fields(review.defects.0)
        })
    }

    /// Removes a checker; its open alerts end as `removed`.
    pub(crate) async fn remove_checker(&self, id: &str, by: &str) -> Result<(), Error> {
        let change = |memory: &mut HealthMemory, now| {
            match memory.status.components.get(id) {
                None => return Err(self.unknown_component(id)),
                Some(component) if component.spec.built_in => {
                    return Err(Error::new(Code::CheckerBuiltIn).context("component_id", id));
                }
                Some(_) => {}
            }
            let all = memory.status.components.values();
            let needed_by: Vec<String> = all
                .filter(|component| component.spec.depends_on.iter().any(|parent| parent == id))
                .map(|component| component.spec.id.clone())
                .collect();
            if !needed_by.is_empty() {
                return Err(Error::new(Code::CheckerNeeded).context("needed_by", json!(needed_by)));
            }
            memory.remove_component(id, now);
            memory.changes.store(HealthRow::Checker { id: id.to_owned(), spec: None });
            let data = json!({"event_type": "checker.removed", "component_id": id, "by": by});
            memory.changes.publish(Severity::Low, format!("{by} removed the checker {id}"), data);
            memory.advance(now);
            Ok(())
        };
        self.inner.change(change).await
    }

    /// Replaces the monitoring config.
    pub(crate) async fn configure(
        &self,
        config: MonitoringConfig,
        by: &str,
    ) -> Result<MonitoringConfig, Error> {
        let defects = config.defects();
        if !defects.is_empty() {
            return Err(Error::new(Code::MonitoringConfigInvalid).fields(defects));
        }
        let change = |memory: &mut HealthMemory, now| {
            let (id, body) = ("monitoring".to_owned(), Some(stored_body(&config)?));
            memory.status.configure(config.clone(), now);
            memory.changes.store(HealthRow::Thing { kind: "config", id, body });
            let active = config.enable_monitoring;
            let data = json!({"event_type": "monitoring.configured", "by": by, "active": active});
            memory.changes.publish(Severity::Medium, format!("{by} changed how health is monitored"), data);
            memory.advance(now);
            Ok(())
        };
        self.inner.change(change).await?;
        Ok(config)
    }

    /// Starts or stops all checks.
    pub(crate) async fn switch_monitoring(&self, is_on: bool, by: &str) -> Result<(), Error> {
        let present = self.inner.lock().status.config.clone();
        let config = MonitoringConfig { enable_monitoring: is_on, ..present };
        self.configure(config, by).await.map(drop)
    }

    /// Records that an operator took note of an alert: reminders stop, its end is still notified.
    pub(crate) async fn acknowledge_alert(
        &self,
        id: &str,
        by: &str,
        note: Option<String>,
    ) -> Result<AlertView, Error> {
        let note = note.map(|note| clean(&note, 500));
        let change = |memory: &mut HealthMemory, now| {
            let Some(alert) = memory.alerts.acknowledge(id, by, note, now) else {
                return Err(Error::new(Code::AlertUnknown).context("alert_id", clean(id, 80)));
            };
            let (view, row) = (alert_view(alert, &self.inner.outbox.receivers.failing()), alert.row());
            let data = json!({"event_type": "alert.acknowledged", "alert_id": id, "by": by,
                "component_id": view.component_id});
            let message = format!("{by} acknowledged: {}", view.summary);
            memory.changes.publish(Severity::Low, message, data);
            memory.changes.store(HealthRow::Alert(row));
            Ok(view)
        };
        self.inner.change(change).await
    }

    /// Whether a silence could be added now.
    ///
    /// # Errors
    /// [`Code::SilenceInvalid`].
    pub(crate) fn check_silence(&self, silence: &Silence) -> Result<(), Error> {
        let defects = silence.defects(&component_types(), chrono::Utc::now());
        if defects.is_empty() { Ok(()) } else { Err(Error::new(Code::SilenceInvalid).fields(defects)) }
    }

    /// Adds a silence, which may begin later.
    pub(crate) async fn add_silence(&self, silence: Silence) -> Result<Silence, Error> {
        let change = |memory: &mut HealthMemory, now: ClockReading| {
            let wall = time(now.wall);
            let defects = silence.defects(&component_types(), wall);
            if !defects.is_empty() {
                return Err(Error::new(Code::SilenceInvalid).fields(defects));
            }
            let silences = &mut memory.alerts.silences;
            silences.retain(|_, other| other.ends_at > wall - chrono::Duration::days(7));
            if silences.len() >= QUIET_TIMES {
                let detail = format!("there are {QUIET_TIMES} silences, which is the most");
                return Err(Error::new(Code::SilenceInvalid).detail(detail));
            }
            let (id, body) = (silence.id.clone(), Some(stored_body(&silence)?));
            silences.insert(id.clone(), silence.clone());
            let by = &silence.created_by;
            let data = json!({"event_type": "silence.added", "silence_id": id, "by": by});
            let message = format!("{by} added a silence: {}", silence.comment);
            memory.changes.publish(Severity::Low, message, data);
            memory.changes.store(HealthRow::Thing { kind: "silence", id, body });
            memory.advance(now);
            Ok(())
        };
        self.inner.change(change).await?;
        Ok(silence)
    }

    /// Ends a silence now.
    pub(crate) async fn end_silence(&self, id: &str, by: &str) -> Result<Silence, Error> {
        let change = |memory: &mut HealthMemory, now: ClockReading| {
            let Some(silence) = memory.alerts.silences.get_mut(id) else {
                return Err(Error::new(Code::SilenceUnknown).context("silence_id", clean(id, 80)));
            };
            silence.ends_at = silence.ends_at.min(time(now.wall));
            let silence = silence.clone();
            let body = Some(stored_body(&silence)?);
            memory.changes.store(HealthRow::Thing { kind: "silence", id: id.to_owned(), body });
            let data = json!({"event_type": "silence.ended", "silence_id": id, "by": by});
            let message = format!("{by} ended a silence: {}", silence.comment);
            memory.changes.publish(Severity::Low, message, data);
            memory.advance(now);
            Ok(silence)
        };
        self.inner.change(change).await
    }

    /// Adds a maintenance window, which may cover components that do not exist yet.
    pub(crate) async fn add_maintenance(
        &self,
        window: MaintenanceWindow,
    ) -> Result<MaintenanceWindow, Error> {
        let change = |memory: &mut HealthMemory, now| {
            let mut defects = window.defects();
            defects.extend(unknown_components(&window, &memory.status));
            if !defects.is_empty() {
                let detail = "something about the maintenance window is wrong";
                return Err(invalid_maintenance().detail(detail).fields(defects));
            }
            if memory.status.maintenance.len() >= QUIET_TIMES {
                let detail = format!("there are {QUIET_TIMES} maintenance windows, which is the most");
                return Err(invalid_maintenance().detail(detail));
            }
            let (id, body) = (window.id.clone(), Some(stored_body(&window)?));
            memory.status.maintenance.insert(id.clone(), window.clone());
            let by = &window.created_by;
            let data = json!({"event_type": "maintenance.added", "maintenance_id": id, "by": by});
            let message = format!("{by} added a maintenance window: {}", window.comment);
            memory.changes.publish(Severity::Low, message, data);
            memory.changes.store(HealthRow::Thing { kind: "maintenance", id, body });
            memory.advance(now);
            Ok(())
        };
        self.inner.change(change).await?;
        Ok(window)
    }

    /// Removes a maintenance window.
    pub(crate) async fn remove_maintenance(&self, id: &str, by: &str) -> Result<(), Error> {
        let change = |memory: &mut HealthMemory, now| {
            if memory.status.maintenance.remove(id).is_none() {
                return Err(unknown_maintenance(id));
            }
            memory.changes.store(HealthRow::Thing { kind: "maintenance", id: id.to_owned(), body: None });
            let data = json!({"event_type": "maintenance.removed", "maintenance_id": id, "by": by});
            memory.changes.publish(Severity::Low, format!("{by} removed a maintenance window"), data);
            memory.advance(now);
            Ok(())
        };
        self.inner.change(change).await
    }

    /// Runs, holds, releases or resets the recovery of a component on behalf of an operator.
    pub(crate) async fn act_on_recovery(
        &self,
        id: &str,
        action: RecoveryAction,
        by: &str,
    ) -> Result<RecoveryView, Error> {
        if action == RecoveryAction::Run {
            self.refuse_vain_run(id).await?;
        }
        let change = |memory: &mut HealthMemory, now| {
            let Some(component) = memory.status.components.get(id) else {
                return Err(self.unknown_component(id));
            };
            let (recovery, changes, config) =
                (&mut memory.recovery, &mut memory.changes, &memory.status.config);
            recovery
                .act(component, action, by, now, changes)
                .map_err(|why| Error::new(Code::RecoveryRefused).detail(why).context("component_id", id))?;
            Ok(recovery_view(component, recovery, config, now))
        };
        self.inner.change(change).await
    }

    /// Reads what the component's workflow needs now, so that a run that cannot work is refused before it begins. While the
    /// component works, nobody has asked for that yet.
    async fn refuse_vain_run(&self, id: &str) -> Result<(), Error> {
        let workflow = {
            let memory = self.inner.lock();
            let handler =
                memory.status.components.get(id).and_then(|component| component.spec.recovery.clone());
            handler.and_then(|handler| handler.workflow().map(str::to_owned))
        };
        let runner = self.inner.runner.borrow().clone();
        let (Some(workflow), Some(runner)) = (workflow, runner) else { return Ok(()) };
        let fact = (runner.describe)(workflow.clone()).await;
        let missing = fact.missing_code;
        self.inner.lock().recovery.workflow_facts.insert(workflow, fact);
        if missing == Some(Code::SupervisorMissing) {
            return Err(self.inner.targets.bots.nobody_restarts().context("component_id", id));
        }
        Ok(())
    }

    /// Tests monitoring itself. `notify`: also sends a test notice to every receiver.
    pub(crate) async fn test_monitoring(&self, notify: bool) -> Vec<SelfTestView> {
        let started = Instant::now();
        let moves = self.makes_progress();
        let loops =
            SelfTestView::new("scheduler_and_writer_move_on", started, moves, format!("moves on: {moves}"));
        vec![loops, self.test_store().await, self.test_system(), self.test_receivers(notify).await]
    }

    async fn test_store(&self) -> SelfTestView {
        const UPSERT: &str = "INSERT INTO meta(key, value) VALUES('health_test', '1')
            ON CONFLICT(key) DO UPDATE SET value = '1'";
        let started = Instant::now();
        let write = self.inner.store.write(|connection| Ok(connection.execute(UPSERT, [])?));
        let written = write.await;
        let passed = written.is_ok();
        let detail = written.err().map_or("written".to_owned(), |error| error.to_string());
        SelfTestView::new("store_keeps_what_it_is_given", started, passed, detail)
    }

    fn test_system(&self) -> SelfTestView {
        let started = Instant::now();
        let now = self.inner.now();
        let status = &self.inner.lock().status;
        let recorded = status.system.as_ref().map(|system| system.status);
        let is_same = recorded == Some(status.evaluate_system(now).status);
        let passed = is_same || !status.config.enable_monitoring;
        let detail = format!("{} components", status.components.len());
        SelfTestView::new("the_whole_follows_from_its_parts", started, passed, detail)
    }

    async fn test_receivers(&self, notify: bool) -> SelfTestView {
        let started = Instant::now();
        if notify {
            self.send_test_notices();
        }
        let limit = if notify { TEST_NOTICES_WITHIN } else { Duration::ZERO };
        let waiting = || self.inner.outbox.backlog().waiting;
        while waiting() > 0 && started.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let waiting = waiting();
        let detail = format!("{waiting} notices wait");
        SelfTestView::new("receivers_take_notices", started, waiting == 0, detail)
    }

    /// Puts a test notice into the queue of every receiver.
    fn send_test_notices(&self) {
        let created = self.inner.now().wall;
        let given_up = DurableDeadline::after(OutboxRow::LIFE);
        let mut memory = self.inner.lock();
        for receiver in memory.alerts.receivers.clone() {
            let body =
                json!({"status": "test", "notice": "test", "summary": "a test notice; nothing is wrong"});
            let key = format!("test/{}/{receiver}", uuid::Uuid::now_v7());
            let group = "test".to_owned();
            memory.changes.store(HealthRow::Outbox(OutboxRow {
                key,
                receiver,
                group,
                created,
                given_up: given_up.clone(),
                body,
            }));
        }
        self.inner.publish_changes(&mut memory);
    }
}

fn stored_body<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(Code::Internal).caused_by(error))
}

fn unknown_components(window: &MaintenanceWindow, status: &StatusEngine) -> Vec<FieldError> {
    let unknown = window.components.iter().enumerate().filter(|(_, id)| !status.components.contains_key(*id));
    unknown
        .map(|(index, id)| FieldError {
            pointer: format!("/components/{index}"),
            got: clean(id, 80).into(),
            expected: "a component that is watched".to_owned(),
            ..FieldError::default()
        })
        .collect()
}

/// The catalogue has one row for silences and maintenance windows, and that row links to silences; here the link to
/// the windows is added.
fn invalid_maintenance() -> Error {
    with_maintenance_list(Error::new(Code::SilenceInvalid))
}

fn unknown_maintenance(id: &str) -> Error {
    let id = clean(id, 80);
    let detail = format!("no maintenance window has the id `{id}`");
    with_maintenance_list(Error::new(Code::SilenceUnknown).detail(detail).context("maintenance_id", id))
}

fn with_maintenance_list(error: Error) -> Error {
    error.next("list_health_maintenance", "GET", "/api/v1/health/maintenance", None, Some("read"))
}
