//! What is declared about an action: its name, what it touches, how it may be repeated.

use serde::Serialize;
use utoipa::ToSchema;

/// What an action touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionClass {
    /// It looks.
    Read,
    /// It changes the bot. Before the pivot of a workflow it needs an undo, or `undo: none`.
    Mutate,
    /// It writes files of botops' own.
    LocalWrite,
    /// It computes.
    Compute,
    /// It publishes an event.
    Event,
    /// It waits.
    Timer,
}

/// How an attempt that was cut off may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionRepeat {
    /// As often as wanted: it changes nothing.
    Pure,
    /// With the same key: the other side acts once.
    Keyed,
    /// It looks first whether it has happened already.
    CompareAndSet,
}

/// What is declared about an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActionSpec {
    /// What a workflow file says in `uses`.
    pub(crate) name: &'static str,
    pub(crate) class: ActionClass,
    pub(crate) repeat: ActionRepeat,
    /// Grows with each change of meaning; a run that was cut off under another one is in doubt.
    pub(crate) revision: u32,
    /// Limit of one attempt, unless the step says otherwise.
    pub(crate) timeout_s: u64,
    /// Whether it ends the bot's process and starts it again. A run that nobody asked for must not do so to a bot
    /// that is not proven dead.
    pub(crate) restarts_bot: bool,
    /// Whether `until` can look again at what it reports, without acting again.
    pub(crate) observable: bool,
    /// What it does, for the list of a workflow's steps.
    pub(crate) summary: &'static str,
}

impl ActionSpec {
    /// A declaration with the usual values for what is rarely different.
    pub(super) const fn new(name: &'static str, class: ActionClass, repeat: ActionRepeat) -> Self {
        let observable = matches!(class, ActionClass::Read | ActionClass::Compute);
        Self { name, class, repeat, revision: 1, timeout_s: 15, restarts_bot: false, observable, summary: "" }
    }

    /// Whether it leaves something behind that an undo could concern.
    pub(crate) fn changes(&self) -> bool {
        matches!(self.class, ActionClass::Mutate | ActionClass::LocalWrite | ActionClass::Event)
    }
}
