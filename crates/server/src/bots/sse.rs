//! The bot's events, taken over into the journal: each once, in order, and what was lost is said.
//!
//! Follows `GET events` of the bot, whose ids are `<boot_epoch>/<seq>`. The place up to which events were taken over
//! is stored together with each event, so that neither a restart of botops nor one of the bot repeats or skips any
//! without a word. When the store is behind, nothing is read: the bot's own bounded buffer fills, not our memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::header::{self, HeaderValue};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::link::BotLink;
use super::sanitise;
use crate::events::NewEvent;
use botops_contract::{BotEvent, EventKind, Severity};

/// The longest line, and the largest event, that is read; what is longer is counted as lost.
const MAX_EVENT: usize = 256 * 1024;

/// A stream without a byte for this long may be dead; resuming costs nothing.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Between two tries.
const RETRY: Duration = Duration::from_secs(1);

/// More writes than this waiting for the disk: reading pauses.
const MAX_BACKLOG: usize = 2_048;

/// The last event taken over: a life of the bot and a number in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EventCursor {
    boot_epoch: String,
    seq: u64,
}

/// Follows the bot's event stream until the stop.
pub(super) async fn follow(link: Arc<BotLink>, stopping: CancellationToken) {
    let key = format!("bot_events:{}", link.options.id);
    let stored = link.events.bookmark(&key).await.unwrap_or_default();
    let place = stored.and_then(|text| {
        let (boot_epoch, seq) = text.rsplit_once('/')?;
        Some(EventCursor { boot_epoch: boot_epoch.to_owned(), seq: seq.parse().ok()? })
    });
    let mut follower = EventFollower { link, key, place };
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
    place: Option<EventCursor>,
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
        let Some(life) =
            here.ok().and_then(|snapshot| snapshot.hello.as_ref().map(|hello| hello.boot_epoch.clone()))
        else {
            return;
        };
        let Ok(connection) = self.link.connection_for_call("events") else { return };
        let mut request = connection.get("events").header(header::ACCEPT, "text/event-stream");
        let resume = self.place.as_ref().map(|place| format!("{}/{}", place.boot_epoch, place.seq));
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
        loop {
            let chunk = tokio::select! {
                chunk = tokio::time::timeout(IDLE_LIMIT, response.chunk()) => chunk,
                // The stream of an earlier life may stay open without an end.
                _ = changes.wait_for(|snapshot| snapshot.hello.as_ref().is_none_or(|hello| hello.boot_epoch != life)) => return,
            };
            let Ok(Ok(Some(chunk))) = chunk else { return };
            self.link.note_sign_of_life();
            for data in parser.push(&chunk) {
                self.take(data);
            }
            while self.link.store.backlog() > MAX_BACKLOG {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Puts one event of the bot into the journal.
    fn take(&mut self, data: Result<Vec<u8>, EventTooLarge>) {
        let event = data.ok().and_then(|data| serde_json::from_slice::<BotEvent>(&data).ok());
        let Some(mut event) = event else {
            // Its number is unknown; the next event shows that it is missing.
            tracing::warn!(bot.id = %self.link.options.id, "an event of the bot could not be read");
            return;
        };
        sanitise::event(&mut event);
        let known = self.place.as_ref().filter(|place| place.boot_epoch == event.boot_epoch);
        let before = known.map_or(0, |place| place.seq);
        if event.seq <= before {
            return;
        }
        let missing = event.seq - before - 1;
        // Whoever never saw this bot lost nothing by coming late.
        if missing > 0 && self.place.is_some() {
            self.tell_of_gap(&event, missing);
        }
        let bookmark = (self.key.clone(), format!("{}/{}", event.boot_epoch, event.seq));
        self.place = Some(EventCursor { boot_epoch: event.boot_epoch, seq: event.seq });
        self.link.counters.events.fetch_add(1, Ordering::Relaxed);
        self.link.events.publish(NewEvent {
            at: event.at,
            kind: event.kind,
            severity: event.severity,
            source: format!("bot:{}", self.link.options.id),
            message: event.message,
            error: event.error,
            data: event.data,
            bookmark: Some(bookmark),
        });
    }

    fn tell_of_gap(&self, event: &BotEvent, missing: u64) {
        self.link.counters.events_lost.fetch_add(missing, Ordering::Relaxed);
        let id = &self.link.options.id;
        let message = format!(
            "{missing} events of bot {id} were lost: it no longer held them, or they were unreadable"
        );
        tracing::warn!(bot.id = %id, "{message}");
        let data = json!({
            "bot_id": id,
            "lost": missing,
            "boot_epoch": event.boot_epoch,
            "next_seq": event.seq,
        });
        self.link.events.publish(NewEvent::own(EventKind::Lifecycle, Severity::Medium, message, data));
    }
}

/// An event beyond [`MAX_EVENT`]; its bytes are gone.
#[derive(Debug, PartialEq, Eq)]
struct EventTooLarge;

/// Takes a stream of server-sent events apart. Only `data` matters: our ids stand in the data as well.
#[derive(Debug, Default)]
struct SseParser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    too_large: bool,
    after_carriage_return: bool,
}

impl SseParser {
    /// Takes the next bytes; returns the events that are complete now.
    fn push(&mut self, bytes: &[u8]) -> Vec<Result<Vec<u8>, EventTooLarge>> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let second_half = byte == b'\n' && self.after_carriage_return;
            self.after_carriage_return = byte == b'\r';
            if second_half {
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                complete.extend(self.end_of_line());
            } else if self.line.len() < MAX_EVENT {
                self.line.push(byte);
            } else {
                self.too_large = true;
            }
        }
        complete
    }

    fn end_of_line(&mut self) -> Option<Result<Vec<u8>, EventTooLarge>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            let (had_data, too_large) = (self.has_data, self.too_large);
            (self.has_data, self.too_large) = (false, false);
            if too_large {
                return Some(Err(EventTooLarge));
            }
            return had_data.then_some(Ok(data));
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[][..],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            // A comment, an id, or a field that is not ours.
            _ => return None,
        };
        if self.data.len() + value.len() > MAX_EVENT {
            self.too_large = true;
            return None;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        self.has_data = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(|data| Ok(data.as_bytes().to_vec())).collect();
        assert_eq!(SseParser::default().push(stream.as_bytes()), expected, "in one piece");
        let mut parser = SseParser::default();
        let in_bytes: Vec<_> = stream.bytes().flat_map(|byte| parser.push(&[byte])).collect();
        assert_eq!(in_bytes, expected, "byte by byte");
    }

    #[test]
    fn events_end_at_an_empty_line_whatever_the_line_ends() {
        check("id: a/1\ndata: {\"x\":1}\n\ndata:two\n\n", &["{\"x\":1}", "two"]);
        check("data: one\r\n\r\ndata: two\r\rdata: three\n\n", &["one", "two", "three"]);
        check("data: first\ndata: second\n\n", &["first\nsecond"]);
        check("data\n\n", &[""]);
    }

    #[test]
    fn comments_other_fields_and_unfinished_events_are_no_events() {
        check(": keep-alive\n\nevent: fill\n\nretry: 5\n\n", &[]);
        check("data: never finished\n", &[]);
    }

    #[test]
    fn an_event_that_is_too_large_is_dropped_and_the_next_one_is_read() {
        let mut parser = SseParser::default();
        let line = format!("data: {}\n\ndata: next\n\n", "x".repeat(2 * MAX_EVENT));
        assert_eq!(parser.push(line.as_bytes()), [Err(EventTooLarge), Ok(b"next".to_vec())]);
        let many = format!("{}\ndata: next\n\n", "data: 0123456789\n".repeat(MAX_EVENT / 10 + 1));
        assert_eq!(parser.push(many.as_bytes()), [Err(EventTooLarge), Ok(b"next".to_vec())]);
        assert!(parser.line.capacity() <= 2 * MAX_EVENT);
    }
}
