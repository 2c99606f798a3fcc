//! The session's state machine and the parts of its state.

mod core;
mod gate;
mod model;
mod outlook;
mod renewal;
mod sign_in;
mod sign_in_budget;

pub(super) use core::SessionMachine;
pub(super) use gate::{closed_gates, evaluate_gate};
pub(super) use model::{GateVerdict, SavedSession, SessionCheckKind, SessionReason, SessionWork, wait_text};
pub(super) use outlook::{SessionOutlook, breaker_view, next_check_at, session_outlook};

#[cfg(test)]
mod tests;
