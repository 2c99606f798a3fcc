//! What operators do with health: checks on demand, checkers, config, silences, windows, acknowledgement, recovery.
//!
//! Each verb changes the engine under its lock, hands over what must be stored, and returns when it is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::Health;
use super::engine::{OutboxRow, Row};
use super::silence::{Maintenance, Silence};
use super::spec::{COMPONENTS, CheckerRequest, MonitoringConfig, Surroundings};
use super::views::{AlertView, ComponentView, RecoveryView, alert_view};
use botops_contract::Severity;
use botops_core::error::{Code, Error};

/// How long a check on demand is waited for.
const ON_DEMAND: Duration = Duration::from_secs(20);

/// Things of one kind at most.
const THINGS: usize = 500;

impl Health {
    /// Looks now, at one component or at all, and waits for the outcome. Joins a check that runs.
    pub(super) async fn check_now(&self, component: Option<&str>) -> Result<(), Error> {
        let now = self.shared.clock.now();
        let mut finished = self.shared.finished.subscribe();
        let wanted: BTreeMap<String, u64> = {
            let mut engine = self.lock();
            if !engine.config.enable_monitoring {
                return Err(Error::new(Code::MonitoringStopped));
            }
            let ids: Vec<String> = match component {
                Some(id) if engine.components.contains_key(id) => vec![id.to_owned()],
                Some(id) => return Err(self.unknown(id)),
                None => engine.components.keys().cloned().collect(),
            };
            ids.into_iter().filter_map(|id| engine.request(&id, now).map(|runs| (id, runs))).collect()
        };
        self.shared.wake.notify_one();
        let all_done = || {
            let engine = self.lock();
            wanted
                .iter()
                .all(|(id, runs)| engine.components.get(id).is_none_or(|component| component.runs >= *runs))
        };
        let waited = tokio::time::timeout(ON_DEMAND, async {
            while !all_done() {
                // The sender lives as long as `self`.
                let _ = finished.changed().await;
            }
        });
        // What did not end in time is shown as it stands.
        let _ = waited.await;
        let now = self.shared.clock.now();
        let mut engine = self.lock();
        engine.tick(now);
        self.settle(&mut engine);
        Ok(())
    }

    /// One component.
    pub(super) fn component(&self, id: &str) -> Result<ComponentView, Error> {
        let found = self.shared.snapshot.load().by_id.get(id).cloned();
        found.ok_or_else(|| self.unknown(id))
    }

    pub(super) fn unknown(&self, id: &str) -> Error {
        let snapshot = self.shared.snapshot.load();
        let known: Vec<&String> = snapshot.by_id.keys().take(50).collect();
        Error::new(Code::ComponentUnknown)
            .detail(format!("`{}` is not watched", botops_core::text::clean(id, 80)))
            .context("known", json!(known))
    }

    /// Adds a checker. `dry`: only says whether it could be.
    pub(super) async fn add_checker(
        &self,
        request: &CheckerRequest,
        by: &str,
    ) -> Result<ComponentView, Error> {
        let now = self.shared.clock.now();
        let ticket = {
            let mut engine = self.lock();
            if engine.components.contains_key(&request.component_id) {
                let id = botops_core::text::clean(&request.component_id, 80);
                return Err(Error::new(Code::CheckerExists).field(
                    "/component_id",
                    id,
                    "an id that is not watched yet",
                ));
            }
            if engine.components.len() >= COMPONENTS {
                return Err(Error::new(Code::CheckerInvalid)
                    .detail(format!("{COMPONENTS} components are watched, which is the most")));
            }
            let known: BTreeMap<String, Vec<String>> = engine
                .components
                .iter()
                .map(|(id, component)| (id.clone(), component.spec.depends_on.clone()))
                .collect();
            let secrets = self.secret_names();
            let around = Surroundings {
                known: &known,
                guard: &self.shared.reach.guard,
                config: &engine.config,
                secrets: &secrets,
            };
            let spec = request.check(&around).map_err(|refusal| {
                let code = if refusal.closed { Code::CheckerAddressClosed } else { Code::CheckerInvalid };
                Error::new(code).fields(refusal.errors)
            })?;
            let id = spec.id.clone();
            let body =
                serde_json::to_string(&spec).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
            engine.add(spec, now);
            engine.put(Row::Checker { id: id.clone(), spec: Some(body) });
            let data = json!({"event_type": "checker.added", "component_id": id, "by": by});
            engine.say(Severity::Low, format!("{by} added the checker {id}"), data);
            engine.tick(now);
            self.settle(&mut engine)
        };
        self.shared.wake.notify_one();
        self.stored(ticket).await;
        self.component(&request.component_id)
    }

    /// Removes a checker; its open alerts are resolved as removed.
    pub(super) async fn remove_checker(&self, id: &str, by: &str) -> Result<(), Error> {
        let now = self.shared.clock.now();
        let ticket = {
            let mut engine = self.lock();
            match engine.components.get(id) {
                None => {
                    drop(engine);
                    return Err(self.unknown(id));
                }
                Some(component) if component.spec.built_in => {
                    return Err(Error::new(Code::CheckerBuiltIn).context("component_id", id));
                }
                Some(_) => {}
            }
            let needed_by: Vec<String> = engine
                .components
                .values()
                .filter(|component| component.spec.depends_on.iter().any(|parent| parent == id))
                .map(|component| component.spec.id.clone())
                .collect();
            if !needed_by.is_empty() {
                return Err(Error::new(Code::CheckerNeeded).context("needed_by", json!(needed_by)));
            }
            engine.remove(id, now);
            engine.put(Row::Checker { id: id.to_owned(), spec: None });
            let data = json!({"event_type": "checker.removed", "component_id": id, "by": by});
            engine.say(Severity::Low, format!("{by} removed the checker {id}"), data);
            engine.tick(now);
            self.settle(&mut engine)
        };
        self.stored(ticket).await;
        Ok(())
    }

    /// Replaces the monitoring config.
    pub(super) async fn configure(
        &self,
        config: MonitoringConfig,
        by: &str,
    ) -> Result<MonitoringConfig, Error> {
        let defects = config.defects();
        if !defects.is_empty() {
            return Err(Error::new(Code::MonitoringConfigInvalid).fields(defects));
        }
        let now = self.shared.clock.now();
        let ticket = {
            let mut engine = self.lock();
            let starts = config.enable_monitoring && !engine.config.enable_monitoring;
            let body = serde_json::to_string(&config)
                .map_err(|error| Error::new(Code::Internal).caused_by(error))?;
            engine.config = config.clone();
            for component in engine.components.values_mut() {
                let interval = component.spec.interval_ms(&config);
                component.next_due = component.next_due.min(now.mono + interval);
                if starts {
                    component.next_due = component.next_due.min(now.mono + 1_000);
                }
            }
            engine.put(Row::Thing { kind: "config", id: "monitoring".to_owned(), body: Some(body) });
            let data =
                json!({"event_type": "monitoring.configured", "by": by, "active": config.enable_monitoring});
            engine.say(Severity::Medium, format!("{by} changed how health is monitored"), data);
            engine.tick(now);
            self.settle(&mut engine)
        };
        self.shared.wake.notify_one();
        self.stored(ticket).await;
        Ok(config)
    }

    /// Starts or stops all checks.
    pub(super) async fn switch(&self, is_on: bool, by: &str) -> Result<(), Error> {
        let config = MonitoringConfig { enable_monitoring: is_on, ..self.lock().config.clone() };
        self.configure(config, by).await.map(drop)
    }

    /// Somebody takes note of an alert: reminders stop, its end is still told.
    pub(super) async fn acknowledge(
        &self,
        id: &str,
        by: &str,
        note: Option<String>,
    ) -> Result<AlertView, Error> {
        let now = self.shared.clock.now();
        let (view, ticket) = {
            let mut engine = self.lock();
            let Some(alert) = engine.alert_mut(id) else {
                return Err(
                    Error::new(Code::AlertUnknown).context("alert_id", botops_core::text::clean(id, 80))
                );
            };
            alert.acked_by = Some(by.to_owned());
            alert.acked_at = Some(now.wall);
            alert.ack_note = note.map(|note| botops_core::text::clean(&note, 500));
            let alert = alert.clone();
            let view = alert_view(&alert);
            let data = json!({"event_type": "alert.acknowledged", "alert_id": id, "by": by,
                "component_id": view.component_id});
            engine.say(Severity::Low, format!("{by} acknowledged: {}", view.summary), data);
            engine.put(Row::Alert(Box::new(alert)));
            (view, self.settle(&mut engine))
        };
        self.stored(ticket).await;
        Ok(view)
    }

    /// Adds a silence.
    pub(super) async fn silence(&self, silence: Silence) -> Result<Silence, Error> {
        let now = self.shared.clock.now();
        let defects = silence.defects(super::views::time(now.wall));
        if !defects.is_empty() {
            return Err(Error::new(Code::SilenceInvalid).fields(defects));
        }
        let body =
            serde_json::to_string(&silence).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        let ticket = {
            let mut engine = self.lock();
            let wall = super::views::time(now.wall);
            engine.silences.retain(|_, other| other.ends_at > wall - chrono::Duration::days(7));
            if engine.silences.len() >= THINGS {
                return Err(
                    Error::new(Code::SilenceInvalid).detail("there are 500 silences, which is the most")
                );
            }
            engine.put(Row::Thing { kind: "silence", id: silence.id.clone(), body: Some(body) });
            let by = &silence.created_by;
            let data = json!({"event_type": "silence.added", "silence_id": silence.id, "by": by});
            engine.say(Severity::Low, format!("{by} added a silence: {}", silence.comment), data);
            engine.silences.insert(silence.id.clone(), silence.clone());
            engine.tick(now);
            self.settle(&mut engine)
        };
        self.stored(ticket).await;
        Ok(silence)
    }

    /// Ends a silence now.
    pub(super) async fn end_silence(&self, id: &str, by: &str) -> Result<Silence, Error> {
        let now = self.shared.clock.now();
        let (silence, ticket) = {
            let mut engine = self.lock();
            let Some(silence) = engine.silences.get_mut(id) else {
                return Err(
                    Error::new(Code::SilenceUnknown).context("silence_id", botops_core::text::clean(id, 80))
                );
            };
            silence.ends_at = silence.ends_at.min(super::views::time(now.wall));
            let silence = silence.clone();
            let body = serde_json::to_string(&silence).ok();
            engine.put(Row::Thing { kind: "silence", id: id.to_owned(), body });
            let data = json!({"event_type": "silence.ended", "silence_id": id, "by": by});
            engine.say(Severity::Low, format!("{by} ended a silence: {}", silence.comment), data);
            engine.tick(now);
            (silence, self.settle(&mut engine))
        };
        self.stored(ticket).await;
        Ok(silence)
    }

    /// Adds a maintenance window.
    pub(super) async fn maintain(&self, window: Maintenance) -> Result<Maintenance, Error> {
        let mut defects = window.defects();
        let now = self.shared.clock.now();
        let ticket = {
            let mut engine = self.lock();
            for (index, id) in window.components.iter().enumerate() {
                if !engine.components.contains_key(id) {
                    defects.push(botops_core::error::FieldError {
                        pointer: format!("/components/{index}"),
                        got: botops_core::text::clean(id, 80).into(),
                        expected: "a component that is watched".to_owned(),
                    });
                }
            }
            if !defects.is_empty() || engine.maintenance.len() >= THINGS {
                return Err(Error::new(Code::SilenceInvalid).fields(defects));
            }
            let body = serde_json::to_string(&window).ok();
            engine.put(Row::Thing { kind: "maintenance", id: window.id.clone(), body });
            let by = &window.created_by;
            let data = json!({"event_type": "maintenance.added", "maintenance_id": window.id, "by": by});
            engine.say(Severity::Low, format!("{by} added a maintenance window: {}", window.comment), data);
            engine.maintenance.insert(window.id.clone(), window.clone());
            engine.tick(now);
            self.settle(&mut engine)
        };
        self.stored(ticket).await;
        Ok(window)
    }

    /// Removes a maintenance window.
    pub(super) async fn end_maintenance(&self, id: &str, by: &str) -> Result<(), Error> {
        let now = self.shared.clock.now();
        let ticket = {
            let mut engine = self.lock();
            if engine.maintenance.remove(id).is_none() {
                return Err(Error::new(Code::SilenceUnknown)
                    .context("maintenance_id", botops_core::text::clean(id, 80)));
            }
            engine.put(Row::Thing { kind: "maintenance", id: id.to_owned(), body: None });
            let data = json!({"event_type": "maintenance.removed", "maintenance_id": id, "by": by});
            engine.say(Severity::Low, format!("{by} removed a maintenance window"), data);
            engine.tick(now);
            self.settle(&mut engine)
        };
        self.stored(ticket).await;
        Ok(())
    }

    /// Runs, holds, releases or resets the recovery of a component.
    pub(super) async fn act_on_recovery(&self, id: &str, act: &str, by: &str) -> Result<RecoveryView, Error> {
        let now = self.shared.clock.now();
        let ticket = {
            let mut engine = self.lock();
            if !engine.components.contains_key(id) {
                drop(engine);
                return Err(self.unknown(id));
            }
            engine
                .act(id, act, by, now)
                .map_err(|why| Error::new(Code::RecoveryRefused).detail(why).context("component_id", id))?;
            self.settle(&mut engine)
        };
        self.stored(ticket).await;
        self.recovery(id)
    }

    /// How recovery of a component stands.
    pub(super) fn recovery(&self, id: &str) -> Result<RecoveryView, Error> {
        let found = self.shared.snapshot.load().recovery.get(id).cloned();
        found.ok_or_else(|| self.unknown(id))
    }

    /// Puts a test notice into every receiver's queue.
    pub(super) fn send_test_notices(&self) {
        let now = self.shared.clock.now();
        let mut engine = self.lock();
        for receiver in engine.receivers.clone() {
            let body =
                json!({"status": "test", "notice": "test", "summary": "a test notice; nothing is wrong"});
            let key = format!("test/{}/{receiver}", uuid::Uuid::now_v7());
            let group = "test".to_owned();
            engine.put(Row::Outbox(OutboxRow { key, receiver, group, created: now.wall, body }));
        }
        self.settle(&mut engine);
    }
}
