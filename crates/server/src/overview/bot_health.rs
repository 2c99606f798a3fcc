//! Whether the bot can be relied on, and why (not).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment::StateMoment;
use super::wording::without_full_stop;
use crate::bots::{BotSnapshot, LoopAge, Presence};
use botops_contract::{
    BotPhase, BotReport, Breaker, BreakerState, MarketStatus, Session, SessionPhase, Severity,
};

/// From this many failures in an hour, their number is a fault of its own.
const MANY_ERRORS: u32 = 10;

/// Whether the bot can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BotHealthStatus {
    /// It answers, its data is fresh, and nothing is wrong.
    Healthy,
    /// It answers or did so lately, but something is wrong or its data is old.
    Degraded,
    /// It cannot be reached, or nothing is known of it yet.
    Offline,
}

impl BotHealthStatus {
    /// The name in the API and in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Offline => "offline",
        }
    }
}

/// Healthy, degraded or offline, with the reason as whole sentences.
pub(super) fn decide_health(moment: &StateMoment<'_>) -> (BotHealthStatus, String) {
    let snapshot = moment.snapshot;
    if snapshot.presence.is_offline() {
        return (
            BotHealthStatus::Offline,
            format!(
                "The bot is {}: {}.",
                in_words(snapshot.presence),
                without_full_stop(&snapshot.presence_reason)
            ),
        );
    }
    let Some(report) = snapshot.report.as_deref() else {
        return (
            BotHealthStatus::Offline,
            format!("Nothing is known of the bot yet: {}.", without_full_stop(&snapshot.presence_reason)),
        );
    };
    // A bot that answers is there, however old its data is.
    if moment.is_very_old() && !snapshot.presence.answers() {
        let age = moment.age.map_or(0, |age| age.as_secs());
        return (BotHealthStatus::Offline, format!("The bot has not been heard of for {age} s."));
    }
    let faults = collect_faults(moment, report);
    if !faults.is_empty() {
        return (BotHealthStatus::Degraded, faults.join(" "));
    }
    let reason = match report.phase {
        BotPhase::Paused => format!(
            "The bot answers and is paused: exits only{}.",
            report
                .phase_reason
                .as_deref()
                .map(|why| format!(" ({})", without_full_stop(why)))
                .unwrap_or_default()
        ),
        _ if report.market.status == MarketStatus::Closed => {
            let opens =
                report.market.next_open.map(|at| format!("; it opens at {}", at.format("%F %H:%M UTC")));
            format!("The bot answers; the market is closed{}.", opens.unwrap_or_default())
        }
        _ => "The bot answers and trades by its rules.".to_owned(),
    };
    (BotHealthStatus::Healthy, reason)
}

/// Everything that makes a reachable bot degraded, one sentence each, worst first.
fn collect_faults(moment: &StateMoment<'_>, report: &BotReport) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(fault) = breaker_fault(&report.circuit_breaker) {
        faults.push(fault);
    }
    if let Some(fault) = report.session.as_ref().and_then(session_fault) {
        faults.push(fault);
    }
    let why = report.phase_reason.as_deref().map_or("it gives no reason", without_full_stop);
    match report.phase {
        BotPhase::Degraded => faults.push(format!("The bot runs degraded: {why}.")),
        BotPhase::Starting => faults.push(format!("The bot is starting: {why}.")),
        BotPhase::Stopping => faults.push(format!("The bot is stopping: {why}.")),
        BotPhase::Running | BotPhase::Paused => {}
    }
    faults.extend(loop_fault(moment.snapshot));
    if moment.is_stale() {
        faults.push(format!(
            "Its data is stale: {} s old, {} s is the limit.",
            moment.age.map_or(0, |age| age.as_secs()),
            moment.ttl.as_secs()
        ));
    }
    match moment.snapshot.presence {
        Presence::Slow => {
            faults.push(format!("The bot is slow: {}.", without_full_stop(&moment.snapshot.presence_reason)));
        }
        Presence::Reloading => {
            faults.push(format!(
                "The bot is restarting: {}.",
                without_full_stop(&moment.snapshot.presence_reason)
            ));
        }
        Presence::Incompatible => {
            faults.push(format!(
                "The bot is not understood: {}.",
                without_full_stop(&moment.snapshot.presence_reason)
            ));
        }
        Presence::Connected
        | Presence::Hung
        | Presence::Exited
        | Presence::Unreachable
        | Presence::NeverSeen => {}
    }
    if let Some(fault) = error_fault(report) {
        faults.push(fault);
    }
    faults
}

/// The fault of a trading loop that stands still. The bot may answer nevertheless, and then nothing else shows it.
pub(super) fn loop_fault(snapshot: &BotSnapshot) -> Option<String> {
    let ticked = snapshot.loop_age().filter(LoopAge::stands_still)?;
    let whose = if ticked.declared { "by the interval that the bot declares" } else { "for any bot" };
    Some(format!(
        "The bot's trading loop stands still: its last tick was {} s ago, {} s is the limit {whose}.",
        ticked.age.as_secs(),
        ticked.limit.as_secs()
    ))
}

pub(super) fn breaker_fault(breaker: &Breaker) -> Option<String> {
    let state = match breaker.state {
        BreakerState::Closed => return None,
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half open, one probe decides",
    };
    let why = breaker.reason.as_deref().map_or("the bot gives no reason", without_full_stop);
    Some(format!("The circuit breaker is {state}: {why}."))
}

pub(super) fn session_fault(session: &Session) -> Option<String> {
    if session.is_healthy {
        return None;
    }
    let state = match session.state {
        SessionPhase::Starting => "starting",
        SessionPhase::Healthy => "not usable",
        SessionPhase::Degraded => "degraded",
        SessionPhase::Reauthenticating => "signing in again",
        SessionPhase::HaltedTransient => "halted after failures",
        SessionPhase::HaltedCredential => "halted: it needs a person",
        SessionPhase::HaltedOperator => "halted by an operator",
        SessionPhase::Unknown => "in an unknown state",
    };
    let why = session.reason.as_deref().map_or("the bot gives no reason", without_full_stop);
    Some(format!("The broker session is {state}: {why}."))
}

pub(super) fn error_fault(report: &BotReport) -> Option<String> {
    let critical = report.worst_error_last_hour == Some(Severity::Critical);
    let count = report.error_count_last_hour;
    (critical || count >= MANY_ERRORS).then(|| {
        let worst = if critical { ", at least one of them critical" } else { "" };
        format!("High error rate: {count} errors in the last hour{worst}.")
    })
}

fn in_words(presence: Presence) -> &'static str {
    match presence {
        Presence::Hung => "hung",
        Presence::Exited => "not running",
        Presence::Unreachable => "not reachable",
        Presence::Incompatible => "not understood",
        Presence::NeverSeen => "not there and never was",
        Presence::Connected => "connected",
        Presence::Slow => "slow",
        Presence::Reloading => "restarting",
    }
}
