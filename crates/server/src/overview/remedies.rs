//! The remedies for an open circuit breaker and for an unusable broker session.

use chrono::{DateTime, SecondsFormat, Utc};

use super::tokens;
use super::wording::without_full_stop;
use crate::bots::BotSnapshot;
use botops_contract::{BotReport, Breaker, BreakerState, GateReason, Hello, Session, SessionPhase, Verb};
use botops_core::error::{Code, NextAction};
use serde_json::json;

/// What a person does about a part of the bot that is not normal: in words, and the calls for it.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonRemedy {
    /// The instruction.
    pub must: String,
    /// Calls that do it, ready to be sent once a person decided for it; the first is the first to make.
    pub next_actions: Vec<NextAction>,
}

impl PersonRemedy {
    /// What to do about the broker session; `None` while it is usable, is not reported, or the bot does not answer.
    pub fn of_session(snapshot: &BotSnapshot) -> Option<Self> {
        let report = present_report(snapshot)?;
        let session = report.session.as_ref()?;
        let must = session_remediation(session, report.circuit_breaker.as_ref())?;
        Some(Self { must, next_actions: remedy_calls(report, snapshot.hello.as_deref()) })
    }

    /// What to do about the circuit breaker; `None` while it is closed, is not reported, or the bot does not answer.
    pub fn of_breaker(snapshot: &BotSnapshot) -> Option<Self> {
        let (report, hello) = (present_report(snapshot)?, snapshot.hello.as_deref());
        let breaker = report.circuit_breaker.as_ref()?;
        let must = breaker_remediation(breaker, report.session.as_ref(), hello)?;
        Some(Self { must, next_actions: remedy_calls(report, hello) })
    }
}

fn present_report(snapshot: &BotSnapshot) -> Option<&BotReport> {
    snapshot.report.as_deref().filter(|_| snapshot.presence.answers())
}

/// The calls of the person who ends what holds the bot back: an open breaker, or a session that is not usable. Where
/// somebody set it on purpose, the first call says who.
pub(super) fn remedy_calls(report: &BotReport, hello: Option<&Hello>) -> Vec<NextAction> {
    let offers = |verb: Verb| hello.is_none_or(|hello| hello.offers(verb.as_str()));
    let command = |verb: Verb, reason: &str| offers(verb).then(|| command(verb, reason));
    let breaker = report.circuit_breaker.as_ref().filter(|breaker| breaker.state == BreakerState::Open);
    let session = report.session.as_ref();
    let is_halted = session.is_some_and(|session| session.state == SessionPhase::HaltedOperator);
    let source = breaker.and_then(|breaker| breaker.source.as_deref());
    let reset = || command(Verb::ResetBreaker, "to let it trade again after the circuit breaker opened");
    if is_halted || source == Some("operator") {
        let lift = || command(Verb::Resume, "to let it go on after it was paused");
        return std::iter::once(events_of("control")).chain(reset().or_else(lift)).collect();
    }
    let of_session = || {
        let session = session?;
        let needs = session.needs_human.as_deref().or(breaker.and_then(|one| one.needs_human.as_deref()));
        let is_over = session.state == SessionPhase::HaltedCredential;
        match (needs, session.state) {
            (Some("renew_credentials"), _) | (None, SessionPhase::HaltedCredential) => {
                command(Verb::Reauth, "to sign in with the renewed credentials")
            }
            (Some("repair_token_store"), _) => {
                command(Verb::Reauth, "to sign in with the token file as it is now")
            }
            (Some("approve_device" | "enter_code"), _) if is_over => {
                command(Verb::Reauth, "to sign in again, with a person to approve it")
            }
            (Some("reset_breaker"), _) | (None, SessionPhase::HaltedTransient) => reset(),
            (Some("resume"), _) => command(Verb::Resume, "to let it go on"),
            (Some("clear_restriction"), _) => {
                command(Verb::ProbeSession, "look whether the restriction is cleared")
            }
            (Some(_), _) => None,
            (None, SessionPhase::Degraded | SessionPhase::Unknown) => {
                command(Verb::ProbeSession, "look whether the session works again")
            }
            (None, _) => None,
        }
    };
    let call = match (breaker, source) {
        (None, _) | (Some(_), Some("session")) => of_session(),
        (Some(_), Some("daily_loss" | "max_drawdown" | "consecutive_losses")) => reset(),
        (Some(_), _) => None,
    };
    let call = call.or_else(|| breaker.map(|_| events_of("breaker")));
    call.into_iter().collect()
}

fn command(verb: Verb, reason: &str) -> NextAction {
    NextAction {
        operation: verb.as_str().replace('-', "_"),
        method: "POST".to_owned(),
        path: format!("/api/v1/control/{verb}"),
        body: Some(json!({"reason": reason})),
        scope: Some("operate".to_owned()),
    }
}

/// The call that returns the newest events of a kind: who halted it and why, or what the bot says of its breaker.
fn events_of(kind: &str) -> NextAction {
    NextAction {
        operation: "list_events".to_owned(),
        method: "GET".to_owned(),
        path: format!("/api/v1/events?kind={kind}&limit=5"),
        body: None,
        scope: Some("read".to_owned()),
    }
}

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
