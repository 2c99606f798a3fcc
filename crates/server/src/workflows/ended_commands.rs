//! Commands of runs whose answer did not come: how they ended is added to the run's journal when it is known.
//!
//! The bot is asked elsewhere; here its word is heard as an event. What the run itself came to stays as it was.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::Shared;
use super::journal::Fact;
use crate::events::Event;
use botops_contract::EventKind;

/// Hears of ended commands, until the stop.
pub(super) async fn note_ended_commands(shared: Arc<Shared>) {
    let mut events = shared.world.events.subscribe();
    loop {
        let event = tokio::select! {
            () = shared.stopping.cancelled() => return,
            event = events.recv() => event,
        };
        let event = match event {
            Ok(event) => event,
            // The event itself is in the journal all the same.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let Some((run, fact)) = ended_command(&event) else { continue };
        if let Err(error) = shared.add(&run, &fact).await {
            tracing::warn!(run.id = run, "how a command of run {run} ended is not in its journal: {error}");
        }
    }
}

fn ended_command(event: &Event) -> Option<(String, Fact)> {
    let text = |name: &str| event.data[name].as_str().map(str::to_owned);
    if event.kind != EventKind::Control || event.data["follow_up"] != true {
        return None;
    }
    let fact =
        Fact::CommandEnded { step: text("step")?, outcome: text("outcome")?, says: event.message.clone() };
    Some((text("run_id")?, fact))
}
