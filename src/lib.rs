//! botops: the operations API that stands beside a trading bot.
//!
//! The bot trades in a process of its own and serves a contract on a Unix socket. botops reads it once an interval,
//! renders what it saw, and answers everybody from that: agents over REST and MCP, dashboards over WebSocket,
//! Prometheus, people. What changes the bot goes the other way, through a few calls that are checked, watched and
//! recorded. [`routes`] shows everything that can be asked; [`ops`] shows what it is made of.
//!
//! # Map
//!
//! A module uses modules of the lines above its own, never one below it (the compiler refuses it between crates,
//! `tests/it/house.rs` within one):
//!
//! | modules | what they are |
//! |---|---|
//! | `text`, `redact`, `env_file`, `kill` | text from outside made harmless, secrets taken out, files of settings read literally, places where tests let the process die |
//! | [`contract`] | the vocabulary between a bot and botops: types, no I/O |
//! | [`error`] | failures and their catalogue: cause, impact, remedy |
//! | [`tasks`], [`telemetry`], `signals` | the only place that spawns; the log and the metrics; what signals ask for |
//! | [`web`] | everything between a socket and a handler |
//! | [`store`] | one SQLite file with one writer |
//! | [`events`] | what happened, numbered, across restarts |
//! | [`operations_log`] | operations that take time, their lock and their idempotency keys |
//! | [`bots`] | the only way to a bot |
//! | [`health`], [`configs`], [`performance`] | checks, alerts and recovery; config as watched trials; closed trades |
//! | [`workflows`] | procedures whose runs survive a kill |
//! | [`overview`] | state, summary, metrics and the stream, rendered before they are asked for |
//! | [`settings`] | the only reader of the environment |
//! | [`ops`] | every handle, built once in dependency order |
//! | `manual` | the catalogue, the API document and its page |
//! | `mcp`, `ask` | the same operations for agents, and for plain sentences |
//! | [`routes`] | every feature's routes on one page |
//! | [`app`] | bind, start, serve, stop |
//! | `process`, `demo`, [`cli`] | the process around the app, the first command, the command line |
//!
//! The lines down to [`web`] are the crate `botops_core`, which every request passes and which alone is compiled for
//! speed; those from [`store`] to [`overview`] are `botops_features`; the rest is this one. [`paperbot`], the reference
//! bot, stands beside the house in a crate of its own: it shares the vocabulary and nothing that serves.
//!
//! A request: `botops_http::serve` accepts, `botops_http::guard` lets in (key, scope, rate), the handler of a feature's `api.rs`
//! answers from what was rendered; a plain `GET state` or `GET summary` does not even pass the router. A change: a
//! feature's handle asks [`bots`] and the [`store`], each with a deadline, and leaves a row and an [event](events).
//!
//! # What always holds
//!
//! - No read reaches the bot: it is asked once an interval, whoever asks. State, summary, metrics and health touch
//!   neither the disk nor a lock that rendering holds; only what is past (events, trades, audits, runs) is read from the
//!   store.
//! - Every answer says how old it is and where it comes from, and stays within its bound.
//! - What was answered as done is durable first. A kill at any moment leaves something that the next start takes up.
//! - Every failure is a row of the catalogue, in one form, logged once; no secret gets into any output.
//! - Features get plain values and handles, never [`settings`], [`ops`] or [`app`]. A wish upward is an event.
pub mod app;
mod ask;
pub mod cli;
mod demo;
mod manual;
mod mcp;
pub mod ops;
mod process;
pub mod routes;
pub mod settings;
