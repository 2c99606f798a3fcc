//! The events on disk, with what they leave told: both in one line, so that a kill repeats and loses none.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use botops_bot_server::{EventHistory, EventRing};
use botops_contract::{BotEvent, LARGEST_SEQ};
use botops_core::durable_file;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::observed_state::ObservedState;

/// Events kept for readers that come back; one that was away for longer is told that it missed some.
const KEPT_EVENTS: usize = 1_000;

/// A longer file is written anew with what is kept.
const LONGEST_FILE: u64 = 2 * 1024 * 1024;

/// By how much it grows before what failed is tried again.
const RETRY_AFTER: u64 = 256 * 1024;

/// Handle to the journal; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct AdapterJournal {
    shared: Arc<Mutex<JournalFile>>,
    /// What readers get. Its epoch tells this journal's numbers from those of another: it outlives the process.
    events: EventRing,
}

#[derive(Debug)]
struct JournalFile {
    path: PathBuf,
    file: File,
    /// The file at this path is another one than `file`: it was written anew and not opened yet.
    is_replaced: bool,
    length: u64,
    /// At which length it is written anew: what is kept may be long by itself.
    longest: u64,
    newest_seq: u64,
    /// What the last line says is told; `None` before the first one.
    told: Option<ObservedState>,
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct JournalLine {
    epoch: String,
    /// The number of the newest event up to this line.
    seq: u64,
    events: Vec<BotEvent>,
    told: ObservedState,
}

impl AdapterJournal {
    /// Opens the journal. A last line that was cut is dropped; a file that cannot be read is put aside, and numbers begin
    /// anew under another epoch.
    ///
    /// # Errors
    /// One sentence: the file cannot be opened.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
        let lines: Result<Vec<JournalLine>, _> =
            lines.filter(|line| !line.is_empty()).map(serde_json::from_slice).collect();
        let lines = lines.ok().filter(|lines| numbers_ascend(lines)).unwrap_or_else(|| {
            tracing::error!("{} is damaged: it is put aside, and events are numbered anew", path.display());
            let _ = std::fs::rename(path, path.with_extension("damaged"));
            Vec::new()
        });
        let epoch = lines.last().map_or_else(|| Uuid::now_v7().to_string(), |line| line.epoch.clone());
        let newest_seq = lines.last().map_or(0, |line| line.seq);
        let told = lines.last().map(|line| line.told.clone());
        let events = EventRing::new(&epoch, KEPT_EVENTS);
        lines.into_iter().flat_map(|line| line.events).for_each(|event| events.add_numbered(Arc::new(event)));
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
        let mut length = file.metadata().map_err(failed)?.len();
        if length > whole as u64 {
            file.set_len(whole as u64).map_err(failed)?;
            length = whole as u64;
        }
        let shared = JournalFile {
            path: path.to_owned(),
            file,
            is_replaced: false,
            length,
            longest: LONGEST_FILE,
            newest_seq,
            told,
        };
        Ok(Self { shared: Arc::new(Mutex::new(shared)), events })
    }

    /// What was told so far; `None` before anything was.
    pub(crate) fn told(&self) -> Option<ObservedState> {
        self.lock().told.clone()
    }

    /// What readers of the events get.
    pub(crate) fn events(&self) -> &EventRing {
        &self.events
    }

    /// Numbers events, writes them together with what is told after them, and publishes them.
    ///
    /// # Errors
    /// The error of the file system; nothing is told then, and the same events are found again.
    pub(crate) fn append(&self, events: Vec<BotEvent>, told: &ObservedState) -> io::Result<()> {
        let mut journal = self.lock();
        let is_news = journal.told.as_ref().is_none_or(|saved| told.differs_from(saved));
        if events.is_empty() && !is_news {
            return Ok(());
        }
        let first = journal.newest_seq.saturating_add(1);
        let events: Vec<BotEvent> = (first..)
            .zip(events)
            .map(|(seq, event)| BotEvent { seq, boot_epoch: self.events.epoch().to_owned(), ..event })
            .collect();
        let seq = events.last().map_or(journal.newest_seq, |event| event.seq);
        let line = JournalLine { epoch: self.events.epoch().to_owned(), seq, events, told: told.clone() };
        journal.write_line(&line)?;
        journal.newest_seq = seq;
        journal.told = Some(line.told);
        line.events.into_iter().for_each(|event| self.events.add_numbered(Arc::new(event)));
        if journal.length > journal.longest
            && let Err(error) = journal.compact(&self.events)
        {
            // The line is durable, so the events are told. The file grows a while before this is tried again.
            journal.longest = journal.length + RETRY_AFTER;
            tracing::warn!("the journal of events cannot be written anew, so it grows: {error}");
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, JournalFile> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether each event has a higher number than those before it, and none a number that readers cannot tell from others.
fn numbers_ascend(lines: &[JournalLine]) -> bool {
    let mut newest = 0;
    lines.iter().all(|line| {
        let ascend = line.events.iter().all(|event| event.seq > std::mem::replace(&mut newest, event.seq));
        let is_reached = ascend && line.seq >= newest && line.seq <= LARGEST_SEQ;
        newest = line.seq;
        is_reached
    })
}

impl JournalFile {
    fn write_line(&mut self, line: &JournalLine) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.open_replaced()?;
        if let Err(error) = self.file.write_all(&text).and_then(|()| self.file.sync_data()) {
            // A part of a line would damage the next one.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// Replaces the file by one line with what is kept.
    fn compact(&mut self, kept: &EventRing) -> io::Result<()> {
        let events = kept.events_after(0, KEPT_EVENTS).iter().map(|event| (**event).clone()).collect();
        let told = self.told.clone().unwrap_or_default();
        let line = JournalLine { epoch: kept.epoch().to_owned(), seq: self.newest_seq, events, told };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        durable_file::replace(&self.path, &text, durable_file::PRIVATE, "freqtrade-journal")?;
        self.is_replaced = true;
        self.length = text.len() as u64;
        self.longest = LONGEST_FILE.max(self.length * 2);
        self.open_replaced()
    }

    fn open_replaced(&mut self) -> io::Result<()> {
        if self.is_replaced {
            self.file = OpenOptions::new().append(true).open(&self.path)?;
            self.is_replaced = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(message: &str) -> BotEvent {
        let event = json!({"seq": 0, "kind": "lifecycle", "severity": "low", "message": message});
        serde_json::from_str(&event.to_string()).unwrap()
    }

    fn told(seq: u64) -> ObservedState {
        ObservedState { told_trade_seq: seq, ..ObservedState::default() }
    }

    fn numbers(journal: &AdapterJournal) -> Vec<u64> {
        journal.events().events_after(0, 9_999).iter().map(|event| event.seq).collect()
    }

    #[test]
    fn numbers_and_what_was_told_survive_a_restart_and_a_line_that_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let journal = AdapterJournal::open(&path).unwrap();
        assert_eq!(journal.told(), None);
        journal.append(vec![event("a"), event("b")], &told(1)).unwrap();
        let epoch = journal.events().epoch().to_owned();
        let mut text = std::fs::read(&path).unwrap();
        let length = text.len();
        text.extend_from_slice(b"{\"epoch\":");
        std::fs::write(&path, text).unwrap();
        let again = AdapterJournal::open(&path).unwrap();
        assert_eq!(
            (again.events().epoch(), again.told(), numbers(&again)),
            (epoch.as_str(), Some(told(1)), vec![1, 2])
        );
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length as u64);
        again.append(vec![event("c")], &told(2)).unwrap();
        assert_eq!(numbers(&AdapterJournal::open(&path).unwrap()), [1, 2, 3]);
    }

    #[test]
    fn nothing_new_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let journal = AdapterJournal::open(&path).unwrap();
        journal.append(vec![event("a")], &told(1)).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        journal.append(Vec::new(), &told(1)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    }

    #[test]
    fn a_damaged_file_is_put_aside_under_another_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, "nonsense\n").unwrap();
        let journal = AdapterJournal::open(&path).unwrap();
        assert_eq!((journal.told(), numbers(&journal).len()), (None, 0));
        assert!(path.with_extension("damaged").exists());
        journal.append(vec![event("a")], &told(1)).unwrap();
        assert_eq!(numbers(&AdapterJournal::open(&path).unwrap()), [1]);
    }

    #[test]
    fn a_file_whose_numbers_do_not_ascend_is_put_aside_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        for (from, to) in [("\"seq\":2", "\"seq\":18446744073709551615"), ("\"seq\":2", "\"seq\":1")] {
            let _ = std::fs::remove_file(&path);
            let journal = AdapterJournal::open(&path).unwrap();
            journal.append(vec![event("a"), event("b")], &told(1)).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replace(from, to)).unwrap();
            let again = AdapterJournal::open(&path).unwrap();
            assert_ne!(again.events().epoch(), journal.events().epoch());
            again.append(vec![event("c")], &told(2)).unwrap();
            assert_eq!(numbers(&again), [1]);
        }
    }

    #[test]
    fn a_long_file_is_written_anew_with_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let journal = AdapterJournal::open(&path).unwrap();
        let long = "x".repeat(4_000);
        for round in 0..60 {
            journal.append((0..20).map(|_| event(&long)).collect(), &told(round)).unwrap();
        }
        let newest = numbers(&journal);
        assert_eq!((newest.len(), newest.last()), (KEPT_EVENTS, Some(&1_200)));
        assert_eq!(numbers(&AdapterJournal::open(&path).unwrap()), newest);
    }

    #[test]
    fn a_file_that_cannot_be_written_anew_keeps_no_event_from_being_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let journal = AdapterJournal::open(&path).unwrap();
        // A folder in its place: the file that is open takes lines, and nothing can be moved there.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        journal.lock().longest = 1;
        let latest = journal.events().watch_latest();
        for round in 1..4 {
            journal.append(vec![event("a")], &told(round)).unwrap();
            assert_eq!((*latest.borrow(), numbers(&journal).len() as u64), (round, round));
        }
        assert!(journal.lock().longest > RETRY_AFTER, "it is not tried at each event");
    }
}
