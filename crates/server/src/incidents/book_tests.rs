//! The rules, on events as the features publish them.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::book::IncidentBook;
use super::model::{Incident, IncidentState, NowKnown, PartNow, PersonStep, RecoveryNow, WhoMustAct};
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
    let part = |is_up, recovery| PartNow { recovery, ..part_now(is_up) };
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

fn part_now(is_up: bool) -> PartNow {
    PartNow { is_up, reason: None, since: None, recovery: None, by_person: None }
}

/// All parts work, but those that are named.
fn known_with(parts: &[(&str, PartNow)]) -> NowKnown {
    let working = ["bot", "presence", "broker_session", "trading"];
    let working = working.map(|component| (component.to_owned(), part_now(true)));
    let mut known = NowKnown::from(working);
    known.extend(parts.iter().map(|(component, part)| ((*component).to_owned(), part.clone())));
    known
}

/// A breaker that a loss limit opened.
fn open_breaker(since: DateTime<Utc>) -> PartNow {
    let must = "A loss limit stopped new positions: a person resets it.".to_owned();
    let by_person = Some(PersonStep { must, next_actions: Vec::new() });
    PartNow { since: Some(since), by_person, ..part_now(false) }
}

#[test]
fn an_incident_whose_breaker_is_open_is_not_over_and_a_person_must_act() {
    let mut told = Told::new();
    told.trial("trial", &Value::Null);
    let opened = told.now + TimeDelta::seconds(1);
    told.after(30).trial("rolled_back", &json!("criteria"));
    let mut book = IncidentBook::default();
    told.events.iter().for_each(|event| book.take(event));
    let open = known_with(&[("breaker", open_breaker(opened))]);
    for minutes in [1, 9] {
        book.tick(told.now + TimeDelta::minutes(minutes), &open);
        let [one] = book.open() else { panic!("{:#?}", book.open()) };
        assert_eq!((one.state, one.who_must_act), (IncidentState::Open, WhoMustAct::Person), "{one:#?}");
        assert!(one.person_must.as_deref().unwrap().contains("resets it"), "{one:#?}");
        assert_eq!((one.ended_at, one.components.get("breaker")), (None, Some(&true)));
    }
    // It is closed: two minutes later it is over.
    let now = told.now + TimeDelta::minutes(10);
    book.tick(now, &known_with(&[("breaker", part_now(true))]));
    assert_eq!((book.open()[0].state, book.open()[0].ended_at), (IncidentState::Quiet, Some(now)));
    // A breaker that was open long before has nothing to do with it.
    let mut book = IncidentBook::default();
    told.events.iter().for_each(|event| book.take(event));
    let long_open = open_breaker(told.now - TimeDelta::hours(3));
    book.tick(told.now + TimeDelta::seconds(10), &known_with(&[("breaker", long_open)]));
    assert_eq!(book.open()[0].state, IncidentState::Quiet);
}

#[test]
fn what_a_person_must_do_is_an_instruction() {
    let mut told = Told::new();
    told.status("broker_session", "bot", "CRITICAL").status("prices", "prices", "CRITICAL");
    let mut book = IncidentBook::default();
    told.events.iter().for_each(|event| book.take(event));
    let must = "A person must renew the bot's credentials.".to_owned();
    let session = PartNow {
        reason: Some("the broker refused the credentials".to_owned()),
        by_person: Some(PersonStep { must: must.clone(), next_actions: Vec::new() }),
        ..part_now(false)
    };
    let prices = PartNow { reason: Some("it answers 500.".to_owned()), ..part_now(false) };
    book.tick(told.now, &known_with(&[("broker_session", session), ("prices", prices)]));
    let said: Vec<&str> = book.open().iter().map(|one| one.person_must.as_deref().unwrap()).collect();
    assert_eq!(
        said,
        [must.as_str(), "put prices right by hand, since no recovery is set for it: it answers 500"]
    );
}

#[test]
fn runs_and_config_changes_that_have_nothing_to_do_with_an_incident_are_not_part_of_it() {
    let run_of = |told: &mut Told, workflow: &str, acts: bool| {
        let data = json!({"run_id": workflow, "workflow_id": workflow, "event": "started", "state": "running",
            "terminal": false, "actor": "operator", "acts_on_bot": acts});
        told.tell(EventKind::Workflow, Severity::Low, &format!("{workflow} started"), data);
    };
    let change = |told: &mut Told, txn: &str| {
        let data = json!({"txn": txn, "state": "committed", "version": 9, "actor": "operator"});
        told.tell(EventKind::Config, Severity::Medium, &format!("{txn} is committed"), data);
    };
    let told_verb = |told: &mut Told, verb: &str| {
        let data = json!({"verb": verb, "outcome": "done", "actor": "operator"});
        told.tell(EventKind::Control, Severity::Medium, &format!("operator told the bot to {verb}"), data);
    };
    // A trial that was taken back stays the change of its incident.
    let mut told = Told::new();
    told.trial("trial", &Value::Null).after(5).trial("rolled_back", &json!("criteria"));
    told.status("trading", "bot", "CRITICAL").after(60);
    run_of(&mut told, "export-logs", false);
    run_of(&mut told, "update-targets", false);
    change(&mut told, "txn-unrelated");
    run_of(&mut told, "restart-bot", true);
    let one = told.expect(1).remove(0);
    assert_eq!(one.config_change.as_ref().unwrap().txn, "txn-7", "{one:#?}");
    let tried = |one: &Incident| one.tried.iter().map(|tried| tried.what.clone()).collect::<Vec<_>>();
    assert_eq!(tried(&one), ["restart-bot"]);
    // A hang that has ended: nothing that is begun now is about it.
    let mut told = Told::new();
    told.presence("hung").after(10).presence("connected").after(60);
    run_of(&mut told, "restart-bot", true);
    told_verb(&mut told, "pause");
    change(&mut told, "txn-unrelated");
    let one = told.expect(1).remove(0);
    assert_eq!((&one.config_change, tried(&one)), (&None, Vec::new()), "{one:#?}");
    // What is begun while something is wrong is.
    let mut told = Told::new();
    told.presence("hung").after(10);
    told_verb(&mut told, "pause");
    assert_eq!(tried(&told.expect(1)[0]), ["pause"]);
    // A change long after the last sign is not.
    told.after(3_600);
    change(&mut told, "txn-unrelated");
    assert_eq!(told.expect(1)[0].config_change, None);
}

#[test]
fn an_attempt_of_recovery_ends_where_it_could_not_begin_and_belongs_to_its_component() {
    let mut told = Told::new();
    told.status("prices", "prices", "DOWN").after(1).presence("hung").status("bot", "bot", "DOWN").after(40);
    told.health("recovery.started", "prices", &json!({"handler": "workflow:restart-bot"}));
    told.run("started", "running", "recovery");
    told.health("recovery.started", "bot", &json!({"handler": "workflow:restart-bot"}));
    told.health("recovery.not_tried", "bot", &json!({"attempt": 0, "error_code": "BOT_020"}));
    let incidents = told.expect(2);
    let tried = |at: usize| {
        let one = &incidents[at].tried;
        assert_eq!(one.len(), 1, "{one:#?}");
        (one[0].run_id.as_deref(), one[0].outcome.as_deref())
    };
    assert_eq!(tried(0), (Some("run-1"), None));
    assert_eq!(tried(1), (None, Some("could not begin")));
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
