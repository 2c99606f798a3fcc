//! The pause that was given through botops: by whom, when and why, also after a restart of botops.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::store::{Store, get_value, put_value};
use botops_contract::{BotId, BotPhase, BotReport, CommandOutcome, CommandResult, Verb};
use botops_core::error::Error;

/// A pause that was given through botops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenPause {
    /// Name of the key, or of the workflow's actor, that gave it.
    pub by: String,
    /// When it was given.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: String,
}

/// The pause that holds by what botops knows.
#[derive(Debug)]
pub(super) struct PauseRecord {
    key: String,
    store: Store,
    known: ArcSwapOption<GivenPause>,
}

impl PauseRecord {
    /// Reads what an earlier run of botops knew.
    pub(super) async fn load(bot: &BotId, store: Store) -> Result<Self, Error> {
        let key = format!("given_pause:{bot}");
        let asked = key.clone();
        let stored = store.read(move |connection| Ok(get_value(connection, &asked)?)).await?;
        let known = stored.and_then(|text| serde_json::from_str::<Option<GivenPause>>(&text).ok()).flatten();
        Ok(Self { key, store, known: ArcSwapOption::new(known.map(Arc::new)) })
    }

    /// The pause, if one was given and has not ended since.
    pub(super) fn known(&self) -> Option<Arc<GivenPause>> {
        self.known.load_full()
    }

    /// A command was carried out, of a bot that reported `before`. One that finds the bot paused already is not what
    /// paused it.
    pub(super) fn note_command(
        &self,
        verb: Verb,
        result: &CommandResult,
        before: Option<&BotReport>,
        given: impl FnOnce() -> GivenPause,
    ) {
        if result.outcome != CommandOutcome::Done || result.replayed {
            return;
        }
        let was_paused = before.is_some_and(|report| report.phase == BotPhase::Paused);
        match (verb, result.phase) {
            (Verb::Pause, None) | (Verb::Pause | Verb::Flatten, Some(BotPhase::Paused)) if !was_paused => {
                self.set(Some(given()));
            }
            (Verb::Resume, _) => self.set(None),
            _ => {}
        }
    }

    /// What the bot reports: one that is not paused at a moment after the pause has ended it.
    pub(super) fn note_report(&self, report: &BotReport) {
        let Some(known) = self.known.load_full() else { return };
        let is_later = report.as_of.is_some_and(|at| at > known.at);
        if is_later && report.phase != BotPhase::Paused {
            self.set(None);
        }
    }

    /// Queues the write: nothing waits for the disk.
    fn set(&self, pause: Option<GivenPause>) {
        let text = serde_json::to_string(&pause).unwrap_or_default();
        let is_new = self.known.load().as_deref() != pause.as_ref();
        self.known.store(pause.map(Arc::new));
        if is_new {
            let key = self.key.clone();
            self.store.post("the given pause", move |connection| Ok(put_value(connection, &key, &text)?));
        }
    }
}
