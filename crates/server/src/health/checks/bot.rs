//! The bot and its broker session, from the last that is known of them. Never asks the bot.

use super::{Measure, Outcome, Sample, wide};
use crate::bots::{BotSnapshot, Presence};
use crate::health::status::{Level, Limits};
use botops_contract::{GateReason, SessionPhase};

/// Data older than a minute is stale; older than five, the bot counts as away.
const DATA_AGE: Limits = Limits::above(60.0, 300.0);

/// A loop that has stood still for this much longer than its limit will hardly go on by itself.
const LOOP_CRITICAL_AFTER: f64 = 60.0;

pub(super) fn check(seen: &BotSnapshot) -> Sample {
    let measures = measures(seen);
    let note = seen.presence_reason.clone();
    let sample = match seen.presence {
        Presence::Connected => Sample::ok(Vec::new()),
        Presence::Slow | Presence::Reloading => Sample::ok(Vec::new()).says(Level::Warning, note),
        // It is there, but nothing of it can be known until somebody looks.
        Presence::Incompatible => Sample::ok(Vec::new()).says(Level::Critical, note),
        Presence::Hung => Sample::failed(Outcome::Timeout, note),
        Presence::Exited => Sample::failed(Outcome::Refused, note),
        Presence::Unreachable | Presence::NeverSeen => Sample::failed(Outcome::Unreachable, note),
    };
    Sample { measures, latency: seen.poll_latency, ..sample }
}

fn measures(seen: &BotSnapshot) -> Vec<Measure> {
    let mut measures = Vec::new();
    let mut add = |name, value: f64, unit, limits| measures.push(Measure { name, value, unit, limits });
    if let Some(age) = seen.data_age() {
        add("data_age", age.as_secs_f64(), "s", DATA_AGE);
    }
    if let Some(ticked) = seen.loop_age() {
        let limit = ticked.limit.as_secs_f64();
        let limits =
            if ticked.declared { Limits::above(limit, limit + LOOP_CRITICAL_AFTER) } else { Limits::NONE };
        add("loop_age", ticked.age.as_secs_f64(), "s", limits);
    }
    if let Some(latency) = seen.poll_latency {
        add("poll_latency", latency.as_secs_f64() * 1000.0, "ms", Limits::above(500.0, 2_000.0));
    }
    if let Some(report) = &seen.report {
        add(
            "errors_last_hour",
            f64::from(report.error_count_last_hour),
            "errors",
            Limits::above(20.0, 200.0),
        );
        add("tick_delay_p99", report.loop_stats.tick_delay_p99_ms, "ms", Limits::above(250.0, 2_000.0));
        add(
            "order_rejects_last_hour",
            f64::from(report.loop_stats.order_rejects_last_hour),
            "orders",
            Limits::above(10.0, 100.0),
        );
        add("ticks", wide(report.loop_stats.ticks), "ticks", Limits::NONE);
    }
    measures
}

pub(super) fn check_session(seen: &BotSnapshot) -> Sample {
    let Some(report) = &seen.report else {
        return Sample::failed(Outcome::Internal, "the bot has not reported a session yet");
    };
    if !seen.presence.answers() {
        // What an absent bot said last is no evidence of its session.
        return Sample::failed(Outcome::Internal, "the bot is away, so its session is not known");
    }
    let Some(session) = &report.session else {
        return Sample::ok(Vec::new());
    };
    let mut measures = Vec::new();
    let mut add = |name, value: f64, unit, limits| measures.push(Measure { name, value, unit, limits });
    add("consecutive_failures", f64::from(session.consecutive_failures), "checks", Limits::NONE);
    if let Some(latency) = session.last_latency_ms {
        add("check_latency", latency, "ms", Limits::above(2_000.0, 10_000.0));
    }
    if let Some(skew) = session.clock_skew_seconds {
        add("clock_skew", skew.abs(), "s", Limits { warning: Some(30.0), ..Limits::NONE });
    }
    if let Some(left) = session.reauth_budget_left {
        add("reauth_budget_left", f64::from(left), "attempts", Limits::NONE);
    }
    let reason = session.reason.clone().unwrap_or_else(|| "the bot gave no reason".to_owned());
    let (level, word) = match session.state {
        SessionPhase::Healthy => (Level::Healthy, "healthy"),
        SessionPhase::Starting => (Level::Warning, "starting"),
        SessionPhase::Degraded => (Level::Warning, "degraded"),
        SessionPhase::Reauthenticating => (Level::Warning, "reauthenticating"),
        SessionPhase::HaltedTransient => (Level::Critical, "halted after failures"),
        SessionPhase::HaltedCredential => (Level::Down, "halted: the credentials were refused"),
        SessionPhase::HaltedOperator => (Level::Warning, "halted by an operator"),
        SessionPhase::Unknown => (Level::Warning, "in a state this version does not know"),
    };
    let sample = Sample::ok(measures);
    match (level, session.gate) {
        (Level::Healthy, GateReason::MonitorStale) => {
            sample.says(Level::Critical, "the session monitor of the bot stopped reporting")
        }
        (Level::Healthy, _) => sample,
        (level, _) => sample.says(level, format!("the session is {word}: {reason}")),
    }
}
