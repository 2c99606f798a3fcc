//! What an exercise has begun at the bot and not seen the end of: noted before it is sent, so that every ending of a run
//! knows what has to be taken back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use botops_contract::{BotPhase, BotReport, VersionRef};

/// A pause that was sent, and not taken back yet.
#[derive(Debug, Clone)]
pub(super) struct OpenPause {
    pub command_id: String,
    pub sent_at: Instant,
    /// Whether new positions were let in before it.
    pub entries_were_open: bool,
    /// Whether its answer says that it is over, one way or the other.
    pub was_answered: bool,
}

impl OpenPause {
    /// Whether the bot shows that it is paused.
    pub(super) fn shows_in(&self, state: &BotReport) -> bool {
        state.phase == BotPhase::Paused || (self.entries_were_open && state.trading_enabled == Some(false))
    }
}

/// A config trial that was asked for, and whose end was not seen.
#[derive(Debug, Clone)]
pub(super) struct OpenTrial {
    pub txn: String,
    pub generation: u64,
    /// What ran before.
    pub before: VersionRef,
    /// Whether the bot has acknowledged that it began.
    pub was_answered: bool,
    /// After this time the bot takes it back by itself.
    pub time_to_live: Duration,
}

/// The changes of a run that are open.
#[derive(Debug, Default)]
pub(super) struct OpenChanges {
    pause: Mutex<Option<OpenPause>>,
    trial: Mutex<Option<OpenTrial>>,
}

impl OpenChanges {
    pub(super) fn note_pause(&self, command_id: &str, before: &BotReport) {
        *lock(&self.pause) = Some(OpenPause {
            command_id: command_id.to_owned(),
            sent_at: Instant::now(),
            entries_were_open: before.trading_enabled == Some(true),
            was_answered: false,
        });
    }

    pub(super) fn note_answer_to_pause(&self) {
        lock(&self.pause).iter_mut().for_each(|pause| pause.was_answered = true);
    }

    pub(super) fn note_trial_began(&self) {
        lock(&self.trial).iter_mut().for_each(|trial| trial.was_answered = true);
    }

    pub(super) fn note_trial(&self, trial: OpenTrial) {
        *lock(&self.trial) = Some(trial);
    }

    pub(super) fn close_pause(&self) {
        *lock(&self.pause) = None;
    }

    pub(super) fn close_trial(&self) {
        *lock(&self.trial) = None;
    }

    pub(super) fn pause(&self) -> Option<OpenPause> {
        lock(&self.pause).clone()
    }

    pub(super) fn trial(&self) -> Option<OpenTrial> {
        lock(&self.trial).clone()
    }
}

fn lock<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
