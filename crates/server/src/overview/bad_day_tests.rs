//! What the summary keeps when everything is wrong at once.

use botops_contract::{BotReport, BreakerState, SessionPhase};
use rust_decimal::Decimal;

use super::model::{ConfigSync, OverviewExtras};
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
