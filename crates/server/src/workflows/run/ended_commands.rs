//! Commands whose answer did not come during their run: how they ended is added to the run's journal later.
//!
//! The bot is asked elsewhere; the result arrives here as an event. The result of the run itself does not change.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::facts::RunFact;
use super::journal::RunJournal;
use crate::events::{Event, EventFilter, Events};
use botops_contract::EventKind;

/// How far back events are looked through at the start: what a kill left out is among the newest.
const LOOK_BACK: u64 = 20_000;

/// Events of one look.
const PAGE: usize = 200;

/// Follows the events about ended commands until the stop, beginning with those that an earlier run of botops published
/// and did not add any more.
pub(crate) async fn record_ended_commands(
    journal: Arc<RunJournal>,
    events: Events,
    stopping: CancellationToken,
) {
    let mut arriving = events.subscribe();
    let mut seen = events.latest().saturating_sub(LOOK_BACK).max(events.oldest().saturating_sub(1));
    seen = record_stored(&journal, &events, seen).await;
    loop {
        let event = tokio::select! {
            () = stopping.cancelled() => return,
            event = arriving.recv() => event,
        };
        match event {
            Ok(event) => {
                record_if_ended(&journal, &event).await;
                seen = event.seq;
            }
            // What came too fast is in the journal.
            Err(RecvError::Lagged(_)) => seen = record_stored(&journal, &events, seen).await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// Goes through the events after `seen` in the journal, and returns how far it came.
async fn record_stored(journal: &RunJournal, events: &Events, mut seen: u64) -> u64 {
    loop {
        match events.since(seen, &EventFilter::kind(EventKind::Control), PAGE).await {
            Ok(page) => {
                for event in &page.items {
                    record_if_ended(journal, event).await;
                }
                seen = page.next;
                if !page.more {
                    return seen;
                }
            }
            Err(error) => {
                tracing::warn!("events about ended commands could not be read: {error}");
                return seen;
            }
        }
    }
}

async fn record_if_ended(journal: &RunJournal, event: &Event) {
    let Some((run, fact)) = parse_ended_command(event) else { return };
    if let Err(error) = journal.append_fact_once(&run, &fact).await {
        tracing::warn!(run.id = run, "how a command of run {run} ended is not in its journal: {error}");
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
