//! The rules, on events as the features publish them.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::book::IncidentBook;
use super::model::{Incident, IncidentState, NowKnown, PartNow, RecoveryNow, WhoMustAct};
use crate::events::Event;
use botops_contract::{EventKind, Severity};

/// Events with numbers, from a time on.
struct Told {
    events: Vec<Event>,
    now: DateTime<Utc>,
}

impl Told {
    fn new() -> Self {
        Self { events: Vec::new(), now: DateTime::from_timestamp(1_800_000_000, 0).unwrap() }
    }

    fn after(&mut self, seconds: i64) -> &mut Self {
        self.now += TimeDelta::seconds(seconds);
        self
    }

    fn tell(&mut self, kind: EventKind, severity: Severity, message: &str, data: Value) -> &mut Self {
        let seq = 100 + self.events.len() as u64;
        let source = "botops".to_owned();
        let message = message.to_owned();
        let (error, repeats) = (None, None);
        self.events.push(Event { seq, at: self.now, kind, severity, source, message, error, repeats, data });
        self
    }

    fn presence(&mut self, presence: &str) -> &mut Self {
        let message = format!("bot paperbot is {presence}");
        let severity = if presence == "connected" { Severity::Low } else { Severity::High };
        self.tell(EventKind::Lifecycle, severity, &message, json!({"presence": presence}))
    }

    fn status(&mut self, component: &str, root: &str, status: &str) -> &mut Self {
        let data = json!({"event_type": "component.status_changed", "component_id": component, "status": status,
            "root_component": root});
        self.tell(EventKind::Health, Severity::High, &format!("{component} is {status}"), data)
    }

    fn health(&mut self, event_type: &str, component: &str, more: &Value) -> &mut Self {
        let mut data = json!({"event_type": event_type, "component_id": component});
        for (name, value) in more.as_object().unwrap() {
            data[name] = value.clone();
        }
        self.tell(EventKind::Health, Severity::High, &format!("{event_type} of {component}"), data)
    }

    fn trial(&mut self, state: &str, by: &Value) -> &mut Self {
        let data = json!({"txn": "txn-7", "state": state, "by": by, "version": 4, "actor": "agent"});
        self.tell(EventKind::Config, Severity::Medium, &format!("config version 4 is {state}"), data)
    }

    fn run(&mut self, event: &str, state: &str, actor: &str) -> &mut Self {
        let terminal = event == "finished";
        let data = json!({"run_id": "run-1", "workflow_id": "restart-bot", "event": event, "state": state,
            "terminal": terminal, "actor": actor});
        self.tell(EventKind::Workflow, Severity::Low, &format!("restart-bot {event}"), data)
    }

    /// All incidents, oldest first; the book is stored and restored after each event when `kills` says so.
    fn incidents(&self, kills: bool) -> Vec<Incident> {
        let mut book = IncidentBook::default();
        let mut all = std::collections::BTreeMap::new();
        for (index, event) in self.events.iter().enumerate() {
            book.take(event);
            for incident in book.take_changed() {
                all.insert(incident.first_seq(), incident);
            }
            if kills {
                let stored = serde_json::to_string(&(book.open(), book.memory())).unwrap();
                let (open, memory) = serde_json::from_str(&stored).unwrap();
                let before = self.events[index.saturating_sub(20)..=index].iter().cloned().map(Arc::new);
                book = IncidentBook::restored(open, memory, before);
            }
        }
        book.tick(self.now, &NowKnown::new());
        for incident in book.take_changed() {
            all.insert(incident.first_seq(), incident);
        }
        all.into_values().collect()
    }

    fn expect(&self, count: usize) -> Vec<Incident> {
        let whole = self.incidents(false);
        assert_eq!(whole.len(), count, "{whole:#?}");
        assert_eq!(whole, self.incidents(true), "a kill after any event changes nothing");
        whole
    }
}

#[test]
fn a_kill_in_a_trial_under_an_open_alert_is_one_incident() {
    let mut told = Told::new();
    told.status("broker_session", "bot", "CRITICAL");
    told.after(5).health("alert.firing", "broker_session", &json!({"alert_id": "alert-1"}));
    told.after(5).trial("activating", &Value::Null).trial("trial", &Value::Null);
    told.after(20).presence("exited");
    told.after(1).trial("rolled_back", &json!("bot_crash"));
    told.after(3).status("bot", "bot", "DOWN").health("alert.firing", "bot", &json!({"alert_id": "alert-2"}));
    told.after(30).health("recovery.started", "bot", &json!({"handler": "workflow:restart-bot"}));
    told.run("started", "running", "recovery").after(4).presence("connected").run(
        "finished",
        "succeeded",
        "recovery",
    );
    told.after(5).status("bot", "bot", "HEALTHY").health("recovery.succeeded", "bot", &json!({}));
    told.status("broker_session", "bot", "HEALTHY");
    let incidents = told.expect(1);
    let one = &incidents[0];
    assert_eq!(one.state, IncidentState::Quiet);
    assert_eq!(one.alert_ids, ["alert-1", "alert-2"]);
    assert_eq!(one.causes[0].component_id.as_deref(), Some("presence"), "the root comes first");
    let change = one.config_change.as_ref().unwrap();
    assert_eq!((change.txn.as_str(), change.state.as_str()), ("txn-7", "rolled_back"));
    assert_eq!(one.tried.len(), 1, "{:?}", one.tried);
    let tried = &one.tried[0];
    assert_eq!((tried.by.as_str(), tried.what.as_str()), ("recovery", "restart-bot"));
    assert_eq!((tried.run_id.as_deref(), tried.outcome.as_deref()), (Some("run-1"), Some("helped")));
    // Two minutes of quiet end it.
    told.after(121);
    assert_eq!(told.expect(1)[0].state, IncidentState::Over);
}

#[test]
fn two_unrelated_faults_are_two() {
    let mut told = Told::new();
    told.status("database:prices", "database:prices", "DOWN");
    told.after(10).presence("hung");
    told.after(10).status("config_sync", "bot", "CRITICAL");
    let incidents = told.expect(2);
    assert_eq!(incidents[0].components.keys().collect::<Vec<_>>(), ["database:prices"]);
    assert_eq!(incidents[1].components.keys().collect::<Vec<_>>(), ["config_sync", "presence"]);
    // What depends on a component that fell ill belongs to it.
    told.status("store", "store", "CRITICAL").status("audit_chain", "store", "CRITICAL");
    assert_eq!(told.expect(3)[2].components.len(), 2);
}

#[test]
fn a_flap_is_one_incident_with_a_count_and_a_later_one_is_another() {
    let mut told = Told::new();
    for _ in 0..5 {
        told.presence("hung").after(20).presence("connected").after(40);
    }
    let flap = told.expect(1).remove(0);
    assert_eq!((flap.repeats, flap.state), (4, IncidentState::Quiet));
    told.after(120).presence("hung");
    let incidents = told.expect(2);
    assert_eq!(incidents[0].state, IncidentState::Over);
    assert_eq!(incidents[0].ended_at, flap.ended_at);
    assert_eq!(incidents[1].state, IncidentState::Open);
}

#[test]
fn what_an_operator_does_is_no_incident_unless_it_fails() {
    let mut told = Told::new();
    told.run("started", "running", "operator").after(2).presence("exited").after(5).presence("connected");
    told.run("finished", "succeeded", "operator");
    told.expect(0);
    let data = json!({"verb": "shutdown", "outcome": "done", "actor": "operator"});
    told.after(60).tell(
        EventKind::Control,
        Severity::Medium,
        "operator told the bot to shutdown, done",
        data,
    );
    told.after(1).presence("exited").after(900).status("bot", "bot", "DOWN");
    told.expect(0);
    told.after(60).presence("connected").status("bot", "bot", "HEALTHY").after(600);
    // A restart that brings nothing back is one.
    told.run("started", "running", "operator").after(2).presence("exited").after(50);
    told.run("finished", "failed_after_pivot", "operator");
    let incidents = told.expect(1);
    assert_eq!(incidents[0].began_at, told.now - TimeDelta::seconds(50), "it began when the bot was gone");
}

#[test]
fn a_trial_that_was_taken_back_by_itself_is_an_incident_that_is_over_by_itself() {
    let mut told = Told::new();
    told.trial("trial", &Value::Null).after(30).trial("rolled_back", &json!("criteria"));
    let one = told.expect(1).remove(0);
    assert_eq!((one.state, one.timeline.len()), (IncidentState::Quiet, 2));
    let mut told = Told::new();
    told.trial("trial", &Value::Null).after(30).trial("rolled_back", &json!("operator"));
    told.expect(0);
}

#[test]
fn who_must_act_follows_recovery_and_a_sign_that_no_event_ended_ends_by_what_is_known() {
    let mut told = Told::new();
    told.presence("exited").status("bot", "bot", "DOWN").status("trading", "bot", "CRITICAL");
    let mut book = IncidentBook::default();
    told.events.iter().for_each(|event| book.take(event));
    let recovery = |left: Option<&str>| RecoveryNow {
        may_act: true,
        left_to_person: left.map(str::to_owned),
        next_actions: Vec::new(),
    };
    let part = |is_up, recovery| PartNow { is_up, reason: None, recovery };
    let mut known = NowKnown::from([
        ("presence".to_owned(), part(false, None)),
        ("bot".to_owned(), part(false, Some(recovery(None)))),
        ("trading".to_owned(), part(false, None)),
    ]);
    let now = told.now + TimeDelta::seconds(10);
    book.tick(now, &known);
    assert_eq!(book.open()[0].who_must_act, WhoMustAct::Recovery, "trading follows the bot");
    known.insert("bot".to_owned(), part(false, Some(recovery(Some("start the bot by hand")))));
    book.tick(now, &known);
    assert_eq!(book.open()[0].who_must_act, WhoMustAct::Person);
    assert_eq!(book.open()[0].person_must.as_deref(), Some("start the bot by hand"));
    for part in known.values_mut() {
        part.is_up = true;
    }
    known.remove("trading");
    book.tick(now, &known);
    assert_eq!(
        (book.open()[0].state, book.open()[0].who_must_act),
        (IncidentState::Quiet, WhoMustAct::Nobody)
    );
    book.tick(now + TimeDelta::seconds(121), &known);
    assert!(book.open().is_empty());
}

#[test]
fn an_incident_of_any_length_is_bounded() {
    let mut told = Told::new();
    for n in 0..900 {
        told.after(1).presence("hung").health(
            "alert.firing",
            "bot",
            &json!({"alert_id": format!("alert-{n}")}),
        );
        told.health("recovery.started", "bot", &json!({"handler": "workflow:restart-bot"}))
            .presence("connected");
        told.status(&format!("part-{n}"), "bot", "CRITICAL");
    }
    let one = told.incidents(false).remove(0);
    assert!(one.timeline.len() <= 80 && one.tried.len() <= 8 && one.alert_ids.len() <= 8, "{one:#?}");
    assert!(one.components.len() <= 40 && one.causes.len() <= 3);
    assert_eq!(one.event_count, 4_500);
}
