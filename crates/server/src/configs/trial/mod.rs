//! The trial: one task that takes changes, sends them to the bot, watches, and makes them permanent or undoes them.
//!
//! All transitions of the config happen in this task, one at a time, so no two of them race. Each is durable (row,
//! event and audit record in one store transaction) before the next step is taken:
//!
//! | step | failpoint | what is durable by then |
//! |---|---|---|
//! | | `config.before_d1` | nothing: the version's number is chosen |
//! | D1 | `config.d1` | the version's file (`config.version.*`), then its row and the row `prepared`, which holds the bot's lock |
//! | D2 | `config.d2` | `checked`: the bot says that it would take the document |
//! | D3 | `config.d3` | `activating`, with the deadline, and its record in the audit file; only now is the bot told |
//! | | `config.activated` | nothing more: the bot has answered |
//! | D4 | `config.d4` | `trial`: the bot runs the candidate |
//! | D5 | `config.d5` | `confirming`, and its record in the audit file |
//! | D6 | `config.d6` | `HEAD` names the candidate (`config.head.*`, then `config.current.*`) |
//! | | `config.commit_acked` | nothing more: the bot has answered the commit |
//! | D7 | `config.d7` | `committed` |
//! | R1 | `config.r1` | `reverting`, unless nothing can be written; the bot is told to go back all the same |
//! | | `config.revert_acked` | nothing more: the bot has answered the revert |
//! | R2 | `config.r2` | the end of any other kind: `rolled_back`, `rejected` or `failed_attention` |
//!
//! A change that the bot reads only at its start passes `config.boot.asked` (the bot was asked to end) and
//! `config.boot.started` (another process was started) between D3 and D4, and again when it is taken back.
//!
//! The rename of `HEAD` in D6 is the only commit point: until then every failure means "go back to `HEAD`", after it
//! "stay". What the bot runs is asked of the bot, never guessed. While it cannot be told what the bot runs, or the bot
//! refuses to end the trial, the transaction stays live and the bot is asked again, with growing waits; some time after
//! its deadline it is handed to a person and the lock is free.

mod begin;
#[cfg(test)]
mod documented_limits;
mod finish;
mod live;
mod recorder;
mod recovery;
mod restart;
mod services;
mod task;

pub(crate) use recorder::TransitionRecorder;
pub(crate) use restart::BotRestart;
pub(crate) use services::TrialServices;
pub(crate) use task::{TrialCommand, TrialReply, run_trials};
