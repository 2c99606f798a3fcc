//! The bot's events, taken over into the journal: each once, in order, and lost ones are reported.
//!
//! Follows `GET events` of the bot, whose ids are `<boot_epoch>/<seq>`. The event up to which they were taken over
//! is stored together with each event, so that neither a restart of botops nor one of the bot repeats or skips any
//! unnoticed. When the store is behind, nothing is read: the bot's own bounded buffer fills, not our memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::Utc;
use reqwest::header::{self, HeaderValue};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::bot_link::BotLink;
use super::event_flood::{EventFlood, FloodChange};
use super::event_sequence::{EventNumberNews, EventSequence};
use super::sse_parser::{EventTooLarge, MAX_EVENT, SseParser};
use crate::bots::reading::{self, TolerantAnswer, UnreadableAnswer, UnreadablePart};
use crate::bots::sanitise;
use crate::events::NewEvent;
use botops_contract::{BotEvent, EventKind, Severity};

/// A stream without a byte for this long may be dead; resuming costs nothing.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The wait between the end of one stream and the next try.
const RETRY: Duration = Duration::from_secs(1);

/// More writes than this waiting for the disk: reading pauses.
const MAX_BACKLOG: usize = 2_048;

/// More bytes of events waiting for the disk: reading pauses as well.
const MAX_BACKLOG_BYTES: usize = 4 * 1024 * 1024;

/// How often the backlog is looked at while reading pauses.
const BACKLOG_CHECK: Duration = Duration::from_millis(20);

const CALL: &str = "GET events";

/// Follows the bot's event stream until the stop.
pub(in crate::bots) async fn follow_events(link: Arc<BotLink>, stopping: CancellationToken) {
    let key = format!("bot_events:{}", link.options.id);
    let stored = link.events.bookmark(&key).await.unwrap_or_default();
    let sequence = stored.and_then(|text| EventSequence::parse(&text));
    let mut follower = EventFollower { link, key, sequence, flood: EventFlood::new(Instant::now()) };
    while !stopping.is_cancelled() {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = follower.read_one_stream() => {}
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

struct EventFollower {
    link: Arc<BotLink>,
    key: String,
    /// The numbers taken over; `None` before the first event of this bot.
    sequence: Option<EventSequence>,
    flood: EventFlood,
}

impl EventFollower {
    /// Waits for the bot, then reads its stream until that ends, in whatever way.
    async fn read_one_stream(&mut self) {
        let mut changes = self.link.changes.subscribe();
        let here = changes
            .wait_for(|snapshot| {
                let capable = snapshot.hello.as_ref().is_some_and(|hello| hello.offers("events"));
                snapshot.presence.answers() && capable
            })
            .await;
        let Some(boot) =
            here.ok().and_then(|snapshot| snapshot.hello.as_ref().map(|hello| hello.boot_epoch.clone()))
        else {
            return;
        };
        let Ok(connection) = self.link.connection_for_call("events") else { return };
        let mut request = connection.get("events").header(header::ACCEPT, "text/event-stream");
        let resume = self.sequence.as_ref().map(EventSequence::last_event_id);
        if let Some(id) = resume.and_then(|id| HeaderValue::from_str(&id).ok()) {
            request = request.header("last-event-id", id);
        }
        let Ok(Ok(mut response)) = tokio::time::timeout(IDLE_LIMIT, request.send()).await else { return };
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        if !response.status().is_success() || !is_stream {
            let status = response.status().as_u16();
            tracing::warn!(bot.id = %self.link.options.id, "the bot's event stream answered status {status}");
            return;
        }
        let mut parser = SseParser::default();
        if let Some(sequence) = &mut self.sequence {
            sequence.begin_stream();
        }
        loop {
            let chunk = tokio::select! {
                chunk = tokio::time::timeout(IDLE_LIMIT, response.chunk()) => chunk,
                // The stream of an earlier boot may stay open without an end.
                _ = changes.wait_for(|snapshot| snapshot.hello.as_ref().is_none_or(|hello| hello.boot_epoch != boot)) => return,
            };
            let Ok(Ok(Some(chunk))) = chunk else { return };
            self.link.record_contact();
            for data in parser.push(&chunk) {
                self.count_event(data.as_ref().map_or(MAX_EVENT, Vec::len));
                self.take_over(data);
            }
            let change = self.flood.advance(Instant::now());
            self.publish_flood(change);
            while self.is_behind() {
                tokio::time::sleep(BACKLOG_CHECK).await;
            }
        }
    }

    /// Whether so much waits for the disk that no more should be read.
    fn is_behind(&self) -> bool {
        let bytes = usize::try_from(self.link.events.unwritten_bytes()).unwrap_or(usize::MAX);
        self.link.store.backlog() > MAX_BACKLOG || bytes > MAX_BACKLOG_BYTES
    }

    fn count_event(&mut self, bytes: usize) {
        let change = self.flood.count_event(bytes, Instant::now());
        self.publish_flood(change);
    }

    /// Tells in the journal that the bot floods it, and that this is over.
    fn publish_flood(&self, change: Option<FloodChange>) {
        let id = &self.link.options.id;
        let (begins, seen) = match change {
            None => return,
            Some(FloodChange::Begins(seen)) => (true, seen),
            Some(FloodChange::Ends(seen)) => (false, seen),
        };
        let (events, bytes, seconds) = (seen.events, seen.bytes, seen.lasted.as_secs().max(1));
        let amount = format!("{events} events with {:.1} MB within {seconds} s", seen.megabytes());
        let message = if begins {
            format!("bot {id} floods the journal: {amount}; older events leave it sooner than otherwise")
        } else {
            format!("the flood of events of bot {id} is over: {amount}")
        };
        tracing::warn!(bot.id = %id, "{message}");
        let data = json!({"event_type": if begins { "flood.begins" } else { "flood.ends" }, "bot_id": id,
            "events": events, "bytes": bytes, "seconds": seconds});
        let severity = if begins { Severity::Medium } else { Severity::Low };
        self.link.events.publish(NewEvent::own(EventKind::Lifecycle, severity, message, data));
    }

    /// Puts one event of the bot into the journal.
    fn take_over(&mut self, data: Result<Vec<u8>, EventTooLarge>) {
        let read = data
            .map_err(|_| UnreadableAnswer::from("it is too large".to_owned()))
            .and_then(|data| reading::read_whole::<BotEvent>(CALL, &data, &[]));
        let TolerantAnswer { value: mut event, unreadable, .. } = match read {
            Ok(read) => read,
            Err(why) => {
                // Its number is unknown; the next event shows that it is missing.
                let whole =
                    || UnreadablePart::new(CALL, "", &why.sentence, "an event of at most 256 KiB in JSON");
                let parts = if why.parts.is_empty() { vec![whole()] } else { why.parts.clone() };
                self.link.add_unreadable_items(&parts);
                return;
            }
        };
        sanitise::event(&mut event);
        self.link.add_unreadable_items(&unreadable);
        let outcome = EventSequence::take(&mut self.sequence, &event.boot_epoch, event.seq);
        if let Some(news) = outcome.news {
            self.publish_number_news(&event, news, outcome.is_new);
        }
        if !outcome.is_new {
            return;
        }
        let bookmark = self.sequence.as_ref().map(|sequence| (self.key.clone(), sequence.to_text()));
        self.link.counters.events.fetch_add(1, Ordering::Relaxed);
        self.link.events.publish(NewEvent {
            at: event.at.unwrap_or_else(Utc::now),
            kind: event.kind,
            severity: event.severity,
            source: format!("bot:{}", self.link.options.id),
            message: event.message,
            error: event.error,
            data: event.data,
            bookmark,
        });
    }

    /// Tells in the journal that the numbers of the bot's events do not follow each other.
    fn publish_number_news(&self, event: &BotEvent, news: EventNumberNews, is_new: bool) {
        let id = &self.link.options.id;
        let (epoch, next) = (&event.boot_epoch, event.seq);
        let (message, data) = match news {
            EventNumberNews::Lost { after, count } => {
                let add = |lost: u64| Some(lost.saturating_add(count));
                let _ =
                    self.link.counters.events_lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
                let message = format!(
                    "{count} events of bot {id} were lost: it no longer held them, or they were unreadable"
                );
                let data = json!({"lost": count, "after_seq": after, "next_seq": next});
                (message, data)
            }
            EventNumberNews::Jumped { from, to } => {
                let message = format!(
                    "the numbers of the events of bot {id} jumped from {from} to {to} within one start (`{epoch}`), further \
                     than any bot comes: the event is taken, and so are later ones with lower numbers"
                );
                (message, json!({"event_type": "event_numbers.jumped", "from_seq": from, "to_seq": to}))
            }
            EventNumberNews::WentBack { from, to } => {
                let becomes =
                    if is_new { "it was not taken before, so it is now" } else { "it was taken before" };
                let message = format!(
                    "the numbers of the events of bot {id} went from {from} to {to} within one start (`{epoch}`): each event \
                     must have the next number; {becomes}, and each number of this start is taken once"
                );
                let event_type = "event_numbers.went_back";
                (
                    message,
                    json!({"event_type": event_type, "from_seq": from, "to_seq": to, "is_taken": is_new}),
                )
            }
        };
        tracing::warn!(bot.id = %id, "{message}");
        let mut data = data;
        data["bot_id"] = json!(id);
        data["boot_epoch"] = json!(epoch);
        self.link.events.publish(NewEvent::own(EventKind::Lifecycle, Severity::Medium, message, data));
    }
}
