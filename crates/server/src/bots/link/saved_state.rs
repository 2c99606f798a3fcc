//! The last good report as it is stored, so that a later run of botops knows it when the bot is dead by then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::bots::presence::Presence;
use crate::bots::process::{BotProcesses, ProcessId};
use crate::bots::restart_proof::UnaskedRestart;
use crate::bots::snapshot::{BotSnapshot, DroppedItems};
use crate::store::{Store, get_value, put_value};
use botops_contract::{BotId, BotReport, Hello};
use botops_core::error::Error;

/// A small report is stored at most this often; a larger one accordingly less.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// The size of report that is stored each [`SAVE_EVERY`].
const SAVE_BYTES: usize = 64 * 1024;

/// The last good report as it is stored between runs of botops.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedBotState {
    hello: Hello,
    report: BotReport,
    received_at: DateTime<Utc>,
    /// As an older botops wrote it: the one process that it knew.
    #[serde(default, skip_serializing)]
    process: Option<ProcessId>,
    #[serde(default)]
    processes: BotProcesses,
    /// Processes of earlier starts that may run on.
    #[serde(default)]
    earlier: Vec<ProcessId>,
}

impl SavedBotState {
    /// Reads what an earlier run of botops stored.
    pub(super) async fn load(id: &BotId, store: &Store) -> Result<Option<Self>, Error> {
        let key = saved_key(id);
        let saved = store.read(move |connection| Ok(get_value(connection, &key)?)).await?;
        // What an older botops wrote and this one cannot read is as good as nothing.
        Ok(saved.and_then(|text| serde_json::from_str(&text).ok()))
    }

    pub(super) fn earlier_processes(&self) -> Vec<ProcessId> {
        self.earlier.clone()
    }

    pub(super) fn known_processes(&self) -> BotProcesses {
        let mut processes = self.processes.clone();
        // The bot alone may have said so, so it is never touched.
        processes.claimed = processes.claimed.or(self.process);
        processes
    }
}

/// What is known before the first poll: what an earlier run of botops knew.
pub(super) fn first_snapshot(id: &BotId, saved: Option<&SavedBotState>) -> BotSnapshot {
    let now = Instant::now();
    let age = saved.and_then(|saved| (Utc::now() - saved.received_at).to_std().ok());
    BotSnapshot {
        id: id.clone(),
        hello: saved.map(|saved| Arc::new(saved.hello.clone())),
        report: saved.map(|saved| Arc::new(saved.report.clone())),
        dropped: DroppedItems::default(),
        unreadable: Arc::default(),
        unreadable_more: 0,
        presence: if saved.is_some() { Presence::Unreachable } else { Presence::NeverSeen },
        presence_reason: "botops has only just started and has not asked it yet".to_owned(),
        since: Utc::now(),
        received: age.and_then(|age| now.checked_sub(age)),
        received_at: saved.map(|saved| saved.received_at),
        as_of_seen: None,
        tick_seen: None,
        next_poll: now,
        poll_latency: None,
        polls: 0,
        absence: None,
        unasked_restart: Arc::new(UnaskedRestart::not_asked_yet()),
        other_processes: None,
        operator: Arc::default(),
        contradictions: Arc::default(),
    }
}

/// When the report is stored next.
#[derive(Debug, Default)]
pub(super) struct ReportSaver {
    saved_at: Option<Instant>,
    unsaved: bool,
    bytes: usize,
}

impl ReportSaver {
    /// There is something new to store: a report of this size, or a confirmation of the last one.
    pub(super) fn record_change(&mut self, report_bytes: Option<usize>) {
        self.unsaved = true;
        self.bytes = report_bytes.unwrap_or(self.bytes);
    }

    /// Stores what is known when it is due, or at once.
    pub(super) fn save(
        &mut self,
        snapshot: &BotSnapshot,
        processes: BotProcesses,
        earlier: Vec<ProcessId>,
        store: &Store,
        at_once: bool,
    ) {
        let times = u32::try_from(self.bytes / SAVE_BYTES + 1).unwrap_or(u32::MAX);
        let due = self.saved_at.is_none_or(|at| at.elapsed() >= SAVE_EVERY.saturating_mul(times));
        if !self.unsaved || !(due || at_once) {
            return;
        }
        let (Some(hello), Some(report), Some(received_at)) =
            (&snapshot.hello, &snapshot.report, snapshot.received_at)
        else {
            return;
        };
        let saved = SavedBotState {
            hello: Hello::clone(hello),
            report: BotReport::clone(report),
            received_at,
            process: None,
            processes,
            earlier,
        };
        let Ok(text) = serde_json::to_string(&saved) else { return };
        self.unsaved = false;
        self.saved_at = Some(Instant::now());
        let key = saved_key(&snapshot.id);
        store.post("the bot's last state", move |connection| Ok(put_value(connection, &key, &text)?));
    }
}

fn saved_key(id: &BotId) -> String {
    format!("bot_seen:{id}")
}
