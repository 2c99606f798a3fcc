//! Tests of the bot's health, as a table, and of the summary's bounds under hostile states.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::bot_health::BotHealthStatus;
use super::model::{BeyondLimit, ConfigSync, IncidentBrief, NotGreen, OverviewExtras, RunningWorkflow};
use super::moment::StateMoment;
use super::state_view::StateView;
use super::warning::Warning;
use super::{example, summary};
use crate::bots::{AbsenceAdvice, BotSnapshot, FirstSeen, Presence};
use crate::errors::{ReportedError, UndatedErrors};
use botops_contract::{BotPhase, BotReport, BreakerState, SemanticError, SessionPhase, Severity};

const TTL: Duration = Duration::from_secs(60);

pub(super) fn seen_with(change: impl FnOnce(&mut BotReport)) -> BotSnapshot {
    let mut snapshot = example::snapshot();
    change(Arc::make_mut(snapshot.report.as_mut().unwrap()));
    snapshot
}

fn state(snapshot: &BotSnapshot, age: Option<u64>) -> StateView {
    let extras = OverviewExtras::default();
    let reported = reported(snapshot);
    StateView::of(&StateMoment {
        snapshot,
        extras: &extras,
        ttl: TTL,
        now: moment_of(snapshot),
        age: age.map(Duration::from_secs),
        reported: &reported,
    })
}

/// The moment that the made-up report describes.
fn moment_of(snapshot: &BotSnapshot) -> DateTime<Utc> {
    snapshot.report.as_ref().and_then(|report| report.as_of).unwrap_or_else(Utc::now)
}

fn reported(snapshot: &BotSnapshot) -> Vec<ReportedError<'_>> {
    let listed = snapshot.report.as_deref().map_or(&[][..], BotReport::error_list);
    UndatedErrors::default().date(listed, None, moment_of(snapshot))
}

#[track_caller]
fn check(snapshot: &BotSnapshot, age: Option<u64>, status: BotHealthStatus, warnings: &[&str]) {
    let state = state(snapshot, age);
    assert_eq!(state.health.status, status, "{}", state.health.reason);
    assert!(state.health.reason.ends_with('.'), "no sentence: {}", state.health.reason);
    assert!(!state.health.reason.contains(".."), "{}", state.health.reason);
    let found: Vec<bool> =
        warnings.iter().map(|start| state.warnings.iter().any(|text| text.starts_with(start))).collect();
    assert_eq!(state.warnings.len(), warnings.len(), "{:?}", state.warnings);
    assert!(found.iter().all(|found| *found), "{:?}", state.warnings);
}

fn away(presence: Presence, reason: &str) -> BotSnapshot {
    BotSnapshot { presence, presence_reason: reason.to_owned(), ..example::snapshot() }
}

#[test]
fn a_bot_on_time_is_healthy_and_warns_of_nothing() {
    check(&example::snapshot(), Some(0), BotHealthStatus::Healthy, &[]);
    check(&example::snapshot(), Some(60), BotHealthStatus::Healthy, &[]);
}

#[test]
fn old_data_degrades_and_a_bot_that_answers_is_never_offline_for_it() {
    check(&example::snapshot(), Some(61), BotHealthStatus::Degraded, &["Data is stale: 61 s"]);
    check(&example::snapshot(), Some(300), BotHealthStatus::Degraded, &["Data is stale: 300 s"]);
    check(
        &example::snapshot(),
        Some(1_080),
        BotHealthStatus::Degraded,
        &["DATA IS VERY OLD: everything below is 1080 s old"],
    );
}

/// The rules for old data, by presence: only who answers and is understood says something of now.
#[test]
fn what_is_not_answered_now_is_of_the_past_whatever_the_presence() {
    let long_ago = std::time::Instant::now().checked_sub(Duration::from_secs(301));
    for (presence, is_long_silent, status) in [
        (Presence::Connected, false, BotHealthStatus::Degraded),
        (Presence::Connected, true, BotHealthStatus::Degraded),
        (Presence::Slow, true, BotHealthStatus::Degraded),
        (Presence::Reloading, false, BotHealthStatus::Degraded),
        (Presence::Reloading, true, BotHealthStatus::Offline),
        (Presence::Incompatible, false, BotHealthStatus::Degraded),
        (Presence::Incompatible, true, BotHealthStatus::Degraded),
        (Presence::Hung, true, BotHealthStatus::Offline),
        (Presence::Exited, true, BotHealthStatus::Offline),
        (Presence::Unreachable, true, BotHealthStatus::Offline),
        (Presence::NeverSeen, true, BotHealthStatus::Offline),
    ] {
        let mut snapshot = away(presence, "a reason");
        if is_long_silent {
            snapshot.received = long_ago;
        }
        let state = state(&snapshot, Some(if is_long_silent { 301 } else { 100 }));
        let what = format!("{presence}, silent for long: {is_long_silent}: {}", state.health.reason);
        assert_eq!(state.health.status, status, "{what}");
        assert_eq!(state.phase.is_some(), presence.answers(), "{what}");
        assert_eq!(state.trading_enabled.is_some(), presence.answers(), "{what}");
        assert_eq!(state.session.is_some(), presence.answers(), "{what}");
        let known = state.last_known.map(|known| (known.phase, known.age_seconds));
        let age = if is_long_silent { 301.0 } else { 100.0 };
        let expected = (!presence.answers()).then_some((Some(BotPhase::Running), Some(age)));
        assert_eq!(known, expected, "{what}");
        let is_told_offline = state.warnings.iter().any(|warning| warning.starts_with("Bot offline"));
        assert_eq!(is_told_offline, status == BotHealthStatus::Offline, "{what}: {:?}", state.warnings);
    }
}

#[test]
fn a_bot_that_is_not_understood_is_there_with_the_age_of_what_was_understood_last() {
    let mut snapshot = away(Presence::Incompatible, "its answer is not JSON");
    let told = "The bot is there, but not understood: its answer is not JSON.";
    check(&snapshot, Some(900), BotHealthStatus::Degraded, &[told, "DATA IS VERY OLD"]);
    assert_eq!(
        state(&snapshot, Some(900)).health.reason,
        format!("{told} What was understood last is 900 s old.")
    );
    snapshot.report = None;
    check(&snapshot, None, BotHealthStatus::Degraded, &[told]);
}

#[test]
fn a_failure_without_a_time_counts_from_when_it_was_first_seen() {
    let critical = seen_with(|report| {
        let error = report.error_list()[0].clone();
        let undated = SemanticError { severity: Severity::Critical, timestamp: None, ..error.clone() };
        let mut listed = vec![error; 4];
        for (n, dated) in (0_i64..).zip(&mut listed) {
            dated.timestamp = report.as_of.map(|at| at - chrono::TimeDelta::minutes(20 + n));
        }
        listed.push(SemanticError { message: "without a time".to_owned(), ..undated });
        report.recent_errors = Some(listed);
    });
    check(
        &critical,
        Some(0),
        BotHealthStatus::Degraded,
        &[
            "1 errors in the last 5 minutes, 1 of them critical (1 without a time, taken as of when botops first saw",
        ],
    );
    let summary = render(&critical, &OverviewExtras::default());
    let first = &summary["recent_errors"][0];
    assert_eq!((first["message"].as_str(), first["timestamp"].is_null()), (Some("without a time"), true));
    assert!(first["first_seen_at"].is_string(), "{first}");
    assert!(summary["recent_errors"][1].get("first_seen_at").is_none(), "{summary}");
}

#[test]
fn a_share_needs_the_worth_of_all_positions() {
    let priced = |prices: &[Option<&str>]| {
        seen_with(|report| {
            let one = report.position_list()[0].clone();
            let position = |price: &Option<&str>| botops_contract::Position {
                current_price: price.and_then(|price| price.parse().ok()),
                entry_price: None,
                ..one.clone()
            };
            report.positions = Some(prices.iter().map(position).collect());
        })
    };
    let shares = |snapshot: &BotSnapshot| {
        let summary = render(snapshot, &OverviewExtras::default());
        let shares: Vec<Option<f64>> = summary["top_positions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|position| position["share_pct"].as_f64())
            .collect();
        (shares, summary["share_pct_unknown"].as_str().map(str::to_owned))
    };
    assert_eq!(shares(&priced(&[Some("30"), Some("10")])), (vec![Some(75.0), Some(25.0)], None));
    let why = "what 1 of 2 positions are worth is not known: a share needs the whole";
    let unknown = priced(&[None, Some("10")]);
    assert_eq!(shares(&unknown), (vec![None, None], Some(why.to_owned())));
    let markdown = render_markdown(&unknown);
    assert!(markdown.contains(&format!("No shares: {why}.")), "{markdown}");
    let mut cut = priced(&[Some("10")]);
    cut.dropped.unread_positions = 1;
    assert_eq!(shares(&cut).0, [None]);
}

#[test]
fn the_page_says_unknown_and_never_none_of_what_is_not_known() {
    let silent = seen_with(|report| {
        *report = BotReport {
            seq: report.seq,
            as_of: report.as_of,
            mode: report.mode,
            phase: BotPhase::Running,
            ..BotReport::default()
        };
    });
    let page = render_markdown(&silent);
    for row in [
        "circuit breaker",
        "broker session",
        "change of equity today",
        "positions",
        "open orders",
        "new positions",
        "last trade",
    ] {
        // Where a call says more, it is named behind the word.
        let shown =
            page.lines().find_map(|line| line.strip_prefix(&format!("| {row} | "))).unwrap_or_default();
        assert!(shown.starts_with("unknown |") || shown.starts_with("unknown: "), "{row}: {page}");
    }
    assert!(!page.contains("none"), "{page}");
}

#[test]
fn a_loop_that_stands_still_degrades_a_bot_that_answers() {
    let ticked = |seconds: u64, interval: Option<f64>| {
        let mut snapshot = seen_with(|report| report.loop_stats.expected_interval_s = interval);
        let watched = Duration::from_secs(5);
        let age = Duration::from_secs(seconds) - watched;
        let at = std::time::Instant::now().checked_sub(watched).unwrap();
        snapshot.tick_seen = Some(FirstSeen { at, age, ahead: Duration::ZERO });
        snapshot
    };
    let told = "The bot's trading loop stands still: its last tick was";
    check(&ticked(59, None), Some(0), BotHealthStatus::Healthy, &[]);
    check(&ticked(61, None), Some(0), BotHealthStatus::Degraded, &[told]);
    check(&ticked(5, Some(0.2)), Some(0), BotHealthStatus::Healthy, &[]);
    check(&ticked(6, Some(0.2)), Some(0), BotHealthStatus::Degraded, &[told]);
    check(&ticked(299, Some(300.0)), Some(0), BotHealthStatus::Healthy, &[]);
    check(&ticked(306, Some(300.0)), Some(0), BotHealthStatus::Degraded, &[told]);
    // An old time that has only just been seen may be a step of the clock.
    let mut stepped = ticked(1_000, Some(0.2));
    stepped.tick_seen = stepped.tick_seen.map(|tick| FirstSeen { at: std::time::Instant::now(), ..tick });
    check(&stepped, Some(0), BotHealthStatus::Healthy, &[]);
    for senseless in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        check(&ticked(59, Some(senseless)), Some(0), BotHealthStatus::Healthy, &[]);
    }
}

#[test]
fn a_lost_bot_is_offline_with_its_last_state() {
    for presence in [Presence::Exited, Presence::Hung, Presence::Unreachable] {
        let snapshot = away(presence, "its process is gone");
        check(&snapshot, Some(3), BotHealthStatus::Offline, &["Bot offline: its process is gone."]);
        assert!(state(&snapshot, Some(3)).account.is_some());
    }
    let stale = away(Presence::Exited, "its process is gone");
    check(&stale, Some(100), BotHealthStatus::Offline, &["Bot offline", "Data is stale"]);
}

#[test]
fn a_bot_that_never_was_is_offline_and_everything_is_null_with_a_reason() {
    let mut snapshot = away(Presence::NeverSeen, "there is no socket at /run/bot.sock");
    snapshot.report = None;
    snapshot.hello = None;
    check(&snapshot, None, BotHealthStatus::Offline, &["Bot offline: there is no socket at /run/bot.sock."]);
    let state = state(&snapshot, None);
    let json = serde_json::to_value(&state).unwrap();
    for part in
        ["mode", "account", "positions", "orders", "performance", "config", "market", "circuit_breaker"]
    {
        assert!(json[part].is_null(), "{part} is invented: {}", json[part]);
        assert!(state.unknown.iter().any(|unknown| unknown.part == part), "{part} has no reason");
    }
    assert!(state.is_data_stale);
    assert_eq!(json["data_age_seconds"], serde_json::Value::Null);
}

#[test]
fn a_slow_or_restarting_bot_is_degraded() {
    check(&away(Presence::Slow, "its last answer took 3.0 s"), Some(3), BotHealthStatus::Degraded, &[]);
    check(&away(Presence::Reloading, "it is being restarted"), Some(3), BotHealthStatus::Degraded, &[]);
}

#[test]
fn what_keeps_the_bot_from_trading_degrades_it() {
    let open = seen_with(|report| {
        let breaker = report.circuit_breaker.as_mut().unwrap();
        breaker.state = BreakerState::Open;
        breaker.reason = Some("5 failed checks in 60 s.".to_owned());
    });
    check(
        &open,
        Some(0),
        BotHealthStatus::Degraded,
        &["The circuit breaker is open: 5 failed checks in 60 s."],
    );
    let session = seen_with(|report| {
        let session = report.session.as_mut().unwrap();
        session.state = SessionPhase::HaltedCredential;
        session.is_healthy = Some(false);
        session.needs_human = Some("renew_credentials".to_owned());
    });
    check(
        &session,
        Some(0),
        BotHealthStatus::Degraded,
        &["The broker session is halted", "The broker waits"],
    );
    let failed = |report: &mut BotReport, count: usize, severity: Severity, ago: i64| {
        let error = report.error_list()[0].clone();
        let timestamp = report.as_of.map(|at| at - chrono::TimeDelta::seconds(ago));
        report.recent_errors = Some(vec![SemanticError { severity, timestamp, ..error }; count]);
    };
    let errors = seen_with(|report| failed(report, 10, Severity::Medium, 60));
    check(&errors, Some(0), BotHealthStatus::Degraded, &["High error rate: 10"]);
    let critical = seen_with(|report| failed(report, 1, Severity::Critical, 60));
    check(
        &critical,
        Some(0),
        BotHealthStatus::Degraded,
        &["1 errors in the last 5 minutes, 1 of them critical"],
    );
    // What is over is no fault of the present, though it counts in the last hour.
    let over = seen_with(|report| failed(report, 40, Severity::Critical, 301));
    check(&over, Some(0), BotHealthStatus::Healthy, &[]);
    // Nor is a failure of the session once the session is healthy again; that of an order may still matter.
    let failed_with = |code: &str| {
        seen_with(|report| {
            let error = SemanticError { error_code: code.to_owned(), ..report.error_list()[0].clone() };
            report.recent_errors = Some(vec![error]);
            failed(report, 1, Severity::Critical, 60);
            report.session.as_mut().unwrap().since =
                report.as_of.map(|at| at - chrono::TimeDelta::seconds(30));
        })
    };
    check(&failed_with("BRK_002"), Some(0), BotHealthStatus::Healthy, &[]);
    let told = ["1 errors in the last 5 minutes, 1 of them critical"];
    check(&failed_with("BRK_011"), Some(0), BotHealthStatus::Degraded, &told);
    let mut before = failed_with("BRK_002");
    let report = Arc::make_mut(before.report.as_mut().unwrap());
    report.session.as_mut().unwrap().since = report.as_of.map(|at| at - chrono::TimeDelta::seconds(90));
    check(&before, Some(0), BotHealthStatus::Degraded, &told);
    let degraded = seen_with(|report| report.phase = BotPhase::Degraded);
    check(&degraded, Some(0), BotHealthStatus::Degraded, &["The bot runs degraded"]);
    let paused = seen_with(|report| report.phase = BotPhase::Paused);
    check(&paused, Some(0), BotHealthStatus::Healthy, &["The bot is paused"]);
}

#[test]
fn positions_come_highest_profit_first_and_unknown_last() {
    let snapshot = seen_with(|report| {
        let one = report.position_list()[0].clone();
        let with = |symbol: &str, profit: Option<i64>| {
            let mut position = one.clone();
            position.symbol = symbol.to_owned();
            position.unrealized_pl = profit.map(|profit| Decimal::from(profit).into());
            position
        };
        report.positions = Some(vec![with("A", None), with("B", Some(-5)), with("C", Some(7))]);
    });
    let symbols: Vec<String> =
        state(&snapshot, Some(0)).positions.unwrap().into_iter().map(|position| position.symbol).collect();
    assert_eq!(symbols, ["C", "B", "A"]);
}

#[test]
fn a_usual_state_fits_without_shortening() {
    let snapshot = seen_with(|report| {
        let position = report.position_list()[0].clone();
        report.positions = Some(vec![position; 8]);
        let error = report.error_list()[0].clone();
        let at = |n| error.timestamp.map(|first| first + Duration::from_secs(n));
        let message = |n| format!("{} {n}", error.message);
        let failures =
            (0..3).map(|n| SemanticError { timestamp: at(n), message: message(n), ..error.clone() });
        report.recent_errors = Some(failures.collect());
        report.error_count_last_hour = Some(12);
    });
    let summary = render(&snapshot, &OverviewExtras::default());
    assert_eq!(summary["top_positions"].as_array().unwrap().len(), 5);
    assert_eq!(summary["recent_errors"].as_array().unwrap().len(), 2);
    let remediation = summary["recent_errors"][0]["remediation"].as_str().unwrap();
    assert!(remediation.ends_with("closed."), "{remediation}");
    let omitted: Vec<_> = summary["omitted"].as_array().unwrap().iter().map(|left| &left["what"]).collect();
    // Orders are no part of the summary; their count is.
    assert_eq!(omitted, ["positions", "errors"]);
}

#[test]
fn failures_that_say_the_same_are_one_with_how_often_it_came() {
    let snapshot = seen_with(|report| {
        let error = report.error_list()[0].clone();
        let at = |n| error.timestamp.map(|first| first + Duration::from_secs(n));
        let mut failures: Vec<_> =
            (0..4).map(|n| SemanticError { timestamp: at(n), ..error.clone() }).collect();
        failures.push(SemanticError { timestamp: at(9), cause: "another cause".to_owned(), ..error.clone() });
        report.recent_errors = Some(failures);
    });
    let summary = render(&snapshot, &OverviewExtras::default());
    let errors = summary["recent_errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[1]["times"]), (2, &serde_json::json!(4)), "{errors:#?}");
    assert_eq!(errors[1]["timestamp"], "2026-11-23T15:12:12Z", "the newest is shown");
    assert!(errors[0]["times"].is_null() && errors[0]["cause"] == "another cause", "{errors:#?}");
    assert!(!summary["omitted"].to_string().contains("errors"), "all of them are shown: {summary:#}");
}

#[test]
fn a_remedy_stands_whole_however_long_what_the_bot_says_is() {
    let remedy = "A person must mend it before it is started again: what it wrote is in /srv/bots/momentum/botops-data/logs/\
                  bot-output.txt.";
    let dies =
        format!("The bot died 3 times in a row at its start; its last output: {}.", "KeyError: ".repeat(40));
    let absence = AbsenceAdvice { dies_at_start: Some(dies), remedy: remedy.to_owned(), unmanaged: None };
    let snapshot =
        BotSnapshot { absence: Some(Arc::new(absence)), ..away(Presence::Exited, &"gone ".repeat(100)) };
    let many = (0..30).map(|n| Warning::from(format!("warning {n}: {}", "words ".repeat(60)))).collect();
    let extras = OverviewExtras { warnings: many, ..OverviewExtras::default() };
    let summary = render(&snapshot, &extras);
    let told = summary["warnings"].as_array().unwrap().iter().filter_map(|text| text.as_str());
    let told: Vec<&str> = told.filter(|text| text.contains("in a row")).collect();
    assert!(told.len() == 1 && told[0].ends_with(remedy) && told[0].contains('…'), "{told:?}");
}

/// The summary as JSON, after holding both forms to the bounds.
#[track_caller]
pub(super) fn render(snapshot: &BotSnapshot, extras: &OverviewExtras) -> serde_json::Value {
    serde_json::from_str(&render_both(snapshot, extras).json).unwrap()
}

#[track_caller]
fn render_markdown(snapshot: &BotSnapshot) -> String {
    render_both(snapshot, &OverviewExtras::default()).markdown
}

#[track_caller]
fn render_both(snapshot: &BotSnapshot, extras: &OverviewExtras) -> summary::RenderedSummary {
    let reported = reported(snapshot);
    let age = Some(Duration::from_millis(1234));
    let moment =
        StateMoment { snapshot, extras, ttl: TTL, now: moment_of(snapshot), age, reported: &reported };
    let rendered = summary::render_summary(&moment, &StateView::of(&moment), &[]);
    for text in [&rendered.json, &rendered.markdown] {
        let tokens = tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len();
        assert!(text.len() < summary::SUMMARY_MAX_BYTES, "{} bytes", text.len());
        assert!(tokens < summary::SUMMARY_MAX_TOKENS, "{tokens} tokens: {text}");
    }
    rendered
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<String>(),
        "[!-~]{200,400}",
        "[\\p{L}\\p{M}\\p{S}\\p{P}]{100,300}",
        Just("\"\\".repeat(500)),
        Just("|`<[]!*\\".repeat(200)),
        Just("🏴‍☠️🧑🏽‍🚀".repeat(100)),
        Just("𓀀𒀱㌀𪚥".repeat(200)),
        Just("Z̴͎̈́a̷l̶g̵o".repeat(100)),
        Just("\u{202e}\u{1b}[31m\u{0}".repeat(300)),
        "[a-z]{1,12}( [a-z]{1,12}){0,60}",
        "[0-9]{100,200}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_state_makes_the_summary_too_large(
        texts in proptest::collection::vec(hostile(), 16),
        positions in prop_oneof![Just(0_usize), Just(1), Just(7), Just(300)],
        digits in prop_oneof![Just(Decimal::MAX), Just(Decimal::MIN), Just(Decimal::new(-1, 28)), Just(Decimal::ZERO)],
        presence in prop_oneof![Just(Presence::Connected), Just(Presence::Exited), Just(Presence::Slow)],
        warnings in 0_usize..40,
    ) {
        let text = |n: usize| texts[n % texts.len()].clone();
        let mut snapshot = seen_with(|report| {
            report.account.buying_power = Some(digits.into());
            report.account.account_balance = Some(digits.into());
            report.account.cash_balance = Some(digits.into());
            report.performance.daily_pl = Some(digits.into());
            let mut position = report.position_list()[0].clone();
            position.quantity = Some(digits.into());
            position.current_price = Some(digits.into());
            position.unrealized_pl = Some(digits.into());
            let many = (0..positions).map(|n| {
                let mut position = position.clone();
                position.symbol = text(n);
                position
            });
            report.positions = Some(many.collect());
            let error = report.error_list()[0].clone();
            let failures = (0..5).map(|n| SemanticError {
                error_code: text(n),
                message: text(n + 1),
                cause: text(n + 2),
                impact: text(n + 3),
                remediation: text(n + 4),
                ..error.clone()
            });
            report.recent_errors = Some(failures.collect());
            report.error_count_last_hour = Some(100_000);
            let breaker = report.circuit_breaker.as_mut().unwrap();
            breaker.state = BreakerState::Open;
            breaker.reason = Some(text(5));
            report.phase = BotPhase::Degraded;
            report.phase_reason = Some(text(6));
            report.no_entry_reasons = Some((0..10).map(text).collect());
            let session = report.session.as_mut().unwrap();
            session.is_healthy = Some(false);
            session.state = SessionPhase::HaltedCredential;
            session.reason = Some(text(7));
            session.needs_human = Some(text(8));
        });
        snapshot.presence = presence;
        snapshot.presence_reason = text(9);
        let extras = OverviewExtras {
            config_sync: Some(ConfigSync { status: text(10), reason: text(11) }),
            system_health: Some(text(12)),
            system_health_reason: Some(text(1)),
            workflow: Some(RunningWorkflow {
                workflow_id: text(13),
                run_id: text(14),
                state: text(15),
                step: Some(text(0)),
            }),
            warnings: (0..warnings).map(|at| Warning::with_remedy(&text(at), &text(at + 1))).collect(),
            not_green: (0..10).map(|n| broken_component(text(n), text(n + 1))).collect(),
            incidents: (0..10).map(|n| an_incident(text(n), text(n + 2))).collect(),
            ..OverviewExtras::default()
        };
        let summary = render(&snapshot, &extras);
        prop_assert_eq!(&summary["mode"], "paper");
        prop_assert!(summary["position_count"].as_u64() == Some(positions as u64));
        prop_assert!(summary["omitted"].as_array().unwrap().iter().any(|left| left["what"] == "errors"));
    }
}

pub(super) fn broken_component(id: String, reason: String) -> NotGreen {
    let beyond = BeyondLimit {
        metric: "errors_last_hour".to_owned(),
        value: 500.0,
        limit: 10.0,
        unit: "errors".to_owned(),
    };
    NotGreen {
        component_id: id,
        status: "CRITICAL".to_owned(),
        since: DateTime::UNIX_EPOCH,
        reason: Some(reason),
        beyond_limit: Some(beyond),
        alert_id: Some("01a229a4-ddf1-7005-98a1-8da50b78dcd9".to_owned()),
        recovery: Some("exhausted".to_owned()),
    }
}

pub(super) fn an_incident(cause: String, must: String) -> IncidentBrief {
    IncidentBrief {
        incident_id: "inc-1041".to_owned(),
        state: "open",
        began_at: DateTime::UNIX_EPOCH,
        ended_at: None,
        tried: Some(cause.clone()),
        cause,
        who_must_act: "person",
        person_must: Some(must),
    }
}

/// What is not green stands in the summary whole, with its limit, beside the errors and positions of a bad day.
#[test]
fn what_is_not_green_and_the_incidents_of_the_hour_are_named_and_the_rest_is_counted() {
    let snapshot = seen_with(|_| {});
    let extras = OverviewExtras {
        system_health: Some("degraded".to_owned()),
        not_green: (0..5)
            .map(|n| broken_component(format!("part-{n}"), "it answers 500".to_owned()))
            .collect(),
        incidents: (0..4).map(|_| an_incident("the bot is gone".to_owned(), "start it".to_owned())).collect(),
        ..OverviewExtras::default()
    };
    let summary = render(&snapshot, &extras);
    let shown = |what: &str| summary[what].as_array().unwrap().len();
    assert_eq!(summary["not_green"][0]["beyond_limit"]["limit"], 10.0);
    assert_eq!(summary["not_green"][0]["reason"], "it answers 500", "whole: {summary:#}");
    assert!(shown("not_green") >= 2 && shown("incidents") >= 1, "{summary:#}");
    let left = |what: &str| {
        let omitted = summary["omitted"].as_array().unwrap();
        omitted.iter().find(|left| left["what"] == what).map_or(0, |left| left["count"].as_u64().unwrap())
    };
    let counted = |what: &str| shown(what) as u64 + left(what);
    assert_eq!((counted("not_green"), counted("incidents")), (5, 4), "{summary:#}");
    assert_eq!(render(&snapshot, &extras), summary, "one snapshot at one instant is one summary");
}

#[test]
fn ten_thousand_positions_and_a_megabyte_of_text_fit() {
    let snapshot = seen_with(|report| {
        let position = report.position_list()[0].clone();
        report.positions = Some(vec![position; 10_000]);
        report.recent_errors.as_mut().unwrap()[0].message = "\u{202e}x\u{0}é漢".repeat(150_000);
        report.error_count_last_hour = Some(100_000);
    });
    let summary = render(&snapshot, &OverviewExtras::default());
    let omitted = summary["omitted"].as_array().unwrap();
    assert_eq!(omitted[0]["count"], 9_995);
    assert_eq!(omitted[0]["call"]["path"], "/api/v1/state?fields=positions");
    assert!(omitted.iter().any(|left| left["what"] == "errors" && left["count"] == 99_999));
}

#[test]
fn numbers_that_contradict_each_other_are_named_with_both_and_shown_as_they_are() {
    let amount = |text: &str| -> Option<botops_contract::Amount> { text.parse().ok() };
    let snapshot = seen_with(|report| {
        let position = botops_contract::Position {
            quantity: amount("100"),
            entry_price: amount("400"),
            current_price: amount("500"),
            unrealized_pl: amount("10000"),
            ..report.position_list()[0].clone()
        };
        report.positions = Some(vec![position; 20]);
        report.account.account_balance = amount("10000");
        report.account.buying_power = amount("100");
        report.performance.total_unrealized_pl = amount("230");
        report.performance.total_realized_pl = amount("0");
        report.performance.total_pl = amount("7");
        report.performance.win_rate = Some(55.0);
        report.performance.max_drawdown = amount("12.5");
        let order = &mut report.orders.as_mut().unwrap()[0];
        order.side = Some(botops_contract::Side::Buy);
        order.status = Some(botops_contract::OrderStatus::Pending);
        (order.quantity, order.filled_quantity) = (amount("1000"), amount("1001"));
        let mut resting = order.clone();
        (resting.filled_quantity, resting.limit_price) = (amount("0"), amount("140"));
        report.orders.as_mut().unwrap().push(resting);
    });
    let state = state(&snapshot, Some(0));
    for expected in [
        "Contradiction: total_unrealized_pl is 230, its positions add up to 200000.",
        "Contradiction: total_pl is 7, realized and unrealized add up to 230.",
        "Implausible: positions are worth 1000000, 100 times the account of 10000.",
        "Implausible: 20 of 20 positions are above max_position_size_pct",
        "Implausible: open buy orders are worth",
        "Implausible: win_rate is 55; it is a part, 0 to 1.",
        "Implausible: max_drawdown is 12.5; it is at most 0.",
        "Contradiction: an order of 1000 is filled with 1001",
    ] {
        let is_told = state.warnings.iter().any(|warning| warning.starts_with(expected));
        assert!(is_told, "{expected}: {:#?}", state.warnings);
    }
    let performance = state.performance.unwrap();
    assert_eq!((performance.win_rate, performance.max_drawdown), (Some(55.0), amount("12.5")));
}

#[test]
fn numbers_of_a_day_that_is_over_are_told_with_its_date() {
    let day = |change: fn(&mut BotReport)| {
        let snapshot = seen_with(change);
        let (reported, extras) = (reported(&snapshot), OverviewExtras::default());
        let now = example::snapshot().report.unwrap().as_of.unwrap() + chrono::TimeDelta::hours(2);
        let age = Some(Duration::from_secs(7_200));
        let moment =
            StateMoment { snapshot: &snapshot, extras: &extras, ttl: TTL, now, age, reported: &reported };
        let state = StateView::of(&moment);
        let day = state.reported_day.unwrap();
        let is_warned = state.warnings.iter().any(|told| told.contains(&format!("of {}", day.date)));
        assert_eq!(is_warned, day.is_over, "{:?}", state.warnings);
        (day.date.to_string(), day.is_over)
    };
    // 15:30 in UTC, and 17:30 when it is asked for.
    assert_eq!(day(|_| {}), ("2026-11-23".to_owned(), false), "the day of contract 1 is New York's");
    assert_eq!(
        day(|report| report.day.zone = Some("Asia/Dhaka".to_owned())),
        ("2026-11-23".to_owned(), false)
    );
    // Midnight lies between.
    let zone = |report: &mut BotReport| report.day.zone = Some("Asia/Bangkok".to_owned());
    assert_eq!(day(zone), ("2026-11-23".to_owned(), true));
    // The bot's own word for the beginning counts, with its zone or without.
    let began = |report: &mut BotReport| report.day.began_at = "2026-11-22T15:00:00Z".parse().ok();
    assert_eq!(day(began), ("2026-11-23".to_owned(), true));
    let later = |report: &mut BotReport| report.day.began_at = "2026-11-22T17:00:00Z".parse().ok();
    assert_eq!(day(later), ("2026-11-23".to_owned(), false));
    // Time stands still in a replay.
    let replay = |report: &mut BotReport| {
        report.market.source = Some("replay".to_owned());
        report.market.market_time = "2017-11-06T15:00:00Z".parse().ok();
    };
    assert_eq!(day(replay), ("2017-11-06".to_owned(), false));
}

#[test]
fn what_a_bot_said_of_its_own_doing_is_of_the_past_once_it_is_offline() {
    let lost = BotSnapshot { presence: Presence::Exited, ..example::snapshot() };
    let state = state(&lost, Some(90));
    assert_eq!((state.phase, state.trading_enabled, state.market_status), (None, None, None));
    assert_eq!((state.session, state.no_entry_reasons), (None, None));
    let known = state.last_known.unwrap();
    assert_eq!((known.phase, known.trading_enabled), (Some(BotPhase::Running), Some(true)));
    assert_eq!((known.session_state, known.age_seconds), (Some(SessionPhase::Healthy), Some(90.0)));
    let summary = render(&lost, &OverviewExtras::default());
    assert_eq!(
        (&summary["phase"], &summary["session"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert_eq!(summary["last_known"]["phase"], "running");
}

#[test]
fn a_position_past_its_stop_is_told_while_exits_may_be_kept_back() {
    let past = |report: &mut BotReport| {
        let position = &mut report.positions.as_mut().unwrap()[0];
        position.current_price = Some(Decimal::from(580).into());
        position.unrealized_pl = Some(Decimal::new(-72_480, 2).into());
        report.performance.total_unrealized_pl = position.unrealized_pl.clone();
        report.performance.total_realized_pl = None;
    };
    let extras = OverviewExtras::default();
    // It is about to be closed: nothing keeps the order back.
    let free = render(&seen_with(past), &extras);
    assert!(free["at_risk"].get("positions").is_none(), "{free:#}");
    assert_eq!(free["at_risk"]["exposure_of_account_pct"], 23.1, "{free:#}");
    let position = &free["top_positions"][0];
    assert_eq!((&position["share_pct"], &position["share_of_account_pct"]), (&100.0.into(), &23.1.into()));
    assert_eq!(position["stop_price"], "586.16");
    let open = |report: &mut BotReport| {
        past(report);
        let breaker = report.circuit_breaker.as_mut().unwrap();
        (breaker.state, breaker.reason) = (BreakerState::Open, Some("three losses".to_owned()));
    };
    let told = render(&seen_with(open), &extras);
    let risk = &told["at_risk"];
    assert_eq!(
        (&risk["position_count"], &risk["positions"][0]["symbol"]),
        (&1.into(), &"SPY".into()),
        "{told:#}"
    );
    assert_eq!(risk["exits_kept_back_by"][0], "the circuit breaker is open");
    let warning = "Past their stop and still open: SPY (last 580, stop 586.16). Exits may be kept back: the circuit breaker is open.";
    assert!(told["warnings"].as_array().unwrap().iter().any(|one| one == warning), "{told:#}");
    // A short one is past it from above; a bot that is gone closes nothing.
    let short = |report: &mut BotReport| {
        let position = &mut report.positions.as_mut().unwrap()[0];
        position.quantity = Some(Decimal::from(-40).into());
    };
    let mut gone = seen_with(short);
    (gone.presence, gone.presence_reason) = (Presence::Exited, "its process is gone".to_owned());
    let told = render(&gone, &extras);
    assert_eq!(told["at_risk"]["exits_kept_back_by"][0], "the bot does not answer", "{told:#}");
    // Without equity there is no share of it, and the reason says so.
    let poor = render(&seen_with(|report| report.account.account_balance = None), &extras);
    assert_eq!(poor["top_positions"][0]["share_of_account_pct"], serde_json::Value::Null);
    assert!(poor["share_of_account_unknown"].as_str().unwrap().contains("account_balance"), "{poor:#}");
}
