//! The config slot: which config runs, which one `HEAD` names, and at most one trial.
//!
//! `HEAD` is loaded and its hash verified at a start, at the end of a trial, and when it is replaced. A trial is kept
//! in memory and writes nothing that a restart would load, except for a candidate that is meant for the next start.
//! How transactions ended is written, so that a repeated message gets the first answer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::{Value, json};

use super::boot_once;
use super::check::{check_candidate, pending_restart};
use super::document::{BotConfig, CheckFacts};
use super::head::{HeadStamp, LoadedConfig, holds_versions};
use super::last_config::{LastConfig, LastConfigFile};
use super::outcomes::TrialOutcomes;
use botops_contract::{
    ActivateConfigRequest, ConfigAck, ConfigState, ContractRefusal, EndTrialRequest, TrialState, VersionRef,
};
use botops_core::text::sha256_hex;

/// The longest trial; a change that is wanted for longer has to be committed.
const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 3600);

/// The running config, the committed one, and the trial.
#[derive(Debug)]
pub(crate) struct ConfigSlot {
    folder: PathBuf,
    /// The file of a candidate for the next start.
    candidate_path: PathBuf,
    boot_epoch: String,
    symbols: Vec<String>,
    /// The config in force; its restart-only fields have the values of the start.
    running: LoadedConfig,
    /// The config that `HEAD` names, from which the next start would boot.
    committed: LoadedConfig,
    booted: Arc<Value>,
    head_seen: Option<HeadStamp>,
    last_file: LastConfigFile,
    /// Why `HEAD` could not be loaded at the start, while it cannot.
    fault: Option<String>,
    trial: Option<ConfigTrial>,
    outcomes: TrialOutcomes,
}

#[derive(Debug)]
struct ConfigTrial {
    txn: String,
    deadline: Instant,
}

/// A change of the running config or of its trial, for the event stream and the record of effects.
#[derive(Debug, Clone)]
pub(crate) struct TrialEvent {
    /// `activated`, `committed`, `reverted`, `trial_expired`.
    pub what: &'static str,
    /// Id of the transaction.
    pub txn: String,
    /// The version that runs after the change.
    pub running: VersionRef,
}

impl TrialEvent {
    /// The change as one sentence for people.
    pub(crate) fn message(&self) -> String {
        let (txn, version) = (&self.txn, self.running.version);
        match self.what {
            "activated" => format!("config v{version} runs on trial ({txn})"),
            "committed" => format!("config v{version} is committed ({txn})"),
            "trial_expired" => format!("the trial {txn} expired; config v{version} runs again"),
            _ => format!("the trial {txn} was reverted; config v{version} runs again"),
        }
    }
}

/// An answer to a config verb: acknowledged, with the change if it made one, or refused.
pub(crate) type ConfigVerbResult = Result<(ConfigAck, Option<TrialEvent>), ContractRefusal>;

/// What is wrong with `HEAD` and what to do about it.
fn head_fault(folder: &Path, problem: Option<String>, last: Option<&LastConfig>, last_file: &Path) -> String {
    let what = problem.unwrap_or_else(|| {
        let head = folder.join("HEAD");
        let ran = last.map(|last| {
            format!(", and the bot ran config v{} of {}", last.config.version.version, last.folder.display())
        });
        format!("{} is missing{}", head.display(), ran.unwrap_or_default())
    });
    format!(
        "the committed config cannot be loaded: {what}. Start botops, which puts HEAD back from what it knows, or restore it from a \
         backup, or correct --config-dir; for the built-in config, empty the folder and remove {}",
        last_file.display()
    )
}

fn refuse(code: &str, message: &str, context: Value) -> ContractRefusal {
    ContractRefusal { code: code.to_owned(), message: message.to_owned(), context }
}

impl ConfigSlot {
    /// Loads the config of this start: from `HEAD`, or the built-in document where there never was one.
    ///
    /// Without a `HEAD` that can be verified the slot has a fault: what was loaded last closes positions, and none is
    /// opened by limits that the operator did not set. A candidate that was stored for this start runs as a trial, once.
    pub(crate) fn boot(folder: &Path, data: &Path, boot_epoch: &str, symbols: &[String]) -> Self {
        let (mut last_file, last) = LastConfigFile::open(&data.join("last-config.json"));
        let (mut committed, fault) = match LoadedConfig::from_head(folder) {
            Ok(Some(head)) => {
                last_file.store(&head, folder);
                (head, None)
            }
            Ok(None) if last.is_none() && !holds_versions(folder) => (LoadedConfig::built_in(), None),
            found => {
                let fault = head_fault(folder, found.err(), last.as_ref(), last_file.path());
                (last.map_or_else(LoadedConfig::built_in, |last| last.config), Some(fault))
            }
        };
        committed.settings.fit_to_feed(symbols);
        let mut slot = Self {
            folder: folder.to_owned(),
            candidate_path: data.join("config-boot-once.json"),
            boot_epoch: boot_epoch.to_owned(),
            symbols: symbols.to_vec(),
            running: committed.clone(),
            booted: committed.value.clone(),
            committed,
            head_seen: HeadStamp::read(folder),
            last_file,
            fault,
            trial: None,
            outcomes: TrialOutcomes::load(&data.join("config-outcomes.json")),
        };
        let may_boot = slot.fault.is_none() && slot.outcomes.fault().is_none();
        if may_boot && let Err(problem) = slot.boot_candidate() {
            tracing::error!("the candidate for this start is not booted, HEAD is: {problem}");
        }
        slot
    }

    /// Why it is not known which limits the operator set, with what to do; `None` when it is.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Why endings of trials cannot be recorded, with what to do; `None` when they can.
    pub(crate) fn outcomes_fault(&self) -> Option<&str> {
        self.outcomes.fault()
    }

    fn boot_candidate(&mut self) -> Result<(), String> {
        let found = boot_once::spend_try(&self.candidate_path, &self.committed.version, Utc::now());
        let path = self.candidate_path.display();
        let Some(candidate) = found.map_err(|error| format!("{path} cannot be used ({error}); remove it"))?
        else {
            return Ok(());
        };
        if self.outcomes.ending(&candidate.txn).is_some() {
            return Ok(());
        }
        let mut loaded = LoadedConfig::new(candidate.version.version, &candidate.document)?;
        if loaded.version.sha256 != candidate.version.sha256 {
            return Err("it does not have its hash".to_owned());
        }
        loaded.settings.fit_to_feed(&self.symbols);
        let ttl = Duration::from_millis(candidate.ttl_ms).min(LONGEST_TRIAL);
        tracing::info!("config v{} is booted once, on trial ({})", loaded.version.version, candidate.txn);
        self.trial = Some(ConfigTrial { txn: candidate.txn, deadline: Instant::now() + ttl });
        self.booted = loaded.value.clone();
        self.running = loaded;
        Ok(())
    }

    pub(crate) fn settings(&self) -> &BotConfig {
        &self.running.settings
    }

    pub(crate) fn running(&self) -> &LoadedConfig {
        &self.running
    }

    /// When the running trial ends unless it is committed before; `None` without a trial.
    pub(crate) fn trial_deadline(&self) -> Option<Instant> {
        self.trial.as_ref().map(|trial| trial.deadline)
    }

    /// The answer to `GET config`.
    pub(crate) fn state(&self, now: Instant) -> ConfigState {
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
            last_outcome: self.outcomes.last(),
            generation: self.outcomes.generation(),
        }
    }

    /// Runs a document as a trial, or with `boot_once` stores it for the next start.
    pub(crate) fn activate_trial(
        &mut self,
        message: &ActivateConfigRequest,
        facts: &CheckFacts,
        now: Instant,
    ) -> ConfigVerbResult {
        self.check_generation(message.generation)?;
        if self.trial.as_ref().is_some_and(|trial| trial.txn == message.txn) {
            return Ok((self.acknowledge(&message.txn), None));
        }
        if let Some(ending) = self.outcomes.ending(&message.txn) {
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
        if sha256_hex(&message.document) != message.candidate.sha256 {
            let context = json!({"running": self.running.version});
            return Err(refuse("hash_mismatch", "the document does not have the candidate's hash", context));
        }
        if message.ttl_ms == 0 {
            return Err(refuse("ttl_invalid", "a trial needs a time to live", Value::Null));
        }
        let verdict = check_candidate(&self.running.value, &message.document, facts);
        if !verdict.ok {
            return Err(refuse("check_failed", "the bot would not run this document", json!(verdict)));
        }
        let mut candidate = LoadedConfig::new(message.candidate.version, &message.document)
            .map_err(|error| refuse("check_failed", &error, Value::Null))?;
        self.record(message.generation, None)?;
        if message.boot_once {
            return self.store_candidate(message);
        }
        self.fit_to_process(&mut candidate);
        let ttl = Duration::from_millis(message.ttl_ms).min(LONGEST_TRIAL);
        self.trial = Some(ConfigTrial { txn: message.txn.clone(), deadline: now + ttl });
        self.running = candidate;
        Ok((self.acknowledge(&message.txn), Some(self.trial_event("activated", &message.txn))))
    }

    /// Stores a candidate for the next start; until then the running config stays.
    fn store_candidate(&self, message: &ActivateConfigRequest) -> ConfigVerbResult {
        if boot_once::was_tried(&self.candidate_path, &message.txn) {
            let context = json!({"running": self.running.version});
            return Err(refuse("txn_over", "this transaction was booted once already", context));
        }
        boot_once::store_candidate(&self.candidate_path, message, Utc::now()).map_err(|error| {
            refuse("not_recorded", &format!("the bot cannot keep the candidate: {error}"), Value::Null)
        })?;
        Ok((self.acknowledge(&message.txn), None))
    }

    fn remove_candidate(&self) {
        if let Err(error) = boot_once::remove_candidate(&self.candidate_path) {
            tracing::warn!("a candidate for the next start cannot be removed: {error}");
        }
    }

    /// Commits a trial. It is refused unless `HEAD` names the candidate.
    pub(crate) fn commit_trial(&mut self, message: &EndTrialRequest) -> ConfigVerbResult {
        self.check_generation(message.generation)?;
        if !self.in_trial(&message.txn) {
            return match self.outcomes.ending(&message.txn) {
                Some("committed") => Ok((self.acknowledge(&message.txn), None)),
                _ => Err(self.not_in_trial()),
            };
        }
        let head = self.load_head().map_err(|error| refuse("head_invalid", &error, Value::Null))?;
        if head.version.sha256 != self.running.version.sha256 {
            let context = json!({"running": self.running.version, "head": head.version});
            return Err(refuse("head_mismatch", "HEAD does not name the document on trial", context));
        }
        self.record(message.generation, Some((&message.txn, "committed")))?;
        self.remove_candidate();
        self.trial = None;
        self.running.version = head.version.clone();
        self.committed = head;
        Ok((self.acknowledge(&message.txn), Some(self.trial_event("committed", &message.txn))))
    }

    /// Ends a trial and returns to the config that `HEAD` names.
    pub(crate) fn revert_trial(&mut self, message: &EndTrialRequest) -> ConfigVerbResult {
        self.check_generation(message.generation)?;
        if !self.in_trial(&message.txn) {
            if self.trial.is_some() || self.outcomes.ending(&message.txn) == Some("committed") {
                return Err(self.not_in_trial());
            }
            self.remove_candidate();
            // Recorded although there is no such trial: an activation that arrives later must not start it.
            if self.outcomes.ending(&message.txn).is_none() {
                self.record(message.generation, Some((&message.txn, "reverted")))?;
            }
            return Ok((self.acknowledge(&message.txn), None));
        }
        self.return_to_head();
        self.remove_candidate();
        self.trial = None;
        self.outcomes.record_anyway(message.generation, &message.txn, "reverted");
        Ok((self.acknowledge(&message.txn), Some(self.trial_event("reverted", &message.txn))))
    }

    /// Ends the trial when its time is over: it returns to `HEAD`, or is committed when `HEAD` names it meanwhile.
    pub(crate) fn expire_trial(&mut self, now: Instant) -> Option<TrialEvent> {
        let txn = self.trial.take_if(|trial| now >= trial.deadline)?.txn;
        let candidate = self.running.version.sha256.clone();
        self.return_to_head();
        self.remove_candidate();
        let what = if self.running.version.sha256 == candidate { "committed" } else { "trial_expired" };
        self.outcomes.record_anyway(self.outcomes.generation(), &txn, what);
        Some(self.trial_event(what, &txn))
    }

    /// Loads `HEAD` when it was replaced.
    ///
    /// The running config stays, except that it takes the version number of a `HEAD` with the same bytes; any other
    /// difference is reported as drift in the state.
    pub(crate) fn refresh_head(&mut self) -> Result<(), String> {
        let stamp = HeadStamp::read(&self.folder);
        if stamp == self.head_seen && self.fault.is_none() {
            return Ok(());
        }
        self.head_seen = stamp;
        let head = match self.load_head() {
            Ok(head) => head,
            Err(problem) => return Err(self.fault.clone().unwrap_or(problem)),
        };
        self.last_file.store(&head, &self.folder);
        self.committed = head;
        if self.fault.take().is_some() && self.trial.is_none() {
            self.run_committed();
        }
        if self.trial.is_none() && self.committed.version.sha256 == self.running.version.sha256 {
            self.running.version = self.committed.version.clone();
        }
        Ok(())
    }

    /// The document that `HEAD` names; the built-in one only where there never was another.
    fn load_head(&self) -> Result<LoadedConfig, String> {
        match LoadedConfig::from_head(&self.folder) {
            Ok(Some(head)) => Ok(head),
            Ok(None) if self.committed.version.version == 0 && self.fault.is_none() => {
                Ok(LoadedConfig::built_in())
            }
            found => Err(head_fault(&self.folder, found.err(), None, self.last_file.path())),
        }
    }

    fn check_generation(&self, generation: u64) -> Result<(), ContractRefusal> {
        if generation >= self.outcomes.generation() {
            return Ok(());
        }
        let context = json!({"gen": self.outcomes.generation()});
        Err(refuse("older_generation", "a newer server has spoken already", context))
    }

    /// Records a generation and an ending; a failure becomes a refusal.
    fn record(&mut self, generation: u64, ending: Option<(&str, &str)>) -> Result<(), ContractRefusal> {
        self.outcomes.record(generation, ending).map_err(|error| {
            refuse("not_recorded", &format!("the bot cannot record the outcome: {error}"), Value::Null)
        })
    }

    /// Writes endings that could not be written when they were recorded.
    pub(crate) fn save_outcomes(&mut self) -> io::Result<()> {
        self.outcomes.save()
    }

    fn in_trial(&self, txn: &str) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.txn == txn)
    }

    fn not_in_trial(&self) -> ContractRefusal {
        let context = json!({"running": self.running.version});
        refuse("not_in_trial", "this transaction is not on trial", context)
    }

    fn acknowledge(&self, txn: &str) -> ConfigAck {
        ConfigAck {
            txn: txn.to_owned(),
            running: self.running.version.clone(),
            boot_epoch: self.boot_epoch.clone(),
        }
    }

    fn trial_event(&self, what: &'static str, txn: &str) -> TrialEvent {
        TrialEvent { what, txn: txn.to_owned(), running: self.running.version.clone() }
    }

    /// Loads `HEAD` and runs it; when it cannot be verified, the config that was committed before runs.
    fn return_to_head(&mut self) {
        match self.load_head() {
            Ok(head) => self.committed = head,
            Err(error) => tracing::error!("HEAD does not hold, the last good config stays: {error}"),
        }
        self.run_committed();
    }

    fn run_committed(&mut self) {
        let mut back = self.committed.clone();
        self.fit_to_process(&mut back);
        self.running = back;
    }

    /// Fits a document to this process: targets among the feed's symbols, and the restart-only fields of the start.
    fn fit_to_process(&self, loaded: &mut LoadedConfig) {
        if let Some(settings) = BotConfig::with_restart_only_fields_of(&loaded.value, &self.booted) {
            loaded.settings = settings;
        }
        loaded.settings.fit_to_feed(&self.symbols);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::document::BUILT_IN;
    use super::*;

    struct SlotFolder {
        path: tempfile::TempDir,
        facts: CheckFacts,
    }

    fn document(trades: u32) -> String {
        BUILT_IN.replace("\"max_trades_per_day\": 100", &format!("\"max_trades_per_day\": {trades}"))
    }

    fn version(number: u64, text: &str) -> VersionRef {
        VersionRef { version: number, sha256: sha256_hex(text) }
    }

    impl SlotFolder {
        fn new() -> Self {
            let symbols = ["SPY", "QQQ", "AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META"];
            let facts = CheckFacts { symbols: symbols.map(str::to_owned).to_vec(), ..CheckFacts::default() };
            Self { path: tempfile::tempdir().unwrap(), facts }
        }

        fn boot(&self) -> ConfigSlot {
            ConfigSlot::boot(self.path.path(), self.path.path(), "boot", &self.facts.symbols)
        }

        fn write_head(&self, number: u64, text: &str) {
            fs::create_dir_all(self.path.path().join("versions")).unwrap();
            fs::write(self.path.path().join("versions/v.json"), text).unwrap();
            let head = json!({"version": number, "sha256": sha256_hex(text), "file": "v.json"});
            fs::write(self.path.path().join("HEAD"), head.to_string()).unwrap();
        }

        fn activate(&self, slot: &mut ConfigSlot, txn: &str, text: &str, now: Instant) -> ConfigVerbResult {
            let message = ActivateConfigRequest {
                txn: txn.to_owned(),
                generation: 1,
                base: slot.running().version.clone(),
                candidate: version(2, text),
                document: text.to_owned(),
                ttl_ms: 1_000,
                boot_once: false,
            };
            slot.activate_trial(&message, &self.facts, now)
        }
    }

    fn end_trial(txn: &str, generation: u64) -> EndTrialRequest {
        EndTrialRequest { txn: txn.to_owned(), generation }
    }

    fn code(answer: ConfigVerbResult) -> String {
        answer.unwrap_err().code
    }

    #[test]
    fn a_trial_that_nobody_commits_ends_in_head() {
        let folder = SlotFolder::new();
        folder.write_head(1, BUILT_IN);
        let mut slot = folder.boot();
        let now = Instant::now();
        folder.activate(&mut slot, "a", &document(7), now).unwrap();
        assert_eq!(slot.settings().trading.max_trades_per_day, 7);
        assert!(slot.expire_trial(now).is_none());
        let event = slot.expire_trial(now + Duration::from_secs(2)).unwrap();
        assert_eq!((event.what, event.running.version), ("trial_expired", 1));
        assert_eq!(code(slot.commit_trial(&end_trial("a", 1))), "not_in_trial");
        assert_eq!(code(folder.activate(&mut slot, "a", &document(7), now)), "txn_over");
    }

    #[test]
    fn a_trial_that_head_names_by_then_stays() {
        let folder = SlotFolder::new();
        let mut slot = folder.boot();
        let now = Instant::now();
        folder.activate(&mut slot, "a", &document(7), now).unwrap();
        folder.write_head(2, &document(7));
        assert_eq!(slot.expire_trial(now + Duration::from_secs(2)).unwrap().what, "committed");
        assert!(slot.commit_trial(&end_trial("a", 1)).is_ok());
        assert_eq!(folder.boot().settings().trading.max_trades_per_day, 7);
    }

    #[test]
    fn commit_verifies_head_and_is_repeatable() {
        let folder = SlotFolder::new();
        let mut slot = folder.boot();
        folder.activate(&mut slot, "a", &document(7), Instant::now()).unwrap();
        assert_eq!(code(slot.commit_trial(&end_trial("a", 1))), "head_mismatch");
        folder.write_head(2, &document(7));
        assert!(slot.commit_trial(&end_trial("a", 1)).unwrap().1.is_some());
        assert!(slot.commit_trial(&end_trial("a", 1)).unwrap().1.is_none());
        assert!(slot.commit_trial(&end_trial("a", 2)).is_ok());
        assert_eq!(code(slot.revert_trial(&end_trial("a", 2))), "not_in_trial");
    }

    #[test]
    fn an_older_generation_and_a_second_trial_are_refused() {
        let folder = SlotFolder::new();
        let mut slot = folder.boot();
        let now = Instant::now();
        folder.activate(&mut slot, "a", &document(7), now).unwrap();
        assert_eq!(code(folder.activate(&mut slot, "b", &document(8), now)), "trial_live");
        assert!(folder.activate(&mut slot, "a", &document(7), now).unwrap().1.is_none());
        slot.revert_trial(&end_trial("a", 5)).unwrap();
        assert_eq!(code(slot.revert_trial(&end_trial("a", 4))), "older_generation");
        assert_eq!(code(folder.boot().revert_trial(&end_trial("a", 4))), "older_generation");
    }

    #[test]
    fn a_revert_that_overtakes_its_activation_wins() {
        let folder = SlotFolder::new();
        let mut slot = folder.boot();
        slot.revert_trial(&end_trial("a", 1)).unwrap();
        assert_eq!(code(folder.activate(&mut slot, "a", &document(7), Instant::now())), "txn_over");
    }

    #[test]
    fn a_head_that_does_not_hold_is_a_fault_until_it_holds_again() {
        let folder = SlotFolder::new();
        folder.write_head(1, &document(7));
        assert!(folder.boot().fault().is_none());
        fs::write(folder.path.path().join("versions/v.json"), BUILT_IN).unwrap();
        let mut slot = folder.boot();
        assert!(slot.fault().unwrap().contains("hash"));
        assert_eq!(slot.settings().trading.max_trades_per_day, 7, "what ran last closes the positions");
        assert!(slot.refresh_head().is_err());
        fs::write(folder.path.path().join("versions/v.json"), document(7)).unwrap();
        slot.refresh_head().unwrap();
        assert!(slot.fault().is_none());
    }

    #[test]
    fn only_a_folder_that_never_had_a_head_begins_with_the_built_in_config() {
        let folder = SlotFolder::new();
        assert!(folder.boot().fault().is_none());
        folder.write_head(3, &document(7));
        // Versions without `HEAD`, before the bot ever saw one.
        fs::remove_file(folder.path.path().join("HEAD")).unwrap();
        assert!(folder.boot().fault().unwrap().contains("HEAD is missing"));
        folder.write_head(3, &document(7));
        assert!(folder.boot().fault().is_none());
        // Another, empty folder: the bot knows that it ran something else before.
        let elsewhere = folder.path.path().join("mistyped");
        let slot = ConfigSlot::boot(&elsewhere, folder.path.path(), "boot", &folder.facts.symbols);
        assert!(slot.fault().unwrap().contains("config v3"));
        assert_eq!(slot.settings().trading.max_trades_per_day, 7);
    }

    #[test]
    fn a_restart_only_field_waits_and_says_so() {
        let folder = SlotFolder::new();
        let mut slot = folder.boot();
        let slower = BUILT_IN.replace("\"poll_interval_seconds\": 15", "\"poll_interval_seconds\": 60");
        folder.activate(&mut slot, "a", &slower, Instant::now()).unwrap();
        assert_eq!(slot.settings().order_management.poll_interval_seconds, 15);
        assert_eq!(slot.state(Instant::now()).pending_restart, ["/order_management/poll_interval_seconds"]);
    }

    /// A candidate stored for the next start, with a slower poll interval.
    fn store_candidate(folder: &SlotFolder, slot: &mut ConfigSlot) -> ConfigVerbResult {
        let text = BUILT_IN.replace("\"poll_interval_seconds\": 15", "\"poll_interval_seconds\": 60");
        let message = ActivateConfigRequest {
            txn: "a".to_owned(),
            generation: 1,
            base: slot.running().version.clone(),
            candidate: version(2, &text),
            document: text,
            ttl_ms: 1_000,
            boot_once: true,
        };
        slot.activate_trial(&message, &folder.facts, Instant::now())
    }

    fn seconds(slot: &ConfigSlot) -> u32 {
        slot.settings().order_management.poll_interval_seconds
    }

    #[test]
    fn a_candidate_is_booted_once_and_then_head() {
        let folder = SlotFolder::new();
        let mut first = folder.boot();
        store_candidate(&folder, &mut first).unwrap();
        assert_eq!((seconds(&first), first.state(Instant::now()).trial), (15, None), "nothing changes yet");
        // Killed before the start marked the candidate as tried, the next start tries it.
        let second = folder.boot();
        assert_eq!(seconds(&second), 60);
        assert_eq!(second.state(Instant::now()).trial.unwrap().txn, "a");
        assert_eq!(second.state(Instant::now()).pending_restart, Vec::<String>::new());
        // Killed at any moment after that, the next start boots `HEAD`.
        let mut third = folder.boot();
        assert_eq!((seconds(&third), third.state(Instant::now()).trial), (15, None));
        assert_eq!(code(store_candidate(&folder, &mut third)), "txn_over", "it does not get a second try");
        assert_eq!(seconds(&folder.boot()), 15);
    }

    #[test]
    fn a_candidate_that_was_taken_back_is_not_booted() {
        let folder = SlotFolder::new();
        let mut slot = folder.boot();
        store_candidate(&folder, &mut slot).unwrap();
        slot.revert_trial(&end_trial("a", 1)).unwrap();
        assert_eq!(seconds(&folder.boot()), 15);
    }

    #[test]
    fn a_candidate_of_another_base_or_another_time_is_not_booted() {
        let folder = SlotFolder::new();
        let mut slot = folder.boot();
        store_candidate(&folder, &mut slot).unwrap();
        folder.write_head(2, &document(7));
        assert_eq!(folder.boot().settings().trading.max_trades_per_day, 7);
        let (path, head) = (folder.path.path().join("config-boot-once.json"), version(0, BUILT_IN));
        let at = |minutes| Utc::now() + chrono::TimeDelta::minutes(minutes);
        assert!(boot_once::spend_try(&path, &head, at(-5)).unwrap().is_none(), "the clock went back");
        assert!(boot_once::spend_try(&path, &head, at(11)).unwrap().is_none(), "it waited too long");
        assert!(boot_once::spend_try(&path, &head, at(5)).unwrap().is_some());
    }

    #[test]
    fn a_booted_candidate_becomes_permanent_or_leaves_its_fields_pending() {
        let folder = SlotFolder::new();
        let mut slot = folder.boot();
        store_candidate(&folder, &mut slot).unwrap();
        let mut slot = folder.boot();
        slot.expire_trial(Instant::now() + Duration::from_secs(2)).unwrap();
        assert_eq!(
            slot.state(Instant::now()).pending_restart,
            ["/order_management/poll_interval_seconds"],
            "until it is started again"
        );
        let folder = SlotFolder::new();
        store_candidate(&folder, &mut folder.boot()).unwrap();
        let mut slot = folder.boot();
        let text = BUILT_IN.replace("\"poll_interval_seconds\": 15", "\"poll_interval_seconds\": 60");
        folder.write_head(2, &text);
        slot.commit_trial(&end_trial("a", 1)).unwrap();
        assert_eq!((seconds(&slot), seconds(&folder.boot())), (60, 60));
    }
}
