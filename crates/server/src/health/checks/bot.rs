//! The bot and its broker session, from the bot's last report. These checks never send a request to the bot.

use crate::bots::{BotSnapshot, Presence};
use botops_contract::{GateReason, Session, SessionPhase};

use super::metric_limits::{
    BOT_DATA_AGE, BOT_ERRORS, BOT_LOOP_AGE, BOT_ORDER_REJECTS, BOT_POLL_LATENCY, BOT_TICK_DELAY,
    CheckMeasure, SESSION_CLOCK_SKEW, SESSION_LATENCY,
};
use super::sample::{CheckOutcome, CheckSample, wide};
use crate::health::limit_rules::LimitRuleView;
use crate::health::model::{HealthLevel, MetricLimits};

/// Seconds beyond its limit after which a loop that stands still is unlikely to continue by itself.
const LOOP_CRITICAL_AFTER: u32 = 60;

/// The limits of this file.
pub(crate) fn bot_rules() -> Vec<LimitRuleView> {
    let decides = "beyond its limit, a loop that stands still is CRITICAL";
    vec![LimitRuleView::fixed("loop_critical_after", LOOP_CRITICAL_AFTER, "s", decides)]
}

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
    if let Some(age) = seen.data_age() {
        measures.push(BOT_DATA_AGE.measure(age.as_secs_f64()));
    }
    if let Some(latency) = seen.poll_latency {
        measures.push(BOT_POLL_LATENCY.measure(latency.as_secs_f64() * 1000.0));
    }
    // What a bot that does not answer, or is not understood, said before is no evidence of what it does now.
    if !seen.presence.answers() {
        return measures;
    }
    if let Some(ticked) = seen.loop_age() {
        let limit = ticked.limit.as_secs_f64();
        let limits = if ticked.declared {
            MetricLimits::above(limit, limit + f64::from(LOOP_CRITICAL_AFTER))
        } else {
            MetricLimits::NONE
        };
        measures.push(BOT_LOOP_AGE.measure_within(ticked.age.as_secs_f64(), limits));
    }
    if let Some(report) = &seen.report {
        // What the bot does not report is no measure.
        let ticking = &report.loop_stats;
        measures.extend(report.error_count_last_hour.map(|errors| BOT_ERRORS.measure(f64::from(errors))));
        measures.extend(ticking.tick_delay_p99_ms.map(|delay| BOT_TICK_DELAY.measure(delay)));
        let rejects = ticking.order_rejects_last_hour;
        measures.extend(rejects.map(|rejects| BOT_ORDER_REJECTS.measure(f64::from(rejects))));
        measures
            .extend(ticking.ticks.map(|ticks| CheckMeasure::without_limits("ticks", wide(ticks), "ticks")));
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
        let what = if seen.is_unreadable("/session") {
            "what the bot says of its session cannot be read"
        } else {
            "the bot reports no session"
        };
        return CheckSample::failed(CheckOutcome::Internal, what);
    };
    let failures = session.consecutive_failures.map(f64::from);
    let failures =
        failures.map(|count| CheckMeasure::without_limits("consecutive_failures", count, "checks"));
    let mut measures: Vec<CheckMeasure> = failures.into_iter().collect();
    measures.extend(session.last_latency_ms.map(|latency| SESSION_LATENCY.measure(latency)));
    measures.extend(session.clock_skew_seconds.map(|skew| SESSION_CLOCK_SKEW.measure(skew.abs())));
    if let Some(left) = session.reauth_budget_left {
        measures.push(CheckMeasure::without_limits("reauth_budget_left", f64::from(left), "attempts"));
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
    if session.state == SessionPhase::Unknown && session.state_raw.is_none() {
        // The bot gives no state: what it says of the session's health counts, and nothing more is known.
        return match session.is_healthy {
            Some(true) => sample,
            Some(false) => sample.says(HealthLevel::Warning, format!("the session is not healthy: {reason}")),
            None => CheckSample::failed(CheckOutcome::Internal, "the bot does not say how its session is"),
        };
    }
    match (level, session.gate) {
        (HealthLevel::Healthy, Some(GateReason::MonitorStale)) => {
            sample.says(HealthLevel::Critical, "the session monitor of the bot stopped reporting")
        }
        (HealthLevel::Healthy, gate) => match person_needed(session, gate) {
            Some(must) => sample.says(HealthLevel::Critical, format!("{reason}: {must}")),
            None => sample,
        },
        (level, _) => sample.says(level, format!("the session is {word}: {reason}")),
    }
}

/// What a person must do about a session that works and lets nothing new pass; `None` while nobody must.
fn person_needed(session: &Session, gate: Option<GateReason>) -> Option<String> {
    match (session.needs_human.as_deref(), gate) {
        (Some("clear_restriction"), _) | (None, Some(GateReason::AccountRestricted)) => {
            Some("a person must clear the restriction with the broker".to_owned())
        }
        (Some(needs), _) => Some(format!("a person must act ({needs})")),
        (None, _) => None,
    }
}
