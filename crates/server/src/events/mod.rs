//! The event journal: what happened, in order, with sequence numbers that survive restarts.
//!
//! [`Events::publish`] gives an event its number, keeps it in memory, notifies subscribers and queues it for the store;
//! [`Events::since`] reads on from a number. A number is never used twice, even after a kill: numbers are reserved
//! in the store in blocks ahead of use, so a number whose event was lost stays a hole. A reader keeps its own cursor:
//! there are no acknowledgements.

mod api;
mod journal;
mod model;
mod newest_events;
mod page;
mod rows;
mod waiting;

pub use api::{EventReader, routes};
pub use journal::Events;
pub(crate) use model::OWN_SOURCE;
pub use model::{Event, NewEvent, kind_name};
pub use page::{EventFilter, JournalPage, JournalPageBackwards};

pub(crate) use api::{example_failure, page_limit, parse_since};
