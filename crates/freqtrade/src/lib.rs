//! The adapter for freqtrade: a process of its own that serves the bot contract for one freqtrade that was not changed.
//!
//! It asks freqtrade's REST API and nothing else: no file, no database, no code of freqtrade. It never answers for a
//! bot that is not there: what freqtrade last said is served with the moment at which it said it, and a freqtrade that
//! does not answer is an `upstream_…` refusal. What freqtrade does not report is `null` with a reason.
//!
//! | modules | what they are |
//! |---|---|
//! | `options`, `credentials` | the command line, and the file with the password |
//! | `upstream` | one call to freqtrade: deadlines, bounds, what a failure means, what an answer holds |
//! | `polling` | when freqtrade is asked what, the newest answer of each kind, and whether it answers at all |
//! | `trades` | the closed trades under a sequence of the adapter's own, on disk |
//! | `report` | from answers to the words of the contract, without any I/O |
//! | `events` | what differs between two answers, numbered, on disk |
//! | `commands` | the verbs |
//! | `serve` | the contract on the socket |
//! | `setup` | the files that start all of it, from freqtrade's own config |
//! | `publisher`, `process` | the loop that joins them, and the process around it |

mod commands;
mod credentials;
mod events;
mod options;
mod polling;
mod process;
mod publisher;
mod report;
mod serve;
mod setup;
mod trades;
mod upstream;

pub use options::FreqtradeOptions;
pub use process::main;
pub use setup::{FreqtradeSetupOptions, prepare_setup};
