//! Whether the bot manages what it holds and may open more, from its last report.
//!
//! A bot that answers can be paused, stopped or locked, and nobody notices for hours: its process is healthy. This
//! check sends it no request.

use botops_contract::{BotPhase, BotReport, Breaker, BreakerState};

use super::sample::{CheckOutcome, CheckSample};
use crate::bots::BotSnapshot;
use crate::health::model::HealthLevel;

/// The `source` of a breaker that the session opened: the session's own component tells that while the session is ill.
const OPENED_BY_SESSION: &str = "session";

pub(crate) fn check_trading(seen: &BotSnapshot) -> CheckSample {
    let Some(report) = seen.report.as_ref().filter(|_| seen.presence.answers()) else {
        // The last report of an absent bot is no evidence of what it does now.
        return CheckSample::failed(CheckOutcome::Internal, "the bot is away, so what it does is not known");
    };
    let sample = CheckSample::ok(Vec::new());
    let others = seen.other_processes.as_deref();
    let others =
        others.map(|others| (HealthLevel::Critical, format!("{} {}", others.sentence(), others.remedy())));
    let trouble = others.or_else(|| lost_pause(seen, report)).or_else(|| denied_pause(seen));
    let trouble = trouble.or_else(|| phase_trouble(report, seen.position_count()));
    match trouble.or_else(|| breaker_trouble(report)) {
        Some((level, note)) => sample.says(level, note),
        None => sample,
    }
}

/// Whoever paused it takes it for paused, and a person has to know before it opens something.
fn lost_pause(seen: &BotSnapshot, report: &BotReport) -> Option<(HealthLevel, String)> {
    let pause = seen.operator.lost_pause.as_ref().filter(|_| report.trading_enabled == Some(true))?;
    let (verb, actor, given) = (pause.verb, &pause.actor, pause.given_at.format("%F %H:%M UTC"));
    let note = format!(
        "the bot is not paused: it lost the {verb} of {actor} of {given} {}; give it again, or resume",
        pause.lost_when()
    );
    Some((HealthLevel::Critical, note))
}

/// The same of one that said it paused, and goes on.
fn denied_pause(seen: &BotSnapshot) -> Option<(HealthLevel, String)> {
    let contradiction = seen.denied_pause()?;
    let sentence = contradiction.sentence.trim_start_matches("NOT PAUSED: ").trim_end_matches('.');
    let note = format!("the bot is not paused: {sentence}; give it again, or resume");
    Some((HealthLevel::Critical, note))
}

/// `open` counts what could not be read, too.
fn phase_trouble(report: &BotReport, open: Option<usize>) -> Option<(HealthLevel, String)> {
    let (level, note) = match (report.phase, open) {
        (BotPhase::Stopped, Some(0)) => {
            (HealthLevel::Warning, "the bot is stopped; it holds no position".to_owned())
        }
        (BotPhase::Stopped, Some(open)) => {
            let held =
                if open == 1 { "its open position".to_owned() } else { format!("its {open} open positions") };
            (
                HealthLevel::Critical,
                format!(
                    "the bot is stopped: nobody manages {held}, stop losses included; start it, or close them at the broker"
                ),
            )
        }
        (BotPhase::Stopped, None) => {
            let note = "the bot is stopped: positions that it may hold are managed by nobody; start it, or close them at the broker".to_owned();
            (HealthLevel::Critical, note)
        }
        (BotPhase::Paused, _) => {
            (HealthLevel::Warning, "the bot is paused: it closes positions and opens none".to_owned())
        }
        (BotPhase::Starting | BotPhase::Stopping, _) => {
            (HealthLevel::Warning, format!("the bot is {}", report.phase))
        }
        // Why it is degraded is a matter of the session, the breaker or the loop, which are told by themselves.
        (BotPhase::Running | BotPhase::Degraded | BotPhase::Other, _) => return None,
    };
    Some((level, note))
}

fn breaker_trouble(report: &BotReport) -> Option<(HealthLevel, String)> {
    let session_is_ill = report.session.as_ref().is_some_and(|session| session.known_health() == Some(false));
    let is_told = |breaker: &&Breaker| session_is_ill && breaker.source.as_deref() == Some(OPENED_BY_SESSION);
    let breaker = report.circuit_breaker.as_ref().filter(|breaker| !is_told(breaker))?;
    let state = match breaker.state {
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half open",
        BreakerState::Closed | BreakerState::Other => return None,
    };
    let until = match (breaker.resumes_at, breaker.needs_human.as_deref()) {
        (Some(at), _) => format!(" until {}", at.format("%F %H:%M UTC")),
        (None, Some("resume")) => " until somebody resumes".to_owned(),
        (None, _) => String::new(),
    };
    let stops = breaker.stops.as_deref().unwrap_or("orders that add exposure are refused");
    let note = format!("the circuit breaker is {state}{until}: {stops}");
    Some((HealthLevel::Warning, note))
}
