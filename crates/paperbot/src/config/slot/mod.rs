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
use super::document::BotConfig;
use super::head::{HeadStamp, LoadedConfig, holds_versions};
use super::last_config::{LastConfig, LastConfigFile};
use super::outcomes::TrialOutcomes;
use super::rules::CheckFacts;
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
mod tests;
