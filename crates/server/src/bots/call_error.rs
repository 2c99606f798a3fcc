//! Why a call to the bot did not succeed, and what that proves.
//!
//! A refusal proves that nothing happened only by a status and a reason that speak of the request.

use std::sync::Arc;

use super::absence::AbsenceAdvice;
use super::presence::Presence;
use botops_contract::ContractRefusal;
use botops_core::error::{Code, Effect, Error};

/// Why a call to the bot did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub enum CallError {
    /// The bot never got it; the text says why. Nothing happened.
    NotDelivered(String),
    /// It was not sent, since the bot is as this presence says; the text says why, and what a person can do where the bot
    /// does not answer. Nothing happened.
    NotSent(Presence, String, Option<Arc<AbsenceAdvice>>),
    /// It was sent, and the answer did not come (in time). It may have happened.
    TimedOut,
    /// The bot understood it and said no. Nothing happened.
    Refused(ContractRefusal),
    /// The bot refused in a way that does not prove that nothing happened. It may have happened.
    Unproven(ContractRefusal),
    /// The answer is not the contract; the text says how. It may have happened.
    Invalid(String),
    /// The bot does not list this capability; nothing was sent, or the bot itself said so.
    NotCapable(String),
}

impl CallError {
    /// What a 4xx or 5xx of the bot with the contract's refusal in it means.
    pub(super) fn of_refusal(status: u16, refusal: ContractRefusal, capability: &str) -> Self {
        if !proves_nothing_done(status, &refusal.code) {
            return Self::Unproven(refusal);
        }
        if refusal.code == "not_capable" {
            return Self::NotCapable(capability.to_owned());
        }
        Self::Refused(refusal)
    }

    /// The error for a call that only reads: whatever happened, nothing changed.
    pub fn of_a_read(self) -> Error {
        Error::from(self).effect(Effect::None)
    }

    /// Whether no answer came: the bot may answer the same question a moment later, and said nothing about itself.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::NotDelivered(_) | Self::NotSent(..) | Self::TimedOut)
    }

    /// Whether it is certain that the bot did nothing.
    pub fn proves_nothing_done(&self) -> bool {
        match self {
            Self::NotDelivered(_) | Self::NotSent(..) | Self::Refused(_) | Self::NotCapable(_) => true,
            Self::TimedOut | Self::Unproven(_) | Self::Invalid(_) => false,
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotDelivered(reason) => Self::new(Code::BotOffline).detail(reason),
            CallError::NotSent(presence, reason, absence) => {
                let error = Self::new(Code::BotOffline).detail(format!("the bot is {presence}: {reason}"));
                match absence.as_deref().map(|absence| absence.remedy.as_str()).or(remedy_while(presence)) {
                    Some(remedy) => error.remedy(remedy),
                    None => error,
                }
            }
            CallError::TimedOut => Self::new(Code::BotTimeout),
            CallError::Refused(refusal) => Self::new(Code::BotRefused)
                .detail(format!("the bot says: {}", refusal.message))
                .context("reason_code", refusal.code)
                .context("bot_context", refusal.context),
            CallError::Unproven(refusal) => Self::new(Code::BotTimeout)
                .detail(format!(
                    "the bot answered `{}`, which does not say that nothing happened: {}",
                    refusal.code, refusal.message
                ))
                .context("reason_code", refusal.code)
                .context("bot_context", refusal.context),
            CallError::Invalid(reason) => Self::new(Code::BotAnswerInvalid).detail(reason),
            CallError::NotCapable(what) => Self::new(Code::BotNotCapable)
                .detail(format!("the bot has no capability `{what}`"))
                .context("capability", what),
        }
    }
}

/// What to do about a bot that is there and takes no call; `None` for one that answers, or does not answer at all.
fn remedy_while(presence: Presence) -> Option<&'static str> {
    match presence {
        Presence::Incompatible => Some(
            "It is there, and it is not understood or lets nobody in: correct what `cause` says. Starting it again \
             changes nothing of that.",
        ),
        Presence::Reloading => Some(
            "Wait until `presence` in the summary is `connected`, then send it again if it is still wanted.",
        ),
        Presence::Connected
        | Presence::Slow
        | Presence::Hung
        | Presence::Exited
        | Presence::Unreachable
        | Presence::NeverSeen => None,
    }
}

/// Whether a refusal with this status and code says that nothing was done.
fn proves_nothing_done(status: u16, code: &str) -> bool {
    // 501 is the one 5xx that speaks of the request: the bot has no such call.
    let by_status = !matches!(status, 408 | 425 | 499) && ((400..500).contains(&status) || status == 501);
    by_status && is_reason(code)
}

/// Whether a code names a reason, and not that the bot itself does not know.
pub(super) fn is_reason(code: &str) -> bool {
    const DOUBTS: &[&str] = &[
        "no_answer",
        "no_response",
        "timeout",
        "timed_out",
        "deadline",
        "unconfirmed",
        "unspecified",
        "in_progress",
        "in_flight",
        "pending",
        "internal",
        "upstream_",
    ];
    let code = code.to_ascii_lowercase().replace('-', "_");
    !matches!(code.as_str(), "" | "unknown" | "error" | "failed" | "panic")
        && !DOUBTS.iter().any(|doubt| code.contains(doubt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_proves_something_only_by_a_reason_and_a_status_that_speak_of_the_request() {
        for (status, code) in
            [(409, "session_halted"), (404, "unknown_verb"), (429, "busy"), (501, "not_capable")]
        {
            assert!(proves_nothing_done(status, code), "{status} {code}");
        }
        for (status, code) in [
            (504, "no_answer"),
            (409, "no_answer"),
            (409, "No-Answer"),
            (500, "session_halted"),
            (503, "busy"),
            (408, "slow"),
            (409, "upstream_timeout"),
            (301, "moved"),
            (409, "unknown"),
            (400, "internal_error"),
        ] {
            assert!(!proves_nothing_done(status, code), "{status} {code}");
        }
    }
}
