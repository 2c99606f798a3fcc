//! A command that was given, and on whose account.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use botops_contract::Verb;

/// On whose account a command is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAsker {
    /// The key's name.
    pub actor: String,
    /// The command's id as the asker knows it.
    pub command_id: String,
    /// The workflow run that gives it.
    pub run_id: Option<String>,
    /// The step of that run.
    pub step: Option<String>,
}

/// A command that may have been carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::bots) struct OpenCommand {
    pub verb: Verb,
    /// The id the bot knows it by.
    pub sent_id: String,
    pub asker: CommandAsker,
    pub reason: String,
    pub given_at: DateTime<Utc>,
    /// No bot that can be asked begins it after this.
    pub expires_at: DateTime<Utc>,
    /// The bot's boot when it was given.
    pub boot_epoch: Option<String>,
}
