//! The session's state machine, pure: events and a time go in, the next state comes out.

mod core;
mod gate;
mod model;
mod renewal;
mod sign_in;
mod sign_in_budget;

pub(super) use core::SessionMachine;
pub(super) use gate::evaluate_gate;
pub(super) use model::{CheckKind, GateVerdict, SavedSession, SessionReason, SessionWork};

#[cfg(test)]
mod tests;
