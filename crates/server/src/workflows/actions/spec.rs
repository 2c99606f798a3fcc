//! The declaration of an action: its name, its class, and how it may be repeated.

use serde::Serialize;
use utoipa::ToSchema;

/// What kind of effect an action has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionClass {
    /// It reads and changes nothing.
    Read,
    /// It changes the bot. Before the pivot of a workflow it needs an undo, or `undo: none`.
    Mutate,
    /// It writes files of botops.
    LocalWrite,
    /// It computes from its input and changes nothing.
    Compute,
    /// It publishes an event.
    Event,
    /// It waits and changes nothing.
    Timer,
}

/// How an attempt that was cut off may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionRepeat {
    /// As often as wanted, since it changes nothing.
    Pure,
    /// With the same idempotency key: the peer acts once.
    Keyed,
    /// After checking whether the effect is there already.
    CompareAndSet,
}

/// The declaration of an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActionSpec {
    /// The name that a workflow file gives in `uses`.
    pub(crate) name: &'static str,
    pub(crate) class: ActionClass,
    pub(crate) repeat: ActionRepeat,
    /// Increased with each change of meaning. An attempt that was cut off under another revision is in doubt.
    pub(crate) revision: u32,
    /// Seconds that one attempt may take, unless the step sets its own limit.
    pub(crate) timeout_s: u64,
    /// Whether it ends the bot's process and starts it again. A run of automatic recovery must not do so to a bot
    /// that is not proven dead.
    pub(crate) restarts_bot: bool,
    /// Whether it works on the config of the bot that is kept here, which not every bot has.
    pub(crate) needs_config: bool,
    /// Whether `until` can read again what it reported, without acting again.
    pub(crate) observable: bool,
    /// What the action does, for the list of a workflow's steps.
    pub(crate) summary: &'static str,
}

impl ActionSpec {
    /// A declaration with the usual values for the members that rarely differ.
    pub(super) const fn new(name: &'static str, class: ActionClass, repeat: ActionRepeat) -> Self {
        let observable = matches!(class, ActionClass::Read | ActionClass::Compute);
        let (restarts_bot, needs_config) = (false, false);
        Self {
            name,
            class,
            repeat,
            revision: 1,
            timeout_s: 15,
            restarts_bot,
            needs_config,
            observable,
            summary: "",
        }
    }

    /// Whether its effect remains, so that an undo could concern it.
    pub(crate) fn changes(&self) -> bool {
        matches!(self.class, ActionClass::Mutate | ActionClass::LocalWrite | ActionClass::Event)
    }
}
