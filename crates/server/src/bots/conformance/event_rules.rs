//! The event stream: whether it is one, whether its events can be read, whether it resumes.

use std::time::{Duration, Instant};

use reqwest::{Response, header};

use super::answer_form::notes_on_words;
use super::findings::ConformanceFinding;
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{POLL_LIMIT, failure_finding};
use crate::bots::exchange::{self, TransportFailure};
use crate::bots::link::SseParser;
use crate::bots::reading;
use crate::bots::transport::BotConnection;
use botops_contract::BotEvent;

const CALL: &str = "GET events";

/// Events that are looked at; a stream may have many thousands to catch up with.
const MOST_EVENTS: usize = 200;

/// Bytes that are read of a stream.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A stream that was opened, and what was seen of it.
pub(super) struct EventWatch {
    response: Response,
    parser: SseParser,
    bytes: usize,
    pub events: Vec<BotEvent>,
    pub findings: Vec<ConformanceFinding>,
    has_ended: bool,
}

impl EventWatch {
    /// Opens the stream as botops does, after the event with this id.
    ///
    /// # Errors
    /// A finding that says why there is no stream.
    pub(super) async fn open(
        connection: &BotConnection,
        after: Option<&str>,
    ) -> Result<Self, ConformanceFinding> {
        let mut request = connection.get("events").header(header::ACCEPT, "text/event-stream");
        if let Some(id) = after.and_then(|id| header::HeaderValue::from_str(id).ok()) {
            request = request.header("last-event-id", id);
        }
        let sent = tokio::time::timeout(POLL_LIMIT, exchange::send(request)).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(failure)) => return Err(failure_finding(CALL, failure, POLL_LIMIT)),
            Err(_) => {
                let remedy = "Send the headers at once, before the first event: until then nobody knows that the stream is there.";
                return Err(ConformanceFinding::warning("stream_begins_late", CALL, remedy)
                    .got(&format!("no headers within {} s", POLL_LIMIT.as_secs())));
            }
        };
        let status = response.status().as_u16();
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or("no Content-Type").to_owned();
        if status != 200 || !kind.starts_with("text/event-stream") {
            let remedy = "`events` is on the list of capabilities: answer 200 with Content-Type text/event-stream, then `data: {…}` and an empty line for each event.";
            return Err(
                ConformanceFinding::fault("not_sse", CALL, remedy).got(&format!("status {status}, {kind}"))
            );
        }
        Ok(Self {
            response,
            parser: SseParser::default(),
            bytes: 0,
            events: Vec::new(),
            findings: Vec::new(),
            has_ended: false,
        })
    }

    /// Reads what comes within this time.
    pub(super) async fn watch(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while !self.has_ended && self.events.len() < MOST_EVENTS && self.bytes < MOST_BYTES {
            match tokio::time::timeout_at(end.into(), self.response.chunk()).await {
                Err(_) => return,
                Ok(Ok(Some(chunk))) => {
                    self.bytes += chunk.len();
                    for data in self.parser.push(&chunk) {
                        self.take(data.ok());
                    }
                }
                Ok(Ok(None)) => {
                    self.has_ended = true;
                    let remedy = "The stream ended: keep it open, and send a comment line (`: `) now and then while nothing happens.";
                    self.findings.push(ConformanceFinding::fault("stream_ends", CALL, remedy));
                }
                Ok(Err(_)) => {
                    self.has_ended = true;
                    self.findings.push(failure_finding(CALL, TransportFailure::Cut, POLL_LIMIT));
                }
            }
        }
    }

    fn take(&mut self, data: Option<Vec<u8>>) {
        let Some(data) = data else {
            let remedy = "An event has at most 256 KiB: what is larger is lost.";
            self.findings.push(ConformanceFinding::fault("too_large", CALL, remedy));
            return;
        };
        match reading::read_whole::<BotEvent>(CALL, &data, &[]) {
            Ok(read) => {
                self.findings.extend(read.unreadable.iter().map(fault_of));
                if let (Ok(came), Ok(taken)) =
                    (serde_json::from_slice(&data), serde_json::to_value(&read.value))
                {
                    let words = notes_on_words(CALL, &came, &taken, reading::allowed_words::<BotEvent>);
                    self.findings.extend(words);
                }
                self.events.push(read.value);
            }
            Err(why) => self.findings.extend(faults_of_answer(CALL, &why)),
        }
    }

    /// What is wrong with the events among themselves.
    pub(super) fn check_order(&mut self) {
        let pairs = self.events.iter().zip(self.events.iter().skip(1));
        let wrong = pairs.filter(|(one, two)| one.boot_epoch == two.boot_epoch && two.seq <= one.seq).count();
        if wrong > 0 {
            let remedy = "`seq` of events grows by one from event to event within a start of the bot: an event whose number was seen before is dropped.";
            self.findings.push(ConformanceFinding::fault("event_order", CALL, remedy).at("/seq"));
        }
    }

    /// The id of the newest event, as botops asks with it.
    pub(super) fn newest_id(&self) -> Option<String> {
        let newest = self.events.last()?;
        Some(format!("{}/{}", newest.boot_epoch, newest.seq))
    }
}

/// Comes back to the stream after the newest event that was seen: nothing of before may come again.
pub(super) async fn check_resume(
    connection: &BotConnection,
    seen: &EventWatch,
    time: Duration,
) -> Vec<ConformanceFinding> {
    let Some((newest, id)) = seen.events.last().zip(seen.newest_id()) else { return Vec::new() };
    let mut again = match EventWatch::open(connection, Some(&id)).await {
        Ok(again) => again,
        // The headers of a stream without news may wait for the next event.
        Err(finding) if finding.rule == "stream_begins_late" => return Vec::new(),
        Err(finding) => return vec![finding],
    };
    again.watch(time).await;
    let is_old = |event: &&BotEvent| event.boot_epoch == newest.boot_epoch && event.seq <= newest.seq;
    let repeated = again.events.iter().filter(is_old).count();
    if repeated == 0 {
        return Vec::new();
    }
    let remedy = "Last-Event-ID is ignored, so everything comes again at each connection: send only the events after `<boot_epoch>/<seq>`.";
    vec![
        ConformanceFinding::fault("resume_ignored", CALL, remedy)
            .got(&format!("{repeated} events of before, after {id}")),
    ]
}
