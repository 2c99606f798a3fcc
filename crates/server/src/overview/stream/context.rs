//! What the stream reads from, and the count of one client.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::broadcast::{ClientConnection, ClientCursor};
use super::hub::StreamHub;
use crate::events::Events;
use crate::overview::rendered::RenderedOverview;
use botops_core::error::Error;
use botops_http::SocketWriter;

/// What the stream's tasks share.
#[derive(Debug)]
pub(super) struct StreamContext {
    pub hub: StreamHub,
    pub events: Events,
    pub rendered: Arc<ArcSwap<RenderedOverview>>,
    /// How often metrics go to clients.
    pub interval: Duration,
    pub stopping: CancellationToken,
}

/// A client's seat among the others, given back when dropped.
pub(super) struct ClientSeat {
    pub context: Arc<StreamContext>,
    /// Its id in the broadcast; `None` until it joined.
    id: Option<u64>,
}

impl ClientSeat {
    /// # Errors
    /// [`botops_core::error::Code::StreamFull`].
    pub(super) fn take(context: &Arc<StreamContext>) -> Result<Self, Error> {
        context.hub.enter()?;
        Ok(Self { context: context.clone(), id: None })
    }

    /// From here on the client gets what is broadcast.
    pub(super) fn join(
        &mut self,
        wire: SocketWriter,
        last_event: u64,
    ) -> (Arc<ClientConnection>, ClientCursor) {
        let (id, connection, cursor) = self.context.hub.clients.join(wire, last_event);
        self.id = Some(id);
        (connection, cursor)
    }
}

impl Drop for ClientSeat {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.context.hub.clients.leave(id);
        }
        self.context.hub.leave();
    }
}
