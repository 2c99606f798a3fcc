//! The adapter for freqtrade: the real process, in front of it botops, behind it a server that plays freqtrade.
//!
//! `tests/data/freqtrade/` has answers of a real freqtrade 2026.9, as it gave them.

mod absence;
mod accounts;
mod commands;
mod conformance;
mod identity;
mod init;
mod late_effects;
mod locks;
mod mapping;
mod messages;
mod news;
mod second_look;
mod silence;
mod unwritable;
mod world;
