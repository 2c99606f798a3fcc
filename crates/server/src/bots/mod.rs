//! The link to the bot: everything that botops reads from it or sends to it passes here.
//!
//! [`Bots::snapshot`] is the last that is known, held in memory and read without waiting; [`Bots::command`] and the
//! config verbs are the few calls that reach the bot itself, each with a deadline. Hidden from users: the transport,
//! who may be at its other end, polling, retries, the event subscription, and what a bot can do wrong on a wire.
//! However many clients read, the bot is asked once per interval: no read asks the bot.

mod absence;
mod api;
mod by_hand;
mod call_error;
mod calls;
mod commands;
pub mod conformance;
mod contradiction;
mod contradiction_watch;
mod control_view;
mod earlier_processes;
mod exchange;
#[cfg(any(test, fuzzing))]
mod fuzz_properties;
mod handle;
mod link;
mod missing_capability;
mod open_profit;
mod operator_commands;
mod operator_notes;
mod operator_pause;
mod options;
mod pause_over_restart;
mod presence;
mod process;
mod reading;
mod restart;
mod restart_proof;
mod sanitise;
mod snapshot;
mod started_as;
mod supervisor;
mod trading_day;
mod transport;
mod unproven_starts;

pub use absence::AbsenceAdvice;
pub use api::{BotControl, routes};
pub use call_error::CallError;
pub use commands::CommandAsker;
pub use contradiction::{Contradiction, ContradictionKind};
pub use earlier_processes::OtherProcesses;
#[cfg(any(test, fuzzing))]
pub use fuzz_properties::check_bot_answer;
pub use handle::Bots;
pub use link::BotLinkStats;
#[cfg(any(test, fuzzing))]
pub use link::check_event_stream;
pub(crate) use open_profit::open_profit;
pub use operator_notes::{FailedCommand, FlattenDone, OperatorNotes};
pub use operator_pause::OperatorPause;
pub use options::BotsOptions;
pub use presence::Presence;
pub use process::ProcessId;
pub use reading::{TradeJournalPage, UnreadablePart};
pub use restart_proof::{DeathProof, HoldReason, LoopRemedy, UnaskedRestart, immediate_restart};
pub use snapshot::{BotSnapshot, DroppedItems, FirstSeen, LoopAge};
pub use supervisor::{SupervisedProcess, Supervisor, SupervisorDriver};
pub use trading_day::ReportedDay;
pub(crate) use trading_day::{day_zone, trading_day};
pub use transport::{BotAddress, BotOwner, BotTcpPort, install_tls_provider};
