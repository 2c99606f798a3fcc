//! What the summary keeps when everything is wrong at once.

use std::sync::Arc;

use botops_contract::{BotPhase, BotReport, BreakerState, SessionPhase};
use rust_decimal::Decimal;

use super::model::{ConfigSync, OverviewExtras, RunningWorkflow};
use super::warning::Warning;
use crate::bots::BotSnapshot;
use crate::configs::SyncState;
use botops_core::error::NextAction;

use super::tests::{an_incident, broken_component, render, seen_with};

const REASON: &str = "the fund manager wants no trades before the rate decision; ask Maria";

/// An operator halted a bot that holds positions past their stop.
fn halted(report: &mut BotReport) {
    let since = report.as_of;
    let breaker = report.circuit_breaker.as_mut().unwrap();
    (breaker.state, breaker.reason) = (BreakerState::Open, Some(REASON.to_owned()));
    (breaker.source, breaker.since) = (Some("operator".to_owned()), since);
    let session = report.session.as_mut().unwrap();
    (session.state, session.reason) = (SessionPhase::HaltedOperator, Some(REASON.to_owned()));
    session.error_code = Some("BRK_008".to_owned());
    let position = report.positions.as_ref().unwrap()[0].clone();
    let others = ["AAPL", "AMZN", "GOOG", "MSFT"].map(|symbol| {
        let mut other = position.clone();
        symbol.clone_into(&mut other.symbol);
        (other.current_price, other.stop_price) =
            (Some(Decimal::from(221).into()), Some(Decimal::from(225).into()));
        other
    });
    report.positions.as_mut().unwrap().extend(others);
    report.performance.total_unrealized_pl = None;
}

#[test]
fn a_halt_with_positions_past_their_stop_is_told_whole() {
    let extras = OverviewExtras {
        system_health: Some("degraded".to_owned()),
        not_green: ["system_resources", "trading", "broker_session"]
            .map(|id| broken_component(id.to_owned(), format!("{id} is beyond its limit")))
            .to_vec(),
        incidents: (0..2)
            .map(|_| an_incident("system_resources is CRITICAL".to_owned(), "look at it".to_owned()))
            .collect(),
        incident_actions: vec![NextAction {
            operation: "get_incident".to_owned(),
            method: "GET".to_owned(),
            path: "/api/v1/incidents/inc-1041".to_owned(),
            body: None,
            scope: Some("read".to_owned()),
        }],
        ..OverviewExtras::default()
    };
    let summary = render(&seen_with(halted), &extras);
    assert_eq!(summary["circuit_breaker_reason"], REASON, "{summary:#}");
    let warnings = summary["warnings"].as_array().unwrap();
    let risk = warnings.iter().find(|one| one.as_str().unwrap().starts_with("Past their stop")).unwrap();
    assert!(risk.as_str().unwrap().contains("AAPL (last 221, stop 225)"), "{summary:#}");
    let shown = |what: &str| summary[what].as_array().unwrap().len();
    assert!(shown("not_green") >= 1 && shown("incidents") >= 1, "{summary:#}");
    assert!(shown("recent_errors") >= 1, "{summary:#}");
    // Who halted it comes before an incident that has nothing to do with that.
    assert_eq!(summary["next_actions"][0]["path"], "/api/v1/events?kind=control&limit=5", "{summary:#}");
}

#[test]
fn a_bot_that_trades_by_another_config_is_warned_of() {
    let sync = ConfigSync {
        status: SyncState::Drifted.as_str().to_owned(),
        reason: "the bot runs version 0 (built in), committed is version 4".to_owned(),
    };
    let extras = OverviewExtras { config_sync: Some(sync), ..OverviewExtras::default() };
    let summary = render(&seen_with(|_| {}), &extras);
    let warnings = summary["warnings"].as_array().unwrap();
    let told =
        warnings.iter().filter_map(|one| one.as_str()).find(|one| one.contains("committed is version 4"));
    assert!(told.is_some_and(|text| text.contains("config/rollback")), "{summary:#}");
}

/// The broker refuses the bot's credentials, which opened the breaker, and the machine is busy beside it.
fn refused(report: &mut BotReport) {
    const WHY: &str =
        "the broker refused the credentials of account 7F-3391 (HTTP 401 invalid_grant), 3 times within 42 s";
    halted(report);
    let breaker = report.circuit_breaker.as_mut().unwrap();
    (breaker.reason, breaker.source) = (Some(WHY.to_owned()), Some("session".to_owned()));
    breaker.needs_human = Some("renew_credentials".to_owned());
    let session = report.session.as_mut().unwrap();
    (session.state, session.reason) = (SessionPhase::HaltedCredential, Some(WHY.to_owned()));
    (session.is_healthy, session.needs_human) = (Some(false), Some("renew_credentials".to_owned()));
    session.error_code = Some("BRK_004".to_owned());
    report.no_entry_reasons = Some(vec![format!("the session is not usable: {WHY}"); 4]);
    report.phase = BotPhase::Degraded;
}

/// What health and the incidents add to it.
fn busy_extras() -> OverviewExtras {
    let why = "broker_session is CRITICAL: the broker refused the credentials of account 7F-3391 (HTTP 401)";
    let mut worst = an_incident(why.to_owned(), "A person must renew the bot's credentials.".to_owned());
    worst.incident_id = "inc-77".to_owned();
    let look = |path: &str| NextAction {
        operation: "get_incident".to_owned(),
        method: "GET".to_owned(),
        path: path.to_owned(),
        body: None,
        scope: Some("read".to_owned()),
    };
    OverviewExtras {
        system_health: Some("CRITICAL".to_owned()),
        not_green: ["broker_session", "system_resources", "trading"]
            .map(|id| broken_component(id.to_owned(), why.to_owned()))
            .to_vec(),
        incidents: vec![
            worst,
            an_incident("system_resources is CRITICAL".to_owned(), "look at it".to_owned()),
        ],
        incident_actions: vec![look("/api/v1/incidents/inc-77")],
        warnings: (0..12).map(|n| Warning::with_remedy(&format!("{n}: {why}"), "Renew them.")).collect(),
        ..OverviewExtras::default()
    }
}

/// Whatever the day holds: with an incident, the worst one is there, and a call; so is what is not green.
#[test]
fn an_open_incident_is_never_an_empty_list_and_a_call_stays() {
    let mut texts =
        vec!["x".to_owned(), "a person ".repeat(40), "\u{202e}漢".repeat(400), "\"\\".repeat(500)];
    texts.push("Z̴͎̈́a̷l̶g̵o".repeat(100));
    for text in texts {
        let snapshot = seen_with(|report| {
            refused(report);
            report.session.as_mut().unwrap().reason = Some(text.clone());
            report.circuit_breaker.as_mut().unwrap().reason = Some(text.clone());
            report.phase_reason = Some(text.clone());
        });
        let mut extras = busy_extras();
        extras.incidents[0].cause.push_str(&text);
        extras.not_green.iter_mut().for_each(|one| one.component_id.push_str(&text));
        extras.warnings.push(Warning::with_remedy(&text, &text));
        let summary = render(&snapshot, &extras);
        assert_eq!(summary["incidents"][0]["incident_id"], "inc-77", "{summary:#}");
        assert!(summary["incidents"][0]["person_must"].is_string(), "{summary:#}");
        assert!(summary["next_actions"].as_array().is_some_and(|all| !all.is_empty()), "{summary:#}");
        assert!(summary["not_green"].as_array().is_some_and(|all| !all.is_empty()), "{summary:#}");
    }
}

#[test]
fn an_open_breaker_has_the_call_of_the_person_who_ends_it_before_any_other() {
    let first = |snapshot: &BotSnapshot| {
        let summary = render(snapshot, &busy_extras());
        let first = &summary["next_actions"][0];
        assert!(first["method"] == "GET" || first["body"]["reason"].is_string(), "{first:#}");
        first["path"].as_str().unwrap().to_owned()
    };
    // Of a bot that did not say what it takes, every verb is one that it may take.
    let taking_all = |change: fn(&mut BotReport)| BotSnapshot { hello: None, ..seen_with(change) };
    assert_eq!(first(&taking_all(refused)), "/api/v1/control/reauth");
    assert_eq!(first(&seen_with(refused)), "/api/v1/events?kind=breaker&limit=5", "it takes no reauth");
    let opened_by = |source: &str| {
        let mut snapshot = taking_all(|report| {
            report.circuit_breaker.as_mut().unwrap().state = BreakerState::Open;
        });
        let report = Arc::make_mut(snapshot.report.as_mut().unwrap());
        report.circuit_breaker.as_mut().unwrap().source = Some(source.to_owned());
        snapshot
    };
    assert_eq!(first(&opened_by("daily_loss")), "/api/v1/control/reset-breaker");
    assert_eq!(first(&opened_by("operator")), "/api/v1/events?kind=control&limit=5");
    assert_eq!(first(&opened_by("a rule of its own")), "/api/v1/events?kind=breaker&limit=5");
    // Closed: nothing of it is to be done.
    assert_eq!(first(&seen_with(|_| {})), "/api/v1/incidents/inc-77");
    // A run that is under way may end it.
    let mut extras = busy_extras();
    extras.workflow = Some(RunningWorkflow {
        workflow_id: "restart-bot".to_owned(),
        run_id: "run-1".to_owned(),
        state: "running".to_owned(),
        step: None,
    });
    let summary = render(&opened_by("daily_loss"), &extras);
    assert_eq!(summary["next_actions"][0]["path"], "/api/v1/incidents/inc-77", "{summary:#}");
}

#[test]
fn the_id_of_an_alert_stays_while_there_is_room_and_is_counted_where_there_is_none() {
    let summary = render(&seen_with(halted), &busy_extras());
    let all = summary["not_green"].as_array().unwrap();
    let without = all.iter().filter(|one| one["alert_id"].is_null()).count();
    let omitted = summary["omitted"].as_array().unwrap();
    let left = omitted.iter().find(|left| left["what"] == "alert_ids");
    assert_eq!(left.map_or(0, |left| left["count"].as_u64().unwrap()), without as u64, "{summary:#}");
    // The same without positions, and with warnings of its own alone.
    let mut extras = busy_extras();
    extras.warnings.clear();
    let without_positions = seen_with(|report| {
        refused(report);
        (report.positions, report.no_entry_reasons) = (Some(Vec::new()), None);
    });
    let summary = render(&without_positions, &extras);
    let all = summary["not_green"].as_array().unwrap();
    assert!(all.iter().all(|one| one["alert_id"].is_string()), "{summary:#}");
}
