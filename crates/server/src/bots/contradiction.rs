//! One contradiction of the bot, as it is told.

/// What the bot contradicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContradictionKind {
    /// It said that it carried out a pause, and says that it may open positions.
    Pause,
    /// `hello` and the state name another mode.
    Mode,
    /// It said that a flatten leaves no position, and some stand without an order that closes them.
    Flatten,
    /// The last tick of its loop lies in the future.
    LastTick,
    /// It has another account than before, in which positions were open.
    Account,
}

/// One contradiction, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// What is contradicted.
    pub kind: ContradictionKind,
    /// Both sides of it, as a whole sentence.
    pub sentence: String,
    /// What to do about it; empty where nothing is to be done at botops.
    pub remedy: String,
    /// What tells it apart from another of its kind.
    pub(super) about: String,
}

impl ContradictionKind {
    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Mode => "mode",
            Self::Flatten => "flatten",
            Self::LastTick => "last_tick",
            Self::Account => "account",
        }
    }

    /// Whether nobody can rely on a bot that contradicts itself in this.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Pause | Self::Mode)
    }
}
