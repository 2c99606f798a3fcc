//! The stream: one encoding for all clients, events in order, metrics as they are now.
//!
//! One task turns the journal and the clock into frames and writes them to every client that keeps up; the others'
//! own tasks pass them on. A slow client may miss metrics (the latest are enough), but a missed event closes its
//! stream with a reason, since the journal has it. Every message carries `seq`, the number in the journal at which it
//! was sent: whoever comes back with `?after=<seq>` misses nothing. Messages of clients are ignored.

mod broadcast;
mod client;
mod context;
mod hub;
mod messages;
mod server;
mod tickets;

pub(super) use server::StreamServer;
pub(super) use tickets::StreamAdmission;
pub(super) use tickets::StreamTicketView;
