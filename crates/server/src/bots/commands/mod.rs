//! Commands, and what became of them.
//!
//! A bot that can say what became of a command (capability `command-status`) is asked, with growing waits; a command is
//! never sent again, since a bot that had not got it would then carry it out at a time nobody chose. That it never
//! arrived is believed only once it expired: a copy on its way can have no effect from then on. A bot that cannot be
//! asked is left to a person, with what its state shows, from which alone nothing is concluded. Open commands are
//! stored, so that the next run of botops goes on.

mod answer;
mod ending;
mod ending_event;
mod follower;
mod late_ending;
mod model;
mod open_commands;
mod pending;

pub(super) use answer::assess_answer;
pub(super) use follower::CommandFollower;
pub use model::CommandAsker;
pub(super) use open_commands::OpenCommands;
pub(super) use pending::PendingCommand;
