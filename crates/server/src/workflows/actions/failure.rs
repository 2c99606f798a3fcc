//! Why an attempt failed, and whether another one makes sense.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use botops_core::error::{Code, Effect, Error};

/// The kind of failure; a step's `retry.on` names the kinds after which it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepFailureClass {
    /// The request was not delivered, or the connection broke.
    Transport,
    /// No answer came in time.
    Timeout,
    /// The peer cannot take the request now.
    Busy,
    /// Reading or writing a file failed.
    Io,
    /// The peer understood the request and refused it.
    Rejected,
    /// The input does not fit the action.
    Invalid,
    /// A precondition of the action does not hold.
    Precondition,
    /// The API key behind the run may not do this.
    Unauthorized,
    /// An expectation of the step was not met.
    Expectation,
    /// It is not known whether the action took effect.
    Unknown,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ActionFailure {
    pub(crate) class: StepFailureClass,
    /// The code in the error catalogue.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Whether the action may have taken effect all the same.
    pub(crate) in_doubt: bool,
}

impl ActionFailure {
    pub(crate) fn new(class: StepFailureClass, code: Code, message: impl Into<String>) -> Self {
        let in_doubt = class == StepFailureClass::Unknown;
        Self { class, code: code.row().code, message: message.into(), in_doubt }
    }

    pub(super) fn precondition(message: impl Into<String>) -> Self {
        Self::new(StepFailureClass::Precondition, Code::WorkflowStepFailed, message)
    }

    pub(super) fn io(what: &str, error: &std::io::Error) -> Self {
        Self::new(StepFailureClass::Io, Code::StoreUnavailable, format!("{what} ({})", error.kind()))
    }

    pub(crate) fn timeout(message: impl Into<String>, in_doubt: bool) -> Self {
        Self { in_doubt, ..Self::new(StepFailureClass::Timeout, Code::WorkflowStepFailed, message) }
    }
}

impl From<Error> for ActionFailure {
    fn from(error: Error) -> Self {
        use StepFailureClass::{Busy, Invalid, Io, Precondition, Rejected, Timeout, Transport, Unknown};
        let problem = error.problem("", chrono::Utc::now());
        let class = match error.code() {
            Code::BotOffline | Code::BotAnswerInvalid => Transport,
            Code::BotTimeout | Code::DeadlineExceeded => Timeout,
            Code::StoreUnavailable => Io,
            Code::BotRefused => Rejected,
            Code::ConfigBusy => Busy,
            Code::BotNotCapable | Code::SupervisorMissing => Precondition,
            Code::Internal => Unknown,
            _ => match problem.status {
                400 | 404 | 422 => Invalid,
                429 => Busy,
                503 => Transport,
                504 => Timeout,
                _ => Rejected,
            },
        };
        let in_doubt = matches!(problem.effect, Effect::Unknown | Effect::Partial);
        Self { class, code: error.code().row().code, message: problem.cause, in_doubt }
    }
}
