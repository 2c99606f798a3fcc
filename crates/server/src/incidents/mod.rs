//! Incidents: what belongs together, from its first sign until two minutes of quiet.
//!
//! An incident is made from the journal alone: [`Incidents`] reads events in the order of their numbers, each once, and
//! stores what follows from them together with the number it has read up to. So a kill at any moment loses nothing: the
//! next start reads on from there. What other features know now ([`NowKnown`]) ends a sign whose end no event told, and
//! says who must act.
//!
//! | module | holds |
//! | ---- | ---- |
//! | `model` | an incident, as it is stored and served |
//! | `reading` | what one event says about an incident |
//! | `book` | the rules: what belongs to which incident, and when one is over |
//! | `table` | the rows in the store |
//! | `handle`, `api` | the loop that follows the journal, and reading |

mod api;
mod attempts;
mod book;
#[cfg(test)]
mod book_tests;
mod handle;
mod model;
mod reading;
mod table;
mod who_must_act;

pub use api::routes;
pub use handle::Incidents;
pub use model::{Incident, IncidentState, NowKnown, PartNow, PersonStep, RecoveryNow, WhoMustAct};
