//! The engine's recovery: when a handler starts, what it came to, what operators do about it.

use serde_json::json;

use super::component::Component;
use super::engine::{Attempt, Engine, Row};
use super::recovery::{Recovering, Sight, Step};
use super::spec::Handler;
use super::status::Now;
use crate::contract::{EventKind, Severity};
use crate::events::NewEvent;

impl Engine {
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

    pub(super) fn recover(&mut self, component: &mut Component, now: Now) {
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
