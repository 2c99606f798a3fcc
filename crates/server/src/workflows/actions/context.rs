//! What an action is given: the services it may use, the circumstances of one attempt, and what a dry run assumes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::bots::{BotSnapshot, Bots, Supervisor};
use crate::configs::Configs;
use crate::events::Events;
use crate::operations_log::StoredActor;
use crate::workflows::artifacts::ArtifactStore;

/// The services that actions work with.
#[derive(Debug, Clone)]
pub(crate) struct ActionServices {
    pub(crate) bots: Bots,
    pub(crate) configs: Configs,
    pub(crate) supervisor: Supervisor,
    pub(crate) events: Events,
    pub(crate) artifacts: ArtifactStore,
    pub(crate) data_dir: PathBuf,
}

/// The circumstances of one attempt.
#[derive(Debug, Clone)]
pub(crate) struct ActionCall {
    pub(crate) run: String,
    pub(crate) workflow: String,
    /// The step that acts; for an undo, the step that is undone.
    pub(crate) step: String,
    /// The idempotency key: the same for every repetition of one effect, different for every other effect.
    pub(crate) key: String,
    /// The reason that goes into the bot's log.
    pub(crate) reason: String,
    /// Who asked for the run.
    pub(crate) actor: StoredActor,
    pub(crate) deadline: Instant,
}

impl ActionCall {
    /// Time until the attempt's limit.
    pub(super) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What a dry run assumes after the steps before; `None` means as the bot reports it.
#[derive(Debug, Default)]
pub(crate) struct AssumedChanges {
    pub(super) boot_epoch: Option<String>,
    pub(super) trading_enabled: Option<bool>,
    pub(super) resting_orders: Option<u32>,
    /// The bot was paused, and a restart came after that it does not promise to keep the pause over: whether it may open
    /// positions, only the real run shows.
    is_pause_in_doubt: bool,
}

impl AssumedChanges {
    /// The bot was told to pause or to resume.
    pub(super) fn assume_trading(&mut self, enabled: bool) {
        (self.trading_enabled, self.is_pause_in_doubt) = (Some(enabled), false);
    }

    /// The bot is another process from here on, with this epoch.
    pub(super) fn assume_restart(&mut self, boot_epoch: &str, before: &BotSnapshot) {
        self.boot_epoch = Some(boot_epoch.to_owned());
        let is_paused = self.trading_enabled.map_or_else(|| before.is_paused(), |enabled| !enabled);
        if is_paused && !before.keeps_pause_over_restart() {
            (self.trading_enabled, self.is_pause_in_doubt) = (None, true);
        }
    }

    /// Whether a pause before a restart may be over after it.
    pub(crate) fn is_pause_in_doubt(&self) -> bool {
        self.is_pause_in_doubt
    }
}
