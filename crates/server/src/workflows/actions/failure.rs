//! Why an attempt did not succeed, and what that means for another one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use botops_core::error::{Code, Effect, Error};

/// What a failed attempt means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepFailureClass {
    /// It was not delivered, or the connection broke.
    Transport,
    /// No answer in time.
    Timeout,
    /// The peer has no room now.
    Busy,
    /// The disk failed.
    Io,
    /// The peer understood and said no.
    Rejected,
    /// The input does not fit.
    Invalid,
    /// The world is not as it must be.
    Precondition,
    /// The key behind the run may not do this.
    Unauthorized,
    /// An expectation was not met.
    Expectation,
    /// Whether it happened cannot be told.
    Unknown,
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ActionFailure {
    pub(crate) class: StepFailureClass,
    /// The catalogue's code.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Whether it may have happened all the same.
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
