//! What an action is given: the handles it may use, the circumstances of one attempt, and what a dry run assumes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::bots::{Bots, Supervisor};
use crate::configs::Configs;
use crate::events::Events;
use crate::operations_log::StoredActor;
use crate::workflows::artifacts::ArtifactStore;

/// The handles that actions work with.
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
    /// The same for every repetition of one effect, and for no other.
    pub(crate) key: String,
    /// For the bot's own record.
    pub(crate) reason: String,
    /// Who asked for the run.
    pub(crate) actor: StoredActor,
    pub(crate) deadline: Instant,
}

impl ActionCall {
    /// Time left.
    pub(super) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What a dry run assumes to have happened before the step it has come to. `None` is: as the bot reports it.
#[derive(Debug, Default)]
pub(crate) struct AssumedChanges {
    pub(super) boot_epoch: Option<String>,
    pub(super) trading_enabled: Option<bool>,
    pub(super) resting_orders: Option<u32>,
}
