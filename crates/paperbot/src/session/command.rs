//! An operator's commands to the session, and what is known of their outcome before the broker is called.
//!
//! A command and its dry run ask the same function, so a forecast refuses for the reason for which the command would.
//! What only the broker can say is not forecast.

use serde_json::Value;
use tokio::sync::oneshot;

use super::machine::{SessionMachine, wait_text};
use super::model::SessionCommandOutcome;
use crate::broker::SignInMethod;
use crate::clock::Now;
use botops_contract::SessionPhase;

/// What the operator wants of the session.
pub(super) enum SessionCommandKind {
    Probe,
    /// A sign-in, with the code that a person got from the broker.
    SignIn(Option<String>),
    ResetBreaker,
}

/// A command and the channel for its outcome.
pub(super) struct SessionCommand {
    pub(super) kind: SessionCommandKind,
    pub(super) reply: oneshot::Sender<SessionCommandOutcome>,
}

/// The code in the arguments of `reauth`; `None` when there is none.
///
/// # Errors
/// The refusal of something that is no code. Its text does not repeat it.
pub(crate) fn sign_in_code(args: &Value) -> Result<Option<String>, SessionCommandOutcome> {
    match args.get("code") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(code)) if !code.trim().is_empty() => Ok(Some(code.trim().to_owned())),
        Some(_) => Err(SessionCommandOutcome::refused("code_rejected", "`args.code` is empty or no text")),
    }
}

/// Why the command is refused without a call to the broker; `None` when the broker decides.
pub(super) fn refusal_before_call(
    machine: &SessionMachine,
    now: Now,
    kind: &SessionCommandKind,
) -> Option<SessionCommandOutcome> {
    let refused = |code, text: &str| Some(SessionCommandOutcome::refused(code, text));
    if matches!(kind, SessionCommandKind::ResetBreaker) && machine.breaker.is_closed() {
        return refused("breaker_closed", "the circuit breaker is closed; there is nothing to reset");
    }
    if let Some(until) = machine.parked_until_wall(now) {
        return refused("rate_limited", &wait_text(until));
    }
    let signs_in = matches!(kind, SessionCommandKind::SignIn(_));
    if !signs_in && machine.phase == SessionPhase::Reauthenticating {
        return refused("reauthenticating", "a new sign-in is under way");
    }
    None
}

/// What the command would answer now.
///
/// `offers` says which methods the broker has, and `same_credentials` whether they are known to be those that the
/// broker refused last.
pub(super) fn forecast_command(
    machine: &SessionMachine,
    now: Now,
    kind: &SessionCommandKind,
    offers: impl Fn(SignInMethod) -> bool,
    same_credentials: bool,
) -> SessionCommandOutcome {
    if let Some(refusal) = refusal_before_call(machine, now, kind) {
        return refusal;
    }
    let token_is_refused = machine.refused_token == Some(machine.generation);
    let no_session = "the broker no longer accepts the session";
    match kind {
        SessionCommandKind::Probe if token_is_refused => {
            SessionCommandOutcome::refused("check_failed", no_session)
        }
        SessionCommandKind::Probe => SessionCommandOutcome::done("the broker session would be checked now"),
        SessionCommandKind::ResetBreaker if token_is_refused => SessionCommandOutcome::refused(
            "check_failed",
            &format!("{no_session}; the circuit breaker stays open"),
        ),
        SessionCommandKind::ResetBreaker => SessionCommandOutcome::done(
            "one check of the session would decide whether the circuit breaker closes",
        ),
        SessionCommandKind::SignIn(code) => {
            forecast_sign_in(machine, now, code.is_some(), offers, same_credentials)
        }
    }
}

fn forecast_sign_in(
    machine: &SessionMachine,
    now: Now,
    has_code: bool,
    offers: impl Fn(SignInMethod) -> bool,
    same_credentials: bool,
) -> SessionCommandOutcome {
    let reason = machine.reason.as_ref().map_or("signed in", |reason| reason.text.as_str());
    match (&machine.awaiting, has_code) {
        (Some(_), false) => return SessionCommandOutcome::refused("awaiting_human", reason),
        (Some(_), true) => return SessionCommandOutcome::done("the code would be sent to the broker"),
        (None, _) => {}
    }
    let mut next = machine.clone();
    next.operator_sign_in();
    if let Err(reason) = next.next_sign_in_method(now, true, offers) {
        return SessionCommandOutcome::refused("reauth_failed", &reason.text);
    }
    if machine.phase != SessionPhase::HaltedCredential {
        return SessionCommandOutcome::done("the bot would sign in to the broker again");
    }
    if same_credentials {
        let text = format!("{reason}; nothing was renewed since, so the broker would refuse it again");
        return SessionCommandOutcome::refused("reauth_failed", &text);
    }
    let text =
        format!("the bot would sign in to the broker again; the last time it did not succeed: {reason}");
    SessionCommandOutcome::done(&text)
}
