//! `GET events`: the history as server-sent events, then what happens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use botops_contract::BotEvent;
use futures_util::stream::{self, Stream};
use tokio_util::sync::CancellationToken;

use super::source::EventHistory;

/// Events taken at once, so that a stream holds the lock of the history only briefly.
const EVENT_BATCH: usize = 200;

/// The stream after the event that `Last-Event-ID` names; of another epoch, and after a number that was never given,
/// everything that is kept, and what the bot knows to be missing of that epoch before it.
pub(crate) fn event_stream(
    history: Arc<dyn EventHistory>,
    headers: &HeaderMap,
    stopping: CancellationToken,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (epoch, seq) = last.rsplit_once('/').unwrap_or_default();
    let latest = history.watch_latest();
    let newest = *latest.borrow();
    let known = seq.parse().ok().filter(|seq| epoch == history.epoch() && *seq <= newest);
    let of_earlier = seq.parse().ok().filter(|_| epoch != history.epoch());
    let earlier = of_earlier.map(|seq| history.earlier_events(epoch, seq)).unwrap_or_default().into_iter();
    let seq = known.unwrap_or(0);
    let begin = EventHistoryReader { history, seq, latest, earlier, batch: Vec::new().into_iter(), stopping };
    let stream = stream::unfold(begin, async |mut reader| {
        let event = reader.next_event().await?;
        Some((Ok(event_frame(&event)), reader))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)).text("alive"))
}

struct EventHistoryReader {
    history: Arc<dyn EventHistory>,
    seq: u64,
    latest: tokio::sync::watch::Receiver<u64>,
    /// What goes before: its numbers are of other epochs.
    earlier: std::vec::IntoIter<Arc<BotEvent>>,
    batch: std::vec::IntoIter<Arc<BotEvent>>,
    stopping: CancellationToken,
}

impl EventHistoryReader {
    async fn next_event(&mut self) -> Option<Arc<BotEvent>> {
        if let Some(event) = self.earlier.next() {
            return Some(event);
        }
        loop {
            if let Some(event) = self.batch.next() {
                self.seq = event.seq;
                return Some(event);
            }
            self.latest.borrow_and_update();
            self.batch = self.history.events_after(self.seq, EVENT_BATCH).into_iter();
            if self.batch.len() > 0 {
                continue;
            }
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                () = self.stopping.cancelled() => return None,
            }
        }
    }
}

fn event_frame(event: &BotEvent) -> Event {
    let data = serde_json::to_string(event).expect("an event has only JSON values");
    Event::default().id(format!("{}/{}", event.boot_epoch, event.seq)).data(data)
}
