//! A command that was given, and for whom.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::bots::operator_pause::DoneCommand;
use botops_contract::{TradingMode, Verb};

/// For whom a command is given: the events about it name them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAsker {
    /// The name of the API key, or `botops` for a command of its own.
    pub actor: String,
    /// The command's id as the asker knows it.
    pub command_id: String,
    /// The workflow run that gives it; `None` for a command of an API key.
    pub run_id: Option<String>,
    /// The step of that run.
    pub step: Option<String>,
}

/// A command that was given and whose effect may be unknown.
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
    /// The `boot_epoch` of the bot that it was given to; `None` when it was not known.
    pub boot_epoch: Option<String>,
    /// When a pause ends by itself; `None` where it does not.
    #[serde(default)]
    pub until: Option<DateTime<Utc>>,
    /// Whether a pause was given to hold over a restart of the bot.
    #[serde(default)]
    pub is_durable: bool,
    /// The bot's mode when it was given; `None` when that was not known.
    #[serde(default)]
    pub mode: Option<TradingMode>,
    /// The bot answered it, with something that proves nothing: so it got it, whatever it says later.
    #[serde(default)]
    pub was_answered: bool,
}

impl OpenCommand {
    /// The same as one that the bot carried out.
    pub(super) fn as_done(&self) -> DoneCommand<'_> {
        let CommandAsker { actor, run_id, .. } = &self.asker;
        DoneCommand {
            verb: self.verb,
            actor,
            run_id: run_id.as_deref(),
            reason: &self.reason,
            given_at: self.given_at,
            until: self.until,
            is_durable: self.is_durable,
        }
    }
}
