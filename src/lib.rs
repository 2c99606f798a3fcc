//! botops: an operations API that runs beside a trading bot.
//!
//! The bot trades in a process of its own and serves a contract on a Unix socket. botops reads the bot's state once an
//! interval, renders it, and answers every read from that: agents over REST and MCP, dashboards over WebSocket,
//! Prometheus, people. Changes go to the bot through a few calls that are checked, watched and recorded.
//!
//! This crate is the program: it reads the settings, builds the features of `botops_server`, connects them to each
//! other, and serves them. `ARCHITECTURE.md` has the map of all crates, the path of a request and of a change, and the
//! invariants.
//!
//! A module uses only modules in the rows above its own:
//!
//! | modules | what they are |
//! |---|---|
//! | [`settings`] | every setting in one table; the only reader of the environment |
//! | [`handles`] | the handle of every feature, built once in dependency order |
//! | `incident_wiring` | what joins incidents with what health and the bot's link know |
//! | `wiring` | what connects the features to each other, and their loops |
//! | `manual` | the error catalogue, the API document, the pages of `docs/` |
//! | `mcp`, `ask` | the same operations for agents, and for plain sentences |
//! | [`routes`] | every feature's routes on one page, and the API document they add up to |
//! | [`app`] | bind, start, serve, stop |
//! | `terminal` | output to a terminal and its exit codes |
//! | `process` | the process around the app: log, threads, signals |
//! | `demo`, `bot_check`, `bot_new` | `botops demo`, `botops bot check`, `botops bot new` |
//! | [`cli`] | the command line |

mod any_call_codes;
pub mod app;
mod ask;
mod bot_check;
mod bot_new;
pub mod cli;
mod demo;
mod document_parts;
mod document_published;
mod document_short;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod handles;
mod incident_wiring;
mod manual;
mod mcp;
mod memory;
mod process;
pub mod routes;
pub mod settings;
mod terminal;
mod wiring;
