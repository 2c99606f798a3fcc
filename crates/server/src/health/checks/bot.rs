//! The bot and its broker session, from the bot's last report. These checks never send a request to the bot.

use crate::bots::{BotSnapshot, Presence};
use botops_contract::{GateReason, SessionPhase};

use super::sample::{CheckMeasure, CheckOutcome, CheckSample, wide};
use crate::health::model::{HealthLevel, MetricLimits};

/// Seconds after which data is stale (one minute), and after which the bot counts as away (five).
const DATA_AGE: MetricLimits = MetricLimits::above(60.0, 300.0);

/// Seconds beyond its limit after which a loop that stands still is unlikely to continue by itself.
const LOOP_CRITICAL_AFTER: f64 = 60.0;

pub(crate) fn check_bot(seen: &BotSnapshot) -> CheckSample {
    let measures = measures(seen);
    let note = seen.presence_reason.clone();
    let sample = match seen.presence {
        Presence::Connected => CheckSample::ok(Vec::new()),
        Presence::Slow | Presence::Reloading => CheckSample::ok(Vec::new()).says(HealthLevel::Warning, note),
        // The process answers, but in a version that cannot be read, so a person has to update one side.
        Presence::Incompatible => CheckSample::ok(Vec::new()).says(HealthLevel::Critical, note),
        Presence::Hung => CheckSample::failed(CheckOutcome::Timeout, note),
        Presence::Exited => CheckSample::failed(CheckOutcome::Refused, note),
        Presence::Unreachable | Presence::NeverSeen => CheckSample::failed(CheckOutcome::Unreachable, note),
    };
    CheckSample { measures, latency: seen.poll_latency, ..sample }
}

fn measures(seen: &BotSnapshot) -> Vec<CheckMeasure> {
    let mut measures = Vec::new();
    let mut add = |name, value: f64, unit, limits| measures.push(CheckMeasure { name, value, unit, limits });
    if let Some(age) = seen.data_age() {
        add("data_age", age.as_secs_f64(), "s", DATA_AGE);
    }
    if let Some(ticked) = seen.loop_age() {
        let limit = ticked.limit.as_secs_f64();
        let limits = if ticked.declared {
            MetricLimits::above(limit, limit + LOOP_CRITICAL_AFTER)
        } else {
            MetricLimits::NONE
        };
        add("loop_age", ticked.age.as_secs_f64(), "s", limits);
    }
    if let Some(latency) = seen.poll_latency {
        add("poll_latency", latency.as_secs_f64() * 1000.0, "ms", MetricLimits::above(500.0, 2_000.0));
    }
    if let Some(report) = &seen.report {
        // What the bot does not report is no measure.
        let ticking = &report.loop_stats;
        if let Some(errors) = report.error_count_last_hour {
            add("errors_last_hour", f64::from(errors), "errors", MetricLimits::above(20.0, 200.0));
        }
        if let Some(delay) = ticking.tick_delay_p99_ms {
            add("tick_delay_p99", delay, "ms", MetricLimits::above(250.0, 2_000.0));
        }
        if let Some(rejects) = ticking.order_rejects_last_hour {
            add("order_rejects_last_hour", f64::from(rejects), "orders", MetricLimits::above(10.0, 100.0));
        }
        if let Some(ticks) = ticking.ticks {
            add("ticks", wide(ticks), "ticks", MetricLimits::NONE);
        }
    }
    measures
}

pub(crate) fn check_session(seen: &BotSnapshot) -> CheckSample {
    let Some(report) = &seen.report else {
        return CheckSample::failed(CheckOutcome::Internal, "the bot has not reported a session yet");
    };
    if !seen.presence.answers() {
        // The last report of an absent bot is no evidence of its session.
        return CheckSample::failed(CheckOutcome::Internal, "the bot is away, so its session is not known");
    }
    let Some(session) = &report.session else {
        return CheckSample::ok(Vec::new());
    };
    let mut measures = Vec::new();
    let mut add = |name, value: f64, unit, limits| measures.push(CheckMeasure { name, value, unit, limits });
    add("consecutive_failures", f64::from(session.consecutive_failures), "checks", MetricLimits::NONE);
    if let Some(latency) = session.last_latency_ms {
        add("check_latency", latency, "ms", MetricLimits::above(2_000.0, 10_000.0));
    }
    if let Some(skew) = session.clock_skew_seconds {
        add("clock_skew", skew.abs(), "s", MetricLimits { warning: Some(30.0), ..MetricLimits::NONE });
    }
    if let Some(left) = session.reauth_budget_left {
        add("reauth_budget_left", f64::from(left), "attempts", MetricLimits::NONE);
    }
    let reason = session.reason.clone().unwrap_or_else(|| "the bot gave no reason".to_owned());
    let (level, word) = match session.state {
        SessionPhase::Healthy => (HealthLevel::Healthy, "healthy"),
        SessionPhase::Starting => (HealthLevel::Warning, "starting"),
        SessionPhase::Degraded => (HealthLevel::Warning, "degraded"),
        SessionPhase::Reauthenticating => (HealthLevel::Warning, "reauthenticating"),
        SessionPhase::HaltedTransient => (HealthLevel::Critical, "halted after failures"),
        SessionPhase::HaltedCredential => (HealthLevel::Down, "halted: the credentials were refused"),
        SessionPhase::HaltedOperator => (HealthLevel::Warning, "halted by an operator"),
        SessionPhase::Unknown => (HealthLevel::Warning, "in a state this version does not know"),
    };
    let sample = CheckSample::ok(measures);
    match (level, session.gate) {
        (HealthLevel::Healthy, GateReason::MonitorStale) => {
            sample.says(HealthLevel::Critical, "the session monitor of the bot stopped reporting")
        }
        (HealthLevel::Healthy, _) => sample,
        (level, _) => sample.says(level, format!("the session is {word}: {reason}")),
    }
}
