//! The remedies for an open circuit breaker and for an unusable broker session.

use super::tokens;
use super::wording::without_full_stop;
use botops_contract::{Breaker, BreakerState, GateReason, Session, SessionPhase};
use botops_core::error::Code;

/// The name of the breaker's state.
pub(super) fn breaker_state(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half_open",
    }
}

/// The code that explains the breaker: that of the session, or that of the risk limits.
pub(super) fn breaker_code(breaker: &Breaker) -> Option<&'static str> {
    match (breaker.state, breaker.source.as_deref()) {
        (BreakerState::Closed, _) => None,
        (_, Some("session" | "operator")) => Some(Code::BrokerBreakerOpen.row().code),
        (_, Some("daily_loss" | "max_drawdown" | "consecutive_losses")) => {
            Some(Code::BotLimitCrossed.row().code)
        }
        _ => None,
    }
}

/// The remedy for a breaker that is not closed. Where the session opened it, that is the session's remedy.
pub(super) fn breaker_remediation(breaker: &Breaker, session: Option<&Session>) -> Option<String> {
    let text = match (breaker.state, breaker.source.as_deref()) {
        (BreakerState::Closed, _) => return None,
        (BreakerState::HalfOpen, _) => "Wait: the next probe decides.",
        (BreakerState::Open, Some("session")) => {
            let remedy = session.and_then(|session| session_remediation(session, Some(breaker)));
            return remedy.or_else(|| Some(wait_or_reset(Some(breaker))));
        }
        (BreakerState::Open, Some("operator")) => {
            "An operator opened it. Ask before POST /api/v1/control/reset-breaker."
        }
        (BreakerState::Open, _) => {
            "A loss limit stopped new positions. Review positions and errors, then POST /api/v1/control/reset-breaker."
        }
    };
    Some(text.to_owned())
}

/// An open breaker that lets a probe through by itself needs patience; any other needs an operator.
fn wait_or_reset(breaker: Option<&Breaker>) -> String {
    match breaker.and_then(|breaker| breaker.retry_at) {
        Some(at) => format!(
            "Wait: the bot probes by itself at {}. To try at once: POST /api/v1/control/reset-breaker.",
            at.format("%H:%M:%SZ")
        ),
        None => "When the broker answers again: POST /api/v1/control/reset-breaker.".to_owned(),
    }
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
    let is_over = session.state == SessionPhase::HaltedCredential;
    if let Some(needs) = session.needs_human.as_deref() {
        return Some(match needs {
            "approve_device" if is_over => {
                "A person must be ready to approve in the broker's app, then POST /api/v1/control/reauth.".to_owned()
            }
            "approve_device" => "A person must approve the sign-in in the broker's app.".to_owned(),
            "enter_code" => {
                "A person gets a code from the broker: POST /api/v1/control/reauth with args.code.".to_owned()
            }
            "renew_credentials" => {
                "A person must renew the bot's credentials, then POST /api/v1/control/reauth.".to_owned()
            }
            "repair_token_store" => {
                "A person must make the token file writable before any restart, then POST /api/v1/control/reauth."
                    .to_owned()
            }
            other => format!("A person must act at the broker: {}.", without_full_stop(&tokens::clip(other, 12))),
        });
    }
    let text = match (session.state, session.gate) {
        (SessionPhase::Healthy, GateReason::AccountRestricted) => {
            "A person must clear the restriction with the broker; the next check notices it."
        }
        (SessionPhase::Healthy, _) => return None,
        (SessionPhase::Starting | SessionPhase::Reauthenticating, _) => "Wait: the bot signs in by itself.",
        (SessionPhase::Degraded, GateReason::RateLimited) => {
            let wait = session.retry_after_s.unwrap_or_default().ceil().max(1.0);
            return Some(format!("Wait {wait} s, as the broker asked; the bot goes on by itself."));
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
