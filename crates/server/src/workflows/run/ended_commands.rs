//! Commands whose answer did not come during their run: how they ended is added to the run's journal later.
//!
//! The bot is asked elsewhere; the result arrives here as an event. The result of the run itself does not change.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::facts::RunFact;
use super::journal::RunJournal;
use crate::events::{Event, Events};
use botops_contract::EventKind;

/// Follows the events about ended commands until the stop.
pub(crate) async fn record_ended_commands(
    journal: Arc<RunJournal>,
    events: Events,
    stopping: CancellationToken,
) {
    let mut arriving = events.subscribe();
    loop {
        let event = tokio::select! {
            () = stopping.cancelled() => return,
            event = arriving.recv() => event,
        };
        let event = match event {
            Ok(event) => event,
            // A lost event is still in the event journal; only the run's own journal lacks it.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let Some((run, fact)) = parse_ended_command(&event) else { continue };
        if let Err(error) = journal.append_fact(&run, &fact).await {
            tracing::warn!(run.id = run, "how a command of run {run} ended is not in its journal: {error}");
        }
    }
}

fn parse_ended_command(event: &Event) -> Option<(String, RunFact)> {
    let text = |name: &str| event.data[name].as_str().map(str::to_owned);
    if event.kind != EventKind::Control || event.data["follow_up"] != true {
        return None;
    }
    let fact =
        RunFact::CommandEnded { step: text("step")?, outcome: text("outcome")?, says: event.message.clone() };
    Some((text("run_id")?, fact))
}
