//! The session's state machine and the parts of its state.

mod core;
mod gate;
mod model;
mod renewal;
mod sign_in;
mod sign_in_budget;

pub(super) use core::SessionMachine;
pub(super) use gate::evaluate_gate;
pub(super) use model::{GateVerdict, SavedSession, SessionCheckKind, SessionReason, SessionWork};

#[cfg(test)]
mod tests;
