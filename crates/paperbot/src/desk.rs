//! The config desk: what config runs, what `HEAD` says, and the one trial there may be.
//!
//! The rule that keeps both sides simple: whenever the bot boots, its timer fires, or it is in doubt, it loads
//! `HEAD` and verifies its hash. A trial lives in memory alone and writes nothing that a restart would load; what
//! is written is how transactions ended, so that a repeated message gets the first answer. Kept from users: the
//! dead-man timer's arithmetic, generations, the outcomes file. Deliberately absent: writing `HEAD`.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::document::{BUILT_IN, Document, Facts, RESTART_ONLY, changed};
use super::{boot_once, durable};
use botops_contract::{
    Activate, CheckVerdict, ConfigAck, ConfigState, Refusal, Settle, TrialState, VersionRef,
};

/// How many endings are remembered.
const ENDINGS: usize = 256;
/// No trial lasts longer: whoever needs more commits.
const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 3600);

/// A document that was read and verified.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    /// Its number and hash.
    pub version: VersionRef,
    /// Its values.
    pub settings: Document,
    /// The document itself, for comparison.
    pub value: Arc<Value>,
}

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    folder: PathBuf,
    outcomes_path: PathBuf,
    /// Where a candidate for the next start lies.
    candidate_path: PathBuf,
    boot_epoch: String,
    /// The symbols of the feed.
    symbols: Vec<String>,
    /// What is in force, restart-only fields as they were at the start.
    running: Loaded,
    /// What the bot would boot from.
    committed: Loaded,
    booted: Arc<Value>,
    head_seen: Option<(u64, i64, i64, u64)>,
    trial: Option<Trial>,
    outcomes: Outcomes,
    /// Something in `outcomes` is not on disk yet.
    unsaved: bool,
}

#[derive(Debug)]
struct Trial {
    txn: String,
    deadline: Instant,
}

/// What is kept on disk about transactions.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Outcomes {
    #[serde(rename = "gen")]
    generation: u64,
    /// Transaction and how it ended: `committed`, `reverted`, `trial_expired`.
    endings: VecDeque<(String, String)>,
}

impl Outcomes {
    fn with(&self, generation: u64, ending: Option<(&str, &str)>) -> Self {
        let mut endings = self.endings.clone();
        endings.extend(ending.map(|(txn, what)| (txn.to_owned(), what.to_owned())));
        while endings.len() > ENDINGS {
            endings.pop_front();
        }
        Self { generation: generation.max(self.generation), endings }
    }
}

/// `HEAD`, as botops writes it.
#[derive(Debug, Deserialize)]
struct Head {
    version: u64,
    sha256: String,
    file: String,
}

/// Something that happened at the desk, for the event stream and the record of effects.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    /// `activated`, `committed`, `reverted`, `trial_expired`.
    pub what: &'static str,
    /// The transaction.
    pub txn: String,
    /// What runs now.
    pub running: VersionRef,
}

/// An answer to a config verb: acknowledged, perhaps with a turn of events, or refused.
pub(super) type Answer = Result<(ConfigAck, Option<Turn>), Refusal>;

fn refuse(code: &str, message: &str, context: Value) -> Refusal {
    Refusal { code: code.to_owned(), message: message.to_owned(), context }
}

fn sha256(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

impl Loaded {
    /// Reads a document's text; the hash is of exactly these bytes.
    fn new(version: u64, text: &str) -> Result<Self, String> {
        let settings = Document::parse(text).map_err(|violation| violation.message)?;
        let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Ok(Self { version: VersionRef { version, sha256: sha256(text) }, settings, value: Arc::new(value) })
    }

    fn built_in() -> Self {
        Self::new(0, BUILT_IN).expect("a test reads the built-in document")
    }
}

impl Desk {
    /// Boots from `HEAD`, or from the built-in document when there is none. A `HEAD` that does not hold is an
    /// error: a bot that cannot verify its limits must not trade. A candidate that was laid down for this start is
    /// booted as a trial, once.
    pub fn boot(
        folder: &Path,
        outcomes_path: &Path,
        boot_epoch: &str,
        symbols: &[String],
    ) -> Result<Self, String> {
        let mut committed = read_head(folder)?.unwrap_or_else(Loaded::built_in);
        committed.settings.fit(symbols);
        let outcomes = match fs::read(outcomes_path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| format!("{}: {error}", outcomes_path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Outcomes::default(),
            Err(error) => return Err(format!("{}: {error}", outcomes_path.display())),
        };
        let candidate_path = outcomes_path.with_file_name("config-boot-once.json");
        let mut desk = Self {
            folder: folder.to_owned(),
            outcomes_path: outcomes_path.to_owned(),
            candidate_path,
            boot_epoch: boot_epoch.to_owned(),
            symbols: symbols.to_vec(),
            running: committed.clone(),
            booted: committed.value.clone(),
            committed,
            head_seen: head_stamp(folder),
            trial: None,
            outcomes,
            unsaved: false,
        };
        if let Err(problem) = desk.boot_candidate() {
            tracing::error!("the candidate for this start is not booted, HEAD is: {problem}");
        }
        Ok(desk)
    }

    fn boot_candidate(&mut self) -> Result<(), String> {
        let found = boot_once::spend(&self.candidate_path, &self.committed.version, Utc::now());
        let Some(candidate) = found.map_err(|error| error.to_string())? else { return Ok(()) };
        if self.ending(&candidate.txn).is_some() {
            return Ok(());
        }
        let mut loaded = Loaded::new(candidate.version.version, &candidate.document)?;
        if loaded.version.sha256 != candidate.version.sha256 {
            return Err("it does not have its hash".to_owned());
        }
        loaded.settings.fit(&self.symbols);
        let ttl = Duration::from_millis(candidate.ttl_ms).min(LONGEST_TRIAL);
        tracing::info!("config v{} is booted once, on trial ({})", loaded.version.version, candidate.txn);
        self.trial = Some(Trial { txn: candidate.txn, deadline: Instant::now() + ttl });
        self.booted = loaded.value.clone();
        self.running = loaded;
        Ok(())
    }

    /// The values in force.
    pub fn settings(&self) -> &Document {
        &self.running.settings
    }

    /// The document in force.
    pub fn running(&self) -> &Loaded {
        &self.running
    }

    /// When the trial ends by itself, if one runs.
    pub fn deadline(&self) -> Option<Instant> {
        self.trial.as_ref().map(|trial| trial.deadline)
    }

    /// Everything `GET config` says.
    pub fn state(&self, now: Instant) -> ConfigState {
        ConfigState {
            boot_epoch: self.boot_epoch.clone(),
            running: self.running.version.clone(),
            committed: self.committed.version.clone(),
            trial: self.trial.as_ref().map(|trial| TrialState {
                txn: trial.txn.clone(),
                candidate: self.running.version.clone(),
                ttl_left_ms: u64::try_from(trial.deadline.saturating_duration_since(now).as_millis())
                    .unwrap_or(u64::MAX),
            }),
            pending_restart: pending_restart(&self.booted, &self.running.value),
            last_outcome: self.outcomes.endings.back().cloned(),
            generation: self.outcomes.generation,
        }
    }

    /// Runs a document as a trial.
    pub fn activate(&mut self, message: &Activate, facts: &Facts, now: Instant) -> Answer {
        self.fence(message.generation)?;
        if self.trial.as_ref().is_some_and(|trial| trial.txn == message.txn) {
            return Ok((self.ack(&message.txn), None));
        }
        if let Some(ending) = self.ending(&message.txn) {
            let context = json!({"outcome": ending, "running": self.running.version});
            return Err(refuse("txn_over", "this transaction has ended; it does not start again", context));
        }
        if let Some(trial) = &self.trial {
            let context = json!({"txn": trial.txn, "running": self.running.version});
            return Err(refuse("trial_live", "another trial runs", context));
        }
        if message.base.sha256 != self.running.version.sha256 {
            let context = json!({"running": self.running.version});
            return Err(refuse("base_mismatch", "something else runs than the change is based on", context));
        }
        if sha256(&message.document) != message.candidate.sha256 {
            let context = json!({"running": self.running.version});
            return Err(refuse("hash_mismatch", "the document does not have the candidate's hash", context));
        }
        if message.ttl_ms == 0 {
            return Err(refuse("ttl_invalid", "a trial needs a time to live", Value::Null));
        }
        let verdict = verdict(&self.running.value, &message.document, facts);
        if !verdict.ok {
            return Err(refuse("check_failed", "the bot would not run this document", json!(verdict)));
        }
        let mut candidate = Loaded::new(message.candidate.version, &message.document)
            .map_err(|error| refuse("check_failed", &error, Value::Null))?;
        self.remember(message.generation, None)?;
        if message.boot_once {
            return self.lay_down(message);
        }
        self.fit(&mut candidate);
        let ttl = Duration::from_millis(message.ttl_ms).min(LONGEST_TRIAL);
        self.trial = Some(Trial { txn: message.txn.clone(), deadline: now + ttl });
        self.running = candidate;
        Ok((self.ack(&message.txn), Some(self.turn("activated", &message.txn))))
    }

    /// Keeps a candidate for the next start; until then nothing changes.
    fn lay_down(&self, message: &Activate) -> Answer {
        if boot_once::was_tried(&self.candidate_path, &message.txn) {
            let context = json!({"running": self.running.version});
            return Err(refuse("txn_over", "this transaction was booted once already", context));
        }
        boot_once::lay_down(&self.candidate_path, message, Utc::now()).map_err(|error| {
            refuse("not_recorded", &format!("the bot cannot keep the candidate: {error}"), Value::Null)
        })?;
        Ok((self.ack(&message.txn), None))
    }

    fn take_candidate_away(&self) {
        if let Err(error) = boot_once::take_away(&self.candidate_path) {
            tracing::warn!("a candidate for the next start cannot be removed: {error}");
        }
    }

    /// Ends a trial for good: `HEAD` must name the candidate by now.
    pub fn commit(&mut self, message: &Settle) -> Answer {
        self.fence(message.generation)?;
        if !self.in_trial(&message.txn) {
            return match self.ending(&message.txn) {
                Some("committed") => Ok((self.ack(&message.txn), None)),
                _ => Err(self.not_in_trial()),
            };
        }
        let head = self.load_head().map_err(|error| refuse("head_invalid", &error, Value::Null))?;
        if head.version.sha256 != self.running.version.sha256 {
            let context = json!({"running": self.running.version, "head": head.version});
            return Err(refuse("head_mismatch", "HEAD does not name the document on trial", context));
        }
        self.remember(message.generation, Some((&message.txn, "committed")))?;
        self.take_candidate_away();
        self.trial = None;
        self.running.version = head.version.clone();
        self.committed = head;
        Ok((self.ack(&message.txn), Some(self.turn("committed", &message.txn))))
    }

    /// Ends a trial and goes back to `HEAD`.
    pub fn revert(&mut self, message: &Settle) -> Answer {
        self.fence(message.generation)?;
        if !self.in_trial(&message.txn) {
            if self.trial.is_some() || self.ending(&message.txn) == Some("committed") {
                return Err(self.not_in_trial());
            }
            self.take_candidate_away();
            // An activation of this transaction that is still on its way must not start it any more.
            if self.ending(&message.txn).is_none() {
                self.remember(message.generation, Some((&message.txn, "reverted")))?;
            }
            return Ok((self.ack(&message.txn), None));
        }
        self.go_back();
        self.take_candidate_away();
        self.trial = None;
        self.remember_anyway(message.generation, &message.txn, "reverted");
        Ok((self.ack(&message.txn), Some(self.turn("reverted", &message.txn))))
    }

    /// Ends the trial when its time is over: back to `HEAD`, or to stay when `HEAD` names it meanwhile.
    pub fn expire(&mut self, now: Instant) -> Option<Turn> {
        let txn = self.trial.take_if(|trial| now >= trial.deadline)?.txn;
        let candidate = self.running.version.sha256.clone();
        self.go_back();
        self.take_candidate_away();
        let what = if self.running.version.sha256 == candidate { "committed" } else { "trial_expired" };
        self.remember_anyway(self.outcomes.generation, &txn, what);
        Some(self.turn(what, &txn))
    }

    /// Looks whether `HEAD` was replaced. What runs does not change by it, except for the number of the very same
    /// bytes; a difference shows as drift in the state.
    pub fn look_at_head(&mut self) -> Result<(), String> {
        let stamp = head_stamp(&self.folder);
        if stamp == self.head_seen {
            return Ok(());
        }
        self.head_seen = stamp;
        self.committed = self.load_head()?;
        if self.trial.is_none() && self.committed.version.sha256 == self.running.version.sha256 {
            self.running.version = self.committed.version.clone();
        }
        Ok(())
    }

    fn fence(&self, generation: u64) -> Result<(), Refusal> {
        if generation >= self.outcomes.generation {
            return Ok(());
        }
        let context = json!({"gen": self.outcomes.generation});
        Err(refuse("older_generation", "a newer server has spoken already", context))
    }

    /// Puts a generation and an ending on disk before they count.
    fn remember(&mut self, generation: u64, ending: Option<(&str, &str)>) -> Result<(), Refusal> {
        if ending.is_none() && generation == self.outcomes.generation && !self.unsaved {
            return Ok(());
        }
        let next = self.outcomes.with(generation, ending);
        self.store(&next).map_err(|error| {
            refuse("not_recorded", &format!("the bot cannot record the outcome: {error}"), Value::Null)
        })?;
        self.outcomes = next;
        self.unsaved = false;
        Ok(())
    }

    /// The same for what has happened anyway: going back must work on a full disk too.
    fn remember_anyway(&mut self, generation: u64, txn: &str, what: &str) {
        self.outcomes = self.outcomes.with(generation, Some((txn, what)));
        self.unsaved = true;
        if let Err(error) = self.save() {
            tracing::warn!("config transaction {txn} ended as {what}, not recorded yet: {error}");
        }
    }

    /// Puts on disk what could not be put there when it happened.
    pub fn save(&mut self) -> io::Result<()> {
        if self.unsaved {
            self.store(&self.outcomes)?;
            self.unsaved = false;
        }
        Ok(())
    }

    fn store(&self, outcomes: &Outcomes) -> io::Result<()> {
        durable::replace(&self.outcomes_path, &serde_json::to_vec(outcomes)?)
    }

    fn ending(&self, txn: &str) -> Option<&str> {
        let mut newest_first = self.outcomes.endings.iter().rev();
        newest_first.find(|(of, _)| of == txn).map(|(_, ending)| ending.as_str())
    }

    fn in_trial(&self, txn: &str) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.txn == txn)
    }

    fn not_in_trial(&self) -> Refusal {
        let context = json!({"running": self.running.version});
        refuse("not_in_trial", "this transaction is not on trial", context)
    }

    fn ack(&self, txn: &str) -> ConfigAck {
        ConfigAck {
            txn: txn.to_owned(),
            running: self.running.version.clone(),
            boot_epoch: self.boot_epoch.clone(),
        }
    }

    fn turn(&self, what: &'static str, txn: &str) -> Turn {
        Turn { what, txn: txn.to_owned(), running: self.running.version.clone() }
    }

    fn load_head(&self) -> Result<Loaded, String> {
        Ok(read_head(&self.folder)?.unwrap_or_else(Loaded::built_in))
    }

    /// Loads `HEAD`; what was committed before stays in force when `HEAD` does not hold.
    fn go_back(&mut self) {
        match self.load_head() {
            Ok(head) => self.committed = head,
            Err(error) => tracing::error!("HEAD does not hold, the last good config stays: {error}"),
        }
        let mut back = self.committed.clone();
        self.fit(&mut back);
        self.running = back;
    }

    /// Makes a document fit this life: the feed's symbols, and restart-only fields as they were at the start.
    fn fit(&self, loaded: &mut Loaded) {
        loaded.settings.fit(&self.symbols);
        let seconds = RESTART_ONLY[0];
        if let Some(seconds) = self.booted.pointer(seconds).and_then(Value::as_u64) {
            loaded.settings.order_management.poll_interval_seconds =
                u32::try_from(seconds).unwrap_or(u32::MAX);
        }
    }
}

/// Whether the bot would take a document, and which changes would wait for a restart. Pure.
pub(super) fn verdict(running: &Value, document: &str, facts: &Facts) -> CheckVerdict {
    let violations = match Document::parse(document) {
        Ok(settings) => settings.violations(facts),
        Err(violation) => vec![violation],
    };
    let candidate: Value = serde_json::from_str(document).unwrap_or(Value::Null);
    let changes = if violations.is_empty() { changed(running, &candidate) } else { Vec::new() };
    let (restart, hot) = changes.into_iter().partition(|pointer| RESTART_ONLY.contains(&pointer.as_str()));
    CheckVerdict { ok: violations.is_empty(), violations, hot, restart }
}

fn pending_restart(booted: &Value, running: &Value) -> Vec<String> {
    let waits = |pointer: &&str| booted.pointer(pointer) != running.pointer(pointer);
    RESTART_ONLY.iter().filter(|pointer| waits(pointer)).map(|pointer| (*pointer).to_owned()).collect()
}

fn head_stamp(folder: &Path) -> Option<(u64, i64, i64, u64)> {
    let head = fs::metadata(folder.join("HEAD")).ok()?;
    Some((head.ino(), head.mtime(), head.mtime_nsec(), head.size()))
}

/// The document that `HEAD` names, verified, or `None` without a `HEAD`.
fn read_head(folder: &Path) -> Result<Option<Loaded>, String> {
    let path = folder.join("HEAD");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let head: Head =
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    let named = Path::new(&head.file);
    if !named.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("{} names a file outside its folder", path.display()));
    }
    let file =
        if named.components().count() > 1 { folder.join(named) } else { folder.join("versions").join(named) };
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let loaded = Loaded::new(head.version, &text).map_err(|error| format!("{}: {error}", file.display()))?;
    if loaded.version.sha256 != head.sha256.to_ascii_lowercase() {
        return Err(format!("{} does not have the hash that HEAD says", file.display()));
    }
    Ok(Some(loaded))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct House {
        folder: tempfile::TempDir,
        facts: Facts,
    }

    fn document(trades: u32) -> String {
        BUILT_IN.replace("\"max_trades_per_day\": 100", &format!("\"max_trades_per_day\": {trades}"))
    }

    fn version(number: u64, text: &str) -> VersionRef {
        VersionRef { version: number, sha256: sha256(text) }
    }

    impl House {
        fn new() -> Self {
            let symbols = ["SPY", "QQQ", "AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META"];
            let facts = Facts { symbols: symbols.map(str::to_owned).to_vec(), ..Facts::default() };
            Self { folder: tempfile::tempdir().unwrap(), facts }
        }

        fn boot(&self) -> Desk {
            Desk::boot(self.folder.path(), &self.folder.path().join("outcomes"), "life", &self.facts.symbols)
                .unwrap()
        }

        fn write_head(&self, number: u64, text: &str) {
            fs::create_dir_all(self.folder.path().join("versions")).unwrap();
            fs::write(self.folder.path().join("versions/v.json"), text).unwrap();
            let head = json!({"version": number, "sha256": sha256(text), "file": "v.json"});
            fs::write(self.folder.path().join("HEAD"), head.to_string()).unwrap();
        }

        fn activate(&self, desk: &mut Desk, txn: &str, text: &str, now: Instant) -> Answer {
            let message = Activate {
                txn: txn.to_owned(),
                generation: 1,
                base: desk.running().version.clone(),
                candidate: version(2, text),
                document: text.to_owned(),
                ttl_ms: 1_000,
                boot_once: false,
            };
            desk.activate(&message, &self.facts, now)
        }
    }

    fn settle(txn: &str, generation: u64) -> Settle {
        Settle { txn: txn.to_owned(), generation }
    }

    fn code(answer: Answer) -> String {
        answer.unwrap_err().code
    }

    #[test]
    fn a_trial_that_nobody_commits_ends_in_head() {
        let house = House::new();
        house.write_head(1, BUILT_IN);
        let mut desk = house.boot();
        let now = Instant::now();
        house.activate(&mut desk, "a", &document(7), now).unwrap();
        assert_eq!(desk.settings().trading.max_trades_per_day, 7);
        assert!(desk.expire(now).is_none());
        let turn = desk.expire(now + Duration::from_secs(2)).unwrap();
        assert_eq!((turn.what, turn.running.version), ("trial_expired", 1));
        assert_eq!(code(desk.commit(&settle("a", 1))), "not_in_trial");
        assert_eq!(code(house.activate(&mut desk, "a", &document(7), now)), "txn_over");
    }

    #[test]
    fn a_trial_that_head_names_by_then_stays() {
        let house = House::new();
        let mut desk = house.boot();
        let now = Instant::now();
        house.activate(&mut desk, "a", &document(7), now).unwrap();
        house.write_head(2, &document(7));
        assert_eq!(desk.expire(now + Duration::from_secs(2)).unwrap().what, "committed");
        assert!(desk.commit(&settle("a", 1)).is_ok());
        assert_eq!(house.boot().settings().trading.max_trades_per_day, 7);
    }

    #[test]
    fn commit_verifies_head_and_is_repeatable() {
        let house = House::new();
        let mut desk = house.boot();
        house.activate(&mut desk, "a", &document(7), Instant::now()).unwrap();
        assert_eq!(code(desk.commit(&settle("a", 1))), "head_mismatch");
        house.write_head(2, &document(7));
        assert!(desk.commit(&settle("a", 1)).unwrap().1.is_some());
        assert!(desk.commit(&settle("a", 1)).unwrap().1.is_none());
        assert!(desk.commit(&settle("a", 2)).is_ok());
        assert_eq!(code(desk.revert(&settle("a", 2))), "not_in_trial");
    }

    #[test]
    fn an_older_generation_and_a_second_trial_are_refused() {
        let house = House::new();
        let mut desk = house.boot();
        let now = Instant::now();
        house.activate(&mut desk, "a", &document(7), now).unwrap();
        assert_eq!(code(house.activate(&mut desk, "b", &document(8), now)), "trial_live");
        assert!(house.activate(&mut desk, "a", &document(7), now).unwrap().1.is_none());
        desk.revert(&settle("a", 5)).unwrap();
        assert_eq!(code(desk.revert(&settle("a", 4))), "older_generation");
        assert_eq!(code(house.boot().revert(&settle("a", 4))), "older_generation");
    }

    #[test]
    fn a_revert_that_overtakes_its_activation_wins() {
        let house = House::new();
        let mut desk = house.boot();
        desk.revert(&settle("a", 1)).unwrap();
        assert_eq!(code(house.activate(&mut desk, "a", &document(7), Instant::now())), "txn_over");
    }

    #[test]
    fn a_head_that_does_not_hold_refuses_the_start() {
        let house = House::new();
        house.write_head(1, BUILT_IN);
        fs::write(house.folder.path().join("versions/v.json"), document(7)).unwrap();
        let refused = Desk::boot(house.folder.path(), &house.folder.path().join("outcomes"), "life", &[]);
        assert!(refused.unwrap_err().contains("hash"));
    }

    #[test]
    fn a_restart_only_field_waits_and_says_so() {
        let house = House::new();
        let mut desk = house.boot();
        let slower = BUILT_IN.replace("\"poll_interval_seconds\": 15", "\"poll_interval_seconds\": 60");
        house.activate(&mut desk, "a", &slower, Instant::now()).unwrap();
        assert_eq!(desk.settings().order_management.poll_interval_seconds, 15);
        assert_eq!(desk.state(Instant::now()).pending_restart, RESTART_ONLY);
    }

    /// A candidate laid down for the next start, with a slower poll interval.
    fn lay_down(house: &House, desk: &mut Desk) -> Answer {
        let text = BUILT_IN.replace("\"poll_interval_seconds\": 15", "\"poll_interval_seconds\": 60");
        let message = Activate {
            txn: "a".to_owned(),
            generation: 1,
            base: desk.running().version.clone(),
            candidate: version(2, &text),
            document: text,
            ttl_ms: 1_000,
            boot_once: true,
        };
        desk.activate(&message, &house.facts, Instant::now())
    }

    fn seconds(desk: &Desk) -> u32 {
        desk.settings().order_management.poll_interval_seconds
    }

    #[test]
    fn a_candidate_is_booted_once_and_then_head() {
        let house = House::new();
        let mut first = house.boot();
        lay_down(&house, &mut first).unwrap();
        assert_eq!((seconds(&first), first.state(Instant::now()).trial), (15, None), "nothing changes yet");
        // Killed before the start spent the try, the next start has it.
        let second = house.boot();
        assert_eq!(seconds(&second), 60);
        assert_eq!(second.state(Instant::now()).trial.unwrap().txn, "a");
        assert_eq!(second.state(Instant::now()).pending_restart, Vec::<String>::new());
        // Killed after that, at any moment.
        let mut third = house.boot();
        assert_eq!((seconds(&third), third.state(Instant::now()).trial), (15, None));
        assert_eq!(code(lay_down(&house, &mut third)), "txn_over", "it does not get a second try");
        assert_eq!(seconds(&house.boot()), 15);
    }

    #[test]
    fn a_candidate_that_was_taken_back_is_not_booted() {
        let house = House::new();
        let mut desk = house.boot();
        lay_down(&house, &mut desk).unwrap();
        desk.revert(&settle("a", 1)).unwrap();
        assert_eq!(seconds(&house.boot()), 15);
    }

    #[test]
    fn a_candidate_of_another_base_or_another_time_is_not_booted() {
        let house = House::new();
        let mut desk = house.boot();
        lay_down(&house, &mut desk).unwrap();
        house.write_head(2, &document(7));
        assert_eq!(house.boot().settings().trading.max_trades_per_day, 7);
        let (path, head) = (house.folder.path().join("config-boot-once.json"), version(0, BUILT_IN));
        let at = |minutes| Utc::now() + chrono::TimeDelta::minutes(minutes);
        assert!(boot_once::spend(&path, &head, at(-5)).unwrap().is_none(), "the clock went back");
        assert!(boot_once::spend(&path, &head, at(11)).unwrap().is_none(), "it waited too long");
        assert!(boot_once::spend(&path, &head, at(5)).unwrap().is_some());
    }

    #[test]
    fn a_booted_candidate_becomes_permanent_or_leaves_its_fields_pending() {
        let house = House::new();
        let mut desk = house.boot();
        lay_down(&house, &mut desk).unwrap();
        let mut desk = house.boot();
        desk.expire(Instant::now() + Duration::from_secs(2)).unwrap();
        assert_eq!(desk.state(Instant::now()).pending_restart, RESTART_ONLY, "until it is started again");
        let house = House::new();
        lay_down(&house, &mut house.boot()).unwrap();
        let mut desk = house.boot();
        let text = BUILT_IN.replace("\"poll_interval_seconds\": 15", "\"poll_interval_seconds\": 60");
        house.write_head(2, &text);
        desk.commit(&settle("a", 1)).unwrap();
        assert_eq!((seconds(&desk), seconds(&house.boot())), (60, 60));
    }
}
