//! Whether the bot can be relied on, and why (not).

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment::StateMoment;
use super::pause_view::PauseView;
use super::wording::without_full_stop;
use crate::bots::{BotSnapshot, LoopAge, OtherProcesses, Presence};
use crate::errors::ReportedError;
use botops_contract::{
    BotPhase, BotReport, Breaker, BreakerState, MarketStatus, Session, SessionPhase, Severity,
};
use botops_core::error::Code;

/// From this many failures within [`RECENT`], their number is a fault of its own.
const MANY_ERRORS: usize = 10;

/// A failure that is older than this is over: it counts in the last hour, and no longer makes the bot degraded.
const RECENT: TimeDelta = TimeDelta::minutes(5);

/// Whether the bot can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BotHealthStatus {
    /// It answers, its data is fresh, and nothing is wrong.
    Healthy,
    /// It answers, is not understood, or is being restarted, and something is wrong or its data is old.
    Degraded,
    /// It cannot be reached, does not come back from a restart, or nothing is known of it yet.
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
    let Some(report) = moment.present_report() else { return decide_without_answer(moment) };
    let faults = collect_faults(moment, report);
    if !faults.is_empty() {
        return (BotHealthStatus::Degraded, faults.join(" "));
    }
    if let Some(trouble) = &moment.extras.bot_trouble {
        // One answer has one verdict: what the health checks found counts, though nothing else shows it.
        return (
            BotHealthStatus::Degraded,
            format!("The bot answers, and its health checks say: {trouble}."),
        );
    }
    let reason = match report.phase {
        BotPhase::Paused => {
            let given = PauseView::of(moment).map(|pause| format!(" {}", pause.sentence()));
            let says = report.phase_reason.as_deref().map(without_full_stop);
            let says = says.map(|why| format!(" The bot says: {why}."));
            format!(
                "The bot answers and is paused: exits only.{}{}",
                given.unwrap_or_default(),
                says.unwrap_or_default()
            )
        }
        BotPhase::Other => format!(
            "The bot answers; its phase is {}.",
            report.phase_raw.as_deref().map_or_else(
                || "not said".to_owned(),
                |word| format!("`{}`, which botops does not know", without_full_stop(word))
            )
        ),
        _ if report.market.status == Some(MarketStatus::Closed) => {
            let opens =
                report.market.next_open.map(|at| format!("; it opens at {}", at.format("%F %H:%M UTC")));
            format!("The bot answers; the market is closed{}.", opens.unwrap_or_default())
        }
        _ => match report.trading_enabled {
            Some(true) => "The bot answers and trades by its rules.".to_owned(),
            Some(false) => "The bot answers, and opens no positions.".to_owned(),
            None => "The bot answers and runs; whether it may open positions it does not say.".to_owned(),
        },
    };
    (BotHealthStatus::Healthy, reason)
}

/// The health of a bot that does not answer, or is not understood: nothing is said of what it does now.
fn decide_without_answer(moment: &StateMoment<'_>) -> (BotHealthStatus, String) {
    let snapshot = moment.snapshot;
    let why = without_full_stop(&snapshot.presence_reason);
    match snapshot.presence {
        // It is there, however long it has not been understood.
        Presence::Incompatible => {
            let known = match (&snapshot.report, moment.age) {
                (None, _) => "Nothing of it was ever understood.".to_owned(),
                (Some(_), Some(age)) => {
                    format!("What was understood last is {} s old.", age.as_secs())
                }
                (Some(_), None) => "How old that is which was understood last is not known.".to_owned(),
            };
            (BotHealthStatus::Degraded, format!("The bot is there, but not understood: {why}. {known}"))
        }
        Presence::Reloading if !moment.is_offline() => {
            let mut faults = vec![format!("The bot is restarting: {why}.")];
            faults.extend(data_age_fault(moment));
            (BotHealthStatus::Degraded, faults.join(" "))
        }
        Presence::Reloading => {
            let silence = match snapshot.answer_age() {
                Some(age) => format!("it has not answered for {} s", age.as_secs()),
                None => "it was not heard of yet".to_owned(),
            };
            (BotHealthStatus::Offline, format!("The bot is restarting, and {silence}: {why}."))
        }
        presence if presence.is_offline() => {
            (BotHealthStatus::Offline, format!("The bot is {}: {why}.", in_words(presence)))
        }
        _ => (BotHealthStatus::Offline, format!("Nothing is known of the bot yet: {why}.")),
    }
}

/// The fault of data that is old, or of which the age is not known.
fn data_age_fault(moment: &StateMoment<'_>) -> Option<String> {
    let report = moment.snapshot.report.as_deref()?;
    if report.as_of.is_none() {
        return Some("How old its data is is not known: the bot does not say when it knew it.".to_owned());
    }
    moment.is_stale().then(|| {
        format!(
            "Its data is stale: {} s old, {} s is the limit.",
            moment.age.map_or(0, |age| age.as_secs()),
            moment.ttl.as_secs()
        )
    })
}

/// Everything that makes a reachable bot degraded, one sentence each, worst first.
fn collect_faults(moment: &StateMoment<'_>, report: &BotReport) -> Vec<String> {
    let mut faults = Vec::new();
    faults.extend(moment.snapshot.other_processes.as_deref().map(OtherProcesses::sentence));
    faults.extend(lost_pause_fault(moment.snapshot, report));
    let contradictions = moment.snapshot.contradictions.iter();
    faults.extend(contradictions.filter(|one| one.kind.is_fault()).map(|one| one.sentence.clone()));
    if let Some(fault) = report.circuit_breaker.as_ref().and_then(breaker_fault) {
        faults.push(fault);
    }
    if let Some(fault) = report.session.as_ref().and_then(session_fault) {
        faults.push(fault);
    }
    faults.extend(unreadable_fault(moment.snapshot));
    let why = report.phase_reason.as_deref().map_or("it gives no reason", without_full_stop);
    match report.phase {
        BotPhase::Degraded => faults.push(format!("The bot runs degraded: {why}.")),
        BotPhase::Starting => faults.push(format!("The bot is starting: {why}.")),
        BotPhase::Stopping => faults.push(format!("The bot is stopping: {why}.")),
        BotPhase::Stopped => {
            faults.push(format!("The bot is stopped and manages nothing, open positions included: {why}."));
        }
        // A word that is not known says nothing about a fault; it is shown as it came.
        BotPhase::Running | BotPhase::Paused | BotPhase::Other => {}
    }
    faults.extend(loop_fault(moment.snapshot));
    faults.extend(data_age_fault(moment));
    if moment.snapshot.presence == Presence::Slow {
        faults.push(format!("The bot is slow: {}.", without_full_stop(&moment.snapshot.presence_reason)));
    }
    faults.extend(error_fault(moment));
    faults
}

/// The fault of a bot that may open positions although somebody paused it, since it did not keep that over a start.
pub(super) fn lost_pause_fault(snapshot: &BotSnapshot, report: &BotReport) -> Option<String> {
    let pause = snapshot.operator.lost_pause.as_ref().filter(|_| report.trading_enabled == Some(true))?;
    let (verb, actor, given) = (pause.verb, &pause.actor, pause.given_at.format("%F %H:%MZ"));
    Some(format!("NOT PAUSED: the bot lost the {verb} of {actor} ({given}) {}.", pause.lost_when()))
}

/// A session or a breaker that cannot be read is not one that is in order.
fn unreadable_fault(snapshot: &BotSnapshot) -> Option<String> {
    let is_of = |place: &str| snapshot.is_unreadable(place);
    let what = match (is_of("/session"), is_of("/circuit_breaker")) {
        (true, true) => "its broker session and its circuit breaker",
        (true, false) => "its broker session",
        (false, true) => "its circuit breaker",
        (false, false) => return None,
    };
    Some(format!("What the bot says of {what} cannot be read."))
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
        // A breaker of which the bot says nothing is no fault.
        BreakerState::Other => breaker.state_raw.as_deref()?,
    };
    let why = breaker.reason.as_deref().map_or("the bot gives no reason", without_full_stop);
    Some(format!("The circuit breaker is {state}: {why}."))
}

pub(super) fn session_fault(session: &Session) -> Option<String> {
    // A session of which the bot says nothing is no fault.
    if session.is_healthy.unwrap_or(session.state_raw.is_none()) {
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

/// The fault of failures that are not over yet: many of them within five minutes, or a critical one.
///
/// A failure that the bot gives no time for counts from when botops first saw it. One of a broker session that became
/// healthy afterwards is over.
pub(super) fn error_fault(moment: &StateMoment<'_>) -> Option<String> {
    let report = moment.snapshot.report.as_deref()?;
    let as_of = report.as_of.unwrap_or(moment.now);
    let mended_at = session_mended_at(report);
    let is_recent = |one: &&ReportedError<'_>| match one.error.timestamp {
        Some(at) if is_of_session(&one.error.error_code) && mended_at.is_some_and(|mended| mended >= at) => {
            false
        }
        Some(at) => as_of - at <= RECENT,
        None => one.first_seen_at.is_some_and(|at| moment.now - at <= RECENT),
    };
    let recent = moment.reported.iter().filter(is_recent);
    let count = recent.clone().count();
    let undated = recent.clone().filter(|one| one.error.timestamp.is_none()).count();
    let critical = recent.filter(|one| one.error.severity == Severity::Critical).count();
    let minutes = RECENT.num_minutes();
    let taken = if undated > 0 {
        format!(" ({undated} without a time, taken as of when botops first saw them)")
    } else {
        String::new()
    };
    if critical > 0 {
        return Some(format!(
            "{count} errors in the last {minutes} minutes, {critical} of them critical{taken}."
        ));
    }
    (count >= MANY_ERRORS)
        .then(|| format!("High error rate: {count} errors in the last {minutes} minutes{taken}."))
}

/// Since when the broker session is healthy and the breaker lets orders pass; `None` while one of them does not.
fn session_mended_at(report: &BotReport) -> Option<DateTime<Utc>> {
    let session = report.session.as_ref().filter(|session| session.is_healthy == Some(true))?;
    report
        .circuit_breaker
        .as_ref()
        .is_none_or(|breaker| breaker.state == BreakerState::Closed)
        .then_some(())?;
    session.since
}

/// Whether a failure is one of the broker session, and not of an order.
fn is_of_session(error_code: &str) -> bool {
    let of_orders = [Code::BrokerOrderRefused, Code::BrokerOrderUnknown];
    error_code.starts_with("BRK_") && of_orders.iter().all(|code| code.row().code != error_code)
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
