//! What readers of the state are told of operators' commands.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::operator_pause::OperatorPause;
use botops_contract::Verb;

/// A command of an operator that failed and was not given again with success since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCommand {
    /// The verb that was given.
    pub verb: Verb,
    /// The API key that gave it.
    pub actor: String,
    /// The command's id as the operator knows it.
    pub command_id: String,
    /// When it failed.
    pub failed_at: DateTime<Utc>,
    /// The code of the error catalogue.
    pub error_code: String,
    /// Why, in one sentence; it may have words of the bot.
    pub cause: String,
    /// Whether it may have acted all the same.
    pub is_in_doubt: bool,
}

/// A flatten that the bot carried out, as it says, and that leaves no position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlattenDone {
    /// The API key that gave it.
    pub actor: String,
    /// When it was given.
    pub given_at: DateTime<Utc>,
}

/// What readers of the state are told of operators' commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorNotes {
    /// The pause that holds, as far as botops knows: given through it, kept by the bot, and taken back by nobody.
    pub pause: Option<OperatorPause>,
    /// A pause that the bot did not keep over a start, and that nobody gave or took back since.
    pub lost_pause: Option<OperatorPause>,
    /// A flatten after which no position was to be left, while some are: nobody let the bot open positions since.
    pub flattened: Option<FlattenDone>,
    /// Commands that failed, the newest first; one a verb.
    pub failed: Vec<FailedCommand>,
}
