//! What a handler gets, and what it answers.

use botops_contract::{CommandOutcome, CommandResult, Exposure, Verb};
use serde_json::Value;

/// The reason beside an `unconfirmed` whose handler panicked.
const HANDLER_RAISED: &str = "handler_raised";
/// The reasons beside a `predicted` whose preview panicked, and whose preview did not return.
const PREVIEW_RAISED: &str = "preview_raised";
const PREVIEW_LATE: &str = "preview_late";

/// A command of an operator, as its handler gets it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OperatorCommand {
    /// What is asked for.
    pub verb: Verb,
    /// The idempotency key: a handler runs once for each.
    pub command_id: String,
    /// Why it is sent, in one sentence.
    pub reason: String,
    /// Arguments by verb, see the contract.
    pub args: Value,
}

impl OperatorCommand {
    /// The symbols to which it is narrowed; empty means all.
    pub fn symbols(&self) -> Vec<&str> {
        self.args["symbols"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// A handler's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandReply {
    outcome: CommandOutcome,
    reason_code: Option<String>,
    message: String,
    exposure: Option<Exposure>,
}

impl CommandReply {
    /// It was carried out; `message` is one sentence that says what was done.
    pub fn done(message: &str) -> Self {
        Self::new(CommandOutcome::Done, None, message)
    }

    /// Nothing was done, for a stable reason such as `already` or `market_closed`.
    pub fn refused(code: &str, message: &str) -> Self {
        Self::new(CommandOutcome::Refused, Some(code), message)
    }

    /// It acted, and cannot say whether that took effect.
    pub fn unconfirmed(message: &str) -> Self {
        Self::new(CommandOutcome::Unconfirmed, None, message)
    }

    /// Its handler panicked, with this message.
    pub(crate) fn panicked(verb: Verb, said: &str) -> Self {
        let message = format!("the bot's handler of {verb} raised a panic: {said}; it may have acted");
        Self::new(CommandOutcome::Unconfirmed, Some(HANDLER_RAISED), &message)
    }

    /// Says what it did to orders and positions.
    #[must_use]
    pub fn with_exposure(mut self, exposure: Exposure) -> Self {
        self.exposure = Some(exposure);
        self
    }

    /// What the verb would do, of a preview.
    pub fn predicted(message: &str) -> Self {
        Self::new(CommandOutcome::Predicted, None, message)
    }

    /// A preview's answer: nothing was done, so it is a prediction, unless it says that the verb would be refused.
    pub(crate) fn into_prediction(mut self) -> Self {
        if self.outcome != CommandOutcome::Refused {
            self.outcome = CommandOutcome::Predicted;
        }
        self
    }

    /// Its preview panicked, with this message.
    pub(crate) fn preview_panicked(verb: Verb, said: &str) -> Self {
        let message = format!("the bot's preview of {verb} raised a panic: {said}");
        Self::new(CommandOutcome::Predicted, Some(PREVIEW_RAISED), &message)
    }

    /// Its preview has not returned within these seconds.
    pub(crate) fn preview_late(verb: Verb, seconds: f32) -> Self {
        let message = format!(
            "the bot's preview of {verb} has not returned within {seconds} s, so nothing is predicted"
        );
        Self::new(CommandOutcome::Predicted, Some(PREVIEW_LATE), &message)
    }

    fn new(outcome: CommandOutcome, reason_code: Option<&str>, message: &str) -> Self {
        let (reason_code, message) = (reason_code.map(str::to_owned), message.to_owned());
        Self { outcome, reason_code, message, exposure: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.outcome == CommandOutcome::Done
    }

    /// The answer of the contract, without what the bot's state adds.
    pub(crate) fn into_result(self, command_id: &str) -> CommandResult {
        CommandResult {
            command_id: command_id.to_owned(),
            outcome: self.outcome,
            reason_code: self.reason_code,
            message: self.message,
            phase: None,
            phase_raw: None,
            trading_enabled: None,
            exposure: self.exposure,
            at: Some(chrono::Utc::now()),
            replayed: false,
        }
    }
}
