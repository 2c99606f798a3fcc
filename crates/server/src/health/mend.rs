//! The engine's recovery: when a handler starts, what it came to, what operators do about it.

use serde_json::json;

use super::component::Component;
use super::engine::{Attempt, Engine, Row, WorkflowFacts};
use super::recovery::{AttemptRun, HandlerEnd, Recovering, Sight, Step};
use super::spec::Handler;
use super::status::Now;
use crate::events::NewEvent;
use botops_contract::{EventKind, Severity};

impl Engine {
    /// A handler came back.
    pub(super) fn handler_ended(&mut self, id: &str, outcome: &HandlerEnd, took_ms: u64, now: Now) {
        let Some(component) = self.components.get_mut(id) else {
            self.budget.is_busy = false;
            return;
        };
        let step = component.recovery.ended(outcome, &mut self.budget, now.mono);
        component.next_due = now.mono;
        let attempt = component.recovery.attempts;
        if let HandlerEnd::Done(words) | HandlerEnd::Failed(words) = outcome {
            let said_ok = matches!(outcome, HandlerEnd::Done(_));
            let ended = if said_ok { "ended; its check decides" } else { "failed" };
            let message = format!("recovery of {id}: the handler {ended} ({words})");
            let data = json!({"event_type": "recovery.handler_ended", "component_id": id, "ok": said_ok,
                "detail": words, "attempt": attempt, "duration_ms": took_ms});
            self.out.events.push(NewEvent::own(EventKind::Health, Severity::Medium, message, data));
        }
        self.store_recovery(id, now);
        self.tell_step(id, &step);
    }

    /// An operator acts on a component's recovery.
    pub(super) fn act(&mut self, id: &str, act: &str, by: &str, now: Now) -> Result<(), &'static str> {
        let Some(mut component) = self.components.remove(id) else { return Err("no such component") };
        let acted = self.act_on(&mut component, act, by, now);
        self.put_recovery(&component, now);
        self.components.insert(id.to_owned(), component);
        acted?;
        let message = format!("recovery of {id}: {act} by {by}");
        let data = json!({"event_type": format!("recovery.{act}"), "component_id": id, "by": by});
        self.out.events.push(NewEvent::own(EventKind::Health, Severity::Medium, message, data));
        Ok(())
    }

    fn act_on(
        &mut self,
        component: &mut Component,
        act: &str,
        by: &str,
        now: Now,
    ) -> Result<(), &'static str> {
        match act {
            "hold" => component.recovery.held_by = Some(by.to_owned()),
            "release" => component.recovery.held_by = None,
            "reset" => component.recovery.reset(),
            _ => {
                let handler =
                    component.spec.recovery.clone().filter(|handler| runs(handler, self.has_runner));
                let Some(handler) = handler else {
                    return Err("the component has no handler that can run");
                };
                let limit_ms = limit_ms(&handler, &self.workflow_facts);
                component.recovery.run_now(limit_ms, &mut self.budget, now.mono)?;
                self.begin_attempt(component, handler, &format!("started by {by}"), Some(by.to_owned()));
            }
        }
        Ok(())
    }

    pub(super) fn recover(&mut self, component: &mut Component, now: Now) {
        let Some(handler) = component.spec.recovery.clone() else { return };
        let is_idle = component.recovery.at == Recovering::Idle;
        let standing = component.standing(&self.config, now);
        let restart = self.unasked_restart.clone();
        let held =
            Some(&restart).filter(|one| restarts_bot(&handler, &self.workflow_facts) && !one.is_allowed());
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
        } else if held.is_some() {
            Some("bot_not_proven_dead")
        } else {
            None
        };
        let is_held_back = blocked == Some("bot_not_proven_dead") && component.recovery.held_by.is_none();
        let needs_person = held.filter(|restart| is_held_back && restart.needs_person());
        component.left_to_person = needs_person.map(|restart| restart.sentence.clone());
        let why = needs_person.and_then(|restart| restart.verdict.err()).map(|why| format!("{why:?}"));
        if why.is_some() && component.recovery.is_due(now.mono) && component.recovery.told_blocked != why {
            component.recovery.told_blocked = why;
            self.tell_left_to_person(component);
            self.put_recovery(component, now);
        }
        let handler_ms = limit_ms(&handler, &self.workflow_facts);
        let sight = Sight { standing, blocked, handler_ms, jitter: self.roll() };
        let before = component.recovery.clone();
        let Some(step) = component.recovery.step(&sight, &mut self.budget, now.mono) else {
            if component.recovery.at != before.at && !is_idle {
                self.put_recovery(component, now);
            }
            return;
        };
        if let Step::Start { .. } = step {
            let reason = component.note.clone().unwrap_or_else(|| "it is not working".to_owned());
            self.begin_attempt(component, handler, &reason, None);
        }
        self.put_recovery(component, now);
        self.tell_step(&component.spec.id, &step);
    }

    /// Hands the attempt that the component's recovery has just begun to whoever runs handlers. One that could not begin
    /// before is not told of again.
    fn begin_attempt(
        &mut self,
        component: &mut Component,
        handler: Handler,
        reason: &str,
        asked_by: Option<String>,
    ) {
        let (id, attempt) = (component.spec.id.clone(), component.recovery.attempts);
        if component.recovery.untried == 0 {
            let message = format!("recovery of {id}: attempt {attempt} runs {}", handler.name());
            let data = json!({"event_type": "recovery.started", "component_id": id, "attempt": attempt,
                "handler": handler.name(), "reason": reason});
            self.say(Severity::High, message, data);
        }
        let run = || AttemptRun {
            key: format!("recovery-{id}-{}", uuid::Uuid::now_v7()),
            reason: format!("recovery of {id}: {reason}"),
            asked_by,
        };
        component.recovery.run = matches!(handler, Handler::Workflow(_)).then(run);
        self.out.attempts.push(Attempt { component: id, handler, run: component.recovery.run.clone() });
    }

    /// A person has to act, because botops may not: one plain sentence, once for each reason.
    fn tell_left_to_person(&mut self, component: &Component) {
        let id = &component.spec.id;
        let sentence = component.left_to_person.clone().unwrap_or_default();
        let message = format!("recovery of {id} is left to a person: {sentence}");
        let data = json!({"event_type": "recovery.left_to_person", "component_id": id,
            "reason": component.recovery.told_blocked});
        self.say(Severity::High, message, data);
    }

    /// Takes up the run that an attempt was when botops ended.
    pub(super) fn take_up_attempts(&mut self) {
        for component in self.components.values() {
            let recovery = &component.recovery;
            let (Recovering::Running { .. }, Some(run)) = (recovery.at, &recovery.run) else { continue };
            let Some(handler) = component.spec.recovery.clone() else { continue };
            self.budget.is_busy = true;
            let component = component.spec.id.clone();
            self.out.attempts.push(Attempt { component, handler, run: Some(run.clone()) });
        }
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
            Step::NotTried { why, is_news: true } => (
                Severity::Medium,
                "recovery.not_tried",
                0,
                format!("recovery of {id}: no attempt could begin, {why}"),
            ),
            Step::NotTried { .. } | Step::Start { .. } | Step::Planned => return,
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

/// An hour, for a workflow that is not known.
const HOUR: i64 = 3_600_000;

/// How long folding the store's log may take.
pub(super) const CHECKPOINT_MS: i64 = 30_000;

/// How long the handler may take: a workflow has its own deadline, and this is only for one that never comes back.
fn limit_ms(handler: &Handler, facts: &WorkflowFacts) -> i64 {
    match handler {
        Handler::Workflow(id) => {
            let longest = facts.get(id).map(|fact| fact.longest.as_millis());
            longest.map_or(HOUR, |longest| i64::try_from(longest).unwrap_or(i64::MAX / 4))
        }
        Handler::CheckpointStore => CHECKPOINT_MS,
    }
}

/// Whether it restarts the bot; a workflow that is not known (yet) may.
fn restarts_bot(handler: &Handler, facts: &WorkflowFacts) -> bool {
    match handler {
        Handler::Workflow(id) => facts.get(id).is_none_or(|fact| fact.restarts_bot),
        Handler::CheckpointStore => false,
    }
}

fn runs(handler: &Handler, has_runner: bool) -> bool {
    has_runner || *handler == Handler::CheckpointStore
}
