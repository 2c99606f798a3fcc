//! The remedies for an open circuit breaker and for an unusable broker session.

use chrono::{DateTime, SecondsFormat, Utc};

use super::tokens;
use super::wording::without_full_stop;
use botops_contract::{Breaker, BreakerState, GateReason, Hello, Session, SessionPhase, Verb};
use botops_core::error::Code;

/// The name of the breaker's state.
pub(super) fn breaker_state(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half_open",
        BreakerState::Other => "other",
    }
}

/// The code that explains the breaker: that of the session, or that of the risk limits. `None` where another thing than
/// those codes speak of holds the bot back: what their remedies name does not exist there.
pub(super) fn breaker_code(breaker: &Breaker, hello: Option<&Hello>) -> Option<&'static str> {
    match (breaker.state, breaker.source.as_deref()) {
        (BreakerState::Closed, _) => None,
        (_, Some("operator" | "daily_loss" | "max_drawdown" | "consecutive_losses")) if !may_reset(hello) => {
            None
        }
        (_, Some("session" | "operator")) => Some(Code::BrokerBreakerOpen.row().code),
        (_, Some("daily_loss" | "max_drawdown" | "consecutive_losses")) => {
            Some(Code::BotLimitCrossed.row().code)
        }
        _ => None,
    }
}

/// Whether the bot takes `reset-breaker`; also of one that never said who it is.
fn may_reset(hello: Option<&Hello>) -> bool {
    hello.is_none_or(|hello| hello.offers(Verb::ResetBreaker.as_str()))
}

/// The remedy for a breaker that is not closed. Where the session opened it, that is the session's remedy.
pub(super) fn breaker_remediation(
    breaker: &Breaker,
    session: Option<&Session>,
    hello: Option<&Hello>,
) -> Option<String> {
    let ends = breaker.resumes_at.or(breaker.retry_at);
    let text = match (breaker.state, breaker.source.as_deref()) {
        (BreakerState::Closed, _) => return None,
        (BreakerState::HalfOpen, _) => "Wait: the next probe decides.",
        (BreakerState::Other, _) => "Read what the bot says of it; a person decides whether it should trade.",
        (BreakerState::Open, Some("session")) => {
            let remedy = session.and_then(|session| session_remediation(session, Some(breaker)));
            return remedy.or_else(|| Some(wait_or_reset(Some(breaker))));
        }
        (BreakerState::Open, Some("operator")) if may_reset(hello) => {
            "An operator opened it. Ask before POST /api/v1/control/reset-breaker."
        }
        (BreakerState::Open, Some("operator"))
            if hello.is_some_and(|hello| hello.offers(Verb::Resume.as_str())) =>
        {
            return Some(match ends {
                Some(at) => format!(
                    "An operator paused it until {}. Ask before it is ended sooner: POST /api/v1/control/resume.",
                    instant(at)
                ),
                None => {
                    "An operator paused it until somebody resumes. Ask, then POST /api/v1/control/resume."
                        .to_owned()
                }
            });
        }
        (BreakerState::Open, Some("daily_loss" | "max_drawdown" | "consecutive_losses")) => {
            if may_reset(hello) {
                "A loss limit stopped new positions. Review positions and errors, then POST /api/v1/control/reset-breaker."
            } else {
                return Some(format!(
                    "A loss limit of the bot stopped new positions. Review positions and errors.{}",
                    end_by_itself(ends)
                ));
            }
        }
        (BreakerState::Open, _) => {
            return Some(format!(
                "Ask whoever set it before it is lifted: `reason` is all that the bot says of it.{}",
                end_by_itself(ends)
            ));
        }
    };
    Some(text.to_owned())
}

fn end_by_itself(ends: Option<DateTime<Utc>>) -> String {
    ends.map(|at| format!(" It ends by itself at {}.", instant(at))).unwrap_or_default()
}

/// An open breaker that the bot tries to close by itself needs patience; any other needs a person.
fn wait_or_reset(breaker: Option<&Breaker>) -> String {
    if let Some(needs) = breaker.and_then(|breaker| breaker.needs_human.as_deref()) {
        return person_remedy(needs, true);
    }
    match breaker.and_then(|breaker| breaker.resumes_at.or(breaker.retry_at)) {
        Some(at) => format!(
            "Wait: the bot probes by itself at {}. To try at once: POST /api/v1/control/reset-breaker.",
            instant(at)
        ),
        None => "When the broker answers again: POST /api/v1/control/reset-breaker.".to_owned(),
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What a person must do, by the bot's word for it. `is_over` says that the bot waits no longer for an approval.
fn person_remedy(needs: &str, is_over: bool) -> String {
    let text = match needs {
        "approve_device" if is_over => {
            "A person must be ready to approve in the broker's app, then POST /api/v1/control/reauth."
        }
        "approve_device" => "A person must approve the sign-in in the broker's app.",
        "enter_code" if is_over => {
            "A person must be ready to get a code from the broker: POST /api/v1/control/reauth asks for one, and with \
             args.code sends it."
        }
        "enter_code" => "A person gets a code from the broker: POST /api/v1/control/reauth with args.code.",
        "renew_credentials" => "A person must renew the bot's credentials, then POST /api/v1/control/reauth.",
        "repair_token_store" => {
            "A person must make the token file writable before any restart, then POST /api/v1/control/reauth."
        }
        "reset_breaker" => {
            "Waiting does not close it: when its cause is gone, a person must POST /api/v1/control/reset-breaker."
        }
        "resume" => "It is paused until somebody resumes: POST /api/v1/control/resume.",
        "clear_restriction" => {
            "A person must clear the restriction with the broker; the next check notices it."
        }
        other => {
            let other = tokens::clip(other, 12);
            return format!("A person must act at the broker: {}.", without_full_stop(&other));
        }
    };
    text.to_owned()
}

pub(super) fn session_state(state: SessionPhase) -> &'static str {
    match state {
        SessionPhase::Starting => "starting",
        SessionPhase::Healthy => "healthy",
        SessionPhase::Degraded => "degraded",
        SessionPhase::Reauthenticating => "reauthenticating",
        SessionPhase::HaltedTransient => "halted_transient",
        SessionPhase::HaltedCredential => "halted_credential",
        SessionPhase::HaltedOperator => "halted_operator",
        SessionPhase::Unknown => "unknown",
    }
}

pub(super) fn session_remediation(session: &Session, breaker: Option<&Breaker>) -> Option<String> {
    let needs = session.needs_human.as_deref();
    // Who halted it knows why; that is asked before any reset.
    if let Some(needs) = needs.filter(|_| session.state != SessionPhase::HaltedOperator) {
        return Some(person_remedy(needs, session.state == SessionPhase::HaltedCredential));
    }
    let text = match (session.state, session.gate) {
        (SessionPhase::Healthy, Some(GateReason::AccountRestricted)) => {
            "A person must clear the restriction with the broker; the next check notices it."
        }
        (SessionPhase::Healthy, _) => return None,
        (SessionPhase::Starting | SessionPhase::Reauthenticating, _) => "Wait: the bot signs in by itself.",
        (SessionPhase::Degraded, Some(GateReason::RateLimited)) => {
            let Some(at) = session.resumes_at else {
                return Some("Wait, as the broker asked; the bot goes on by itself.".to_owned());
            };
            return Some(format!(
                "Wait until {}, as the broker asked; the bot goes on by itself.",
                instant(at)
            ));
        }
        (SessionPhase::Degraded | SessionPhase::Unknown, _) => {
            "Wait for the next check, or POST /api/v1/control/probe-session."
        }
        (SessionPhase::HaltedTransient, _) => return Some(wait_or_reset(breaker)),
        (SessionPhase::HaltedCredential, _) => {
            "A person must renew the bot's credentials, then POST /api/v1/control/reauth."
        }
        (SessionPhase::HaltedOperator, _) => {
            "Ask the operator who halted it; then POST /api/v1/control/reset-breaker."
        }
    };
    Some(text.to_owned())
}
