//! What the loop tells the world, without ever waiting for it.
//!
//! The state is a picture that is swapped in whole; events and trades go into a queue that a recorder empties. The
//! loop holds no lock that a reader of either could hold. Deliberately absent: a way back. Commands come in elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::document::Facts;
use super::journal::TradeRecord;
use botops_contract::{BotEvent, BotReport, CommandResult, ConfigState, Trade, Verb};

/// One picture of the bot.
#[derive(Debug)]
pub(super) struct Picture {
    /// The state as the contract has it.
    pub report: BotReport,
    /// The config desk.
    pub config: ConfigState,
    /// The document in force, to compare candidates with.
    pub running: Arc<Value>,
    /// What a candidate must fit.
    pub facts: Facts,
    /// The first answers to commands, by their id.
    pub answers: Arc<HashMap<String, (Verb, CommandResult)>>,
    body: OnceLock<Bytes>,
}

impl Picture {
    /// A picture of this moment.
    pub fn new(
        report: BotReport,
        config: ConfigState,
        running: Arc<Value>,
        facts: Facts,
        answers: Arc<HashMap<String, (Verb, CommandResult)>>,
    ) -> Self {
        Self { report, config, running, facts, answers, body: OnceLock::new() }
    }

    /// The validator of the state.
    pub fn etag(&self) -> String {
        format!("\"{}-{}\"", self.report.boot_epoch, self.report.seq)
    }

    /// The state as JSON, written once however often it is read.
    pub fn body(&self) -> Bytes {
        let write = || serde_json::to_vec(&self.report).expect("a report has only JSON values").into();
        self.body.get_or_init(write).clone()
    }
}

/// Something for the recorder.
#[derive(Debug)]
pub(super) enum Word {
    /// For the event stream and the log.
    Event(Arc<BotEvent>),
    /// For `GET trades`.
    Trade(Arc<Trade>),
    /// For the trade log.
    Record(Box<TradeRecord>),
}

/// The loop's way out.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Where readers find the picture; set as soon as there is a first one.
    pub picture: Option<Arc<ArcSwap<Picture>>>,
    words: UnboundedSender<Word>,
}

impl Outbox {
    /// A way out to the recorder.
    pub fn new(words: UnboundedSender<Word>) -> Self {
        Self { picture: None, words }
    }

    /// Replaces the picture.
    pub fn show(&self, picture: Picture) {
        if let Some(place) = &self.picture {
            place.store(Arc::new(picture));
        }
    }

    /// Queues a word; after the recorder's end it is dropped.
    pub fn say(&self, word: Word) {
        let _ = self.words.send(word);
    }
}
