//! Tickets: what a browser, which cannot send the key with a WebSocket, connects with instead.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use botops_core::error::{Code, Error};
use botops_http::Actor;

/// How long a ticket is valid: a browser connects at once.
const TICKET_LIFE: Duration = Duration::from_secs(30);

/// Unused tickets kept at a time. The oldest ones are dropped first.
const TICKETS: usize = 1_000;

#[derive(Debug, Clone, Copy)]
struct StreamTicket {
    until: Instant,
    /// When the key it stands for ends.
    key_ends: Option<DateTime<Utc>>,
}

/// `POST stream/ticket`: what a browser connects with instead of the key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct StreamTicketView {
    /// Opens one connection, once.
    #[schema(example = "st_4kz7w3p2m5q6r8t9v0x1y2z3a4")]
    pub ticket: String,
    /// When it expires unused (UTC).
    pub expires_at: DateTime<Utc>,
    /// Where to connect, relative to this server.
    #[schema(example = "/api/v1/stream?ticket=st_4kz7w3p2m5q6r8t9v0x1y2z3a4")]
    pub url: String,
}

/// Who may open a stream, and until when.
#[derive(Debug, Clone, Copy)]
pub(in crate::overview) struct StreamAdmission {
    pub key_ends: Option<DateTime<Utc>>,
}

impl From<&Actor> for StreamAdmission {
    fn from(actor: &Actor) -> Self {
        Self { key_ends: actor.expires_at }
    }
}

/// The tickets that were given out and not used yet.
#[derive(Debug, Default)]
pub(in crate::overview) struct StreamTickets {
    open: Mutex<HashMap<String, StreamTicket>>,
}

impl StreamTickets {
    /// Makes a ticket that stands for the actor's key once.
    ///
    /// # Errors
    /// [`Code::Internal`] when the system has no randomness to give.
    pub(crate) fn issue(&self, actor: &Actor) -> Result<StreamTicketView, Error> {
        let mut random = [0_u8; 20];
        getrandom::fill(&mut random).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        let ticket = format!("st_{}", data_encoding::BASE32_NOPAD.encode(&random).to_lowercase());
        let now = Instant::now();
        let mut tickets = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() >= TICKETS {
            tickets.retain(|_, ticket| ticket.until > now);
        }
        if tickets.len() >= TICKETS {
            let oldest = tickets.iter().min_by_key(|(_, ticket)| ticket.until).map(|(name, _)| name.clone());
            oldest.and_then(|name| tickets.remove(&name));
        }
        tickets.insert(ticket.clone(), StreamTicket { until: now + TICKET_LIFE, key_ends: actor.expires_at });
        drop(tickets);
        let url = format!("/api/v1/stream?ticket={ticket}");
        Ok(StreamTicketView { ticket, expires_at: Utc::now() + TICKET_LIFE, url })
    }

    /// Takes a ticket; it is gone whatever comes of it.
    ///
    /// # Errors
    /// [`Code::AuthTicketInvalid`].
    pub(crate) fn redeem(&self, ticket: &str) -> Result<StreamAdmission, Error> {
        // A random name of 160 bits is looked up by hash: the time tells nothing about other tickets.
        let found = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket);
        let Some(found) = found else {
            return Err(
                Error::new(Code::AuthTicketInvalid).detail("this ticket is unknown or was used already")
            );
        };
        if found.until <= Instant::now() {
            return Err(Error::new(Code::AuthTicketInvalid).detail("this ticket is older than 30 s"));
        }
        Ok(StreamAdmission { key_ends: found.key_ends })
    }
}
