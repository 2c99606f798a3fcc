//! The config slot: which document runs, which one is committed, and at most one trial with its deadline.
//!
//! A trial is kept in memory and writes nothing that a start would load, except for a candidate that is meant for the next
//! start. How transactions ended is kept, so that a repeated message gets the first answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use botops_contract::{
    ActivateConfigRequest, CheckVerdict, ConfigAck, ConfigState, ContractRefusal, EndTrialRequest, EventKind,
    RunningConfig, RunningDocument, Severity, TrialState, VersionRef,
};
use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::super::bot_handle::BotHandle;
use super::super::refusals::refusal;
use super::super::sdk_problem::{ProblemKind, report_problem};
use super::call_progress::CallProgress;
use super::config_check::ConfigCheck;
use super::config_files::{ConfigDocument, ConfigFiles, NextStartCandidate};
use super::value_switch::{NotInForce, ValueSwitch};

/// The longest trial; a change that is wanted for longer has to be committed.
const LONGEST_TRIAL: Duration = Duration::from_hours(24);
/// Reasons against a document that the error of a start names.
const MOST_NAMED: usize = 5;

/// Which config runs. Its verbs may wait for the bot's `apply` and for the disk.
pub(super) struct TrialSlot {
    check: Arc<ConfigCheck>,
    files: ConfigFiles,
    switch: ValueSwitch,
    bot: BotHandle,
    built_in: ConfigDocument,
    running: LoadedDocument,
    committed: LoadedDocument,
    /// What this process started with: fields that are read at the start alone have its values.
    booted: Arc<Value>,
    trial: Option<SlotTrial>,
    shown: Arc<ShownConfigSlot>,
}

/// The config as of the last step that was finished, never in the middle of one; reading it waits for nobody.
pub(super) struct ShownConfigSlot {
    now: ArcSwap<SlotView>,
    /// Notified of each step.
    pub(super) changed: Notify,
}

/// One state of the slot.
struct SlotView {
    running: LoadedDocument,
    committed: VersionRef,
    trial: Option<SlotTrial>,
    pending_restart: Vec<String>,
    last_outcome: Option<(String, String)>,
    generation: u64,
}

/// A document with its JSON.
#[derive(Debug, Clone)]
struct LoadedDocument {
    document: ConfigDocument,
    value: Arc<Value>,
}

#[derive(Debug, Clone)]
struct SlotTrial {
    txn: String,
    deadline: Instant,
}

impl SlotTrial {
    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

fn refuse(code: &str, message: &str, context: Value) -> ContractRefusal {
    ContractRefusal { context, ..refusal(code, message) }
}

impl TrialSlot {
    /// Starts with what is committed, or with a candidate that was kept for this start.
    ///
    /// # Errors
    /// One sentence: what is committed does not hold. A bot that does not know its limits must not trade.
    pub(super) fn boot(
        check: Arc<ConfigCheck>,
        files: ConfigFiles,
        switch: ValueSwitch,
        bot: BotHandle,
        built_in: &Value,
    ) -> Result<Self, String> {
        let built_in = ConfigDocument::new(0, &built_in.to_string());
        let committed = files.load_committed()?.unwrap_or_else(|| built_in.clone());
        let committed = load_document(&check, committed)?;
        let view = SlotView {
            running: committed.clone(),
            committed: committed.document.version.clone(),
            trial: None,
            pending_restart: Vec::new(),
            last_outcome: None,
            generation: 0,
        };
        let shown = ShownConfigSlot { now: ArcSwap::from_pointee(view), changed: Notify::new() };
        let (running, booted, shown) = (committed.clone(), committed.value.clone(), Arc::new(shown));
        let mut slot =
            Self { check, files, switch, bot, built_in, running, committed, booted, trial: None, shown };
        if let Err(problem) = slot.boot_candidate() {
            let said = format!("the candidate for this start is not booted: {problem}");
            report_problem(&slot.bot, "config", ProblemKind::of_config("NOT_BOOTED"), &said);
        }
        if slot.trial.is_none() {
            slot.switch.change(slot.effective_values(&slot.committed))?;
        }
        if !slot.files.are_kept() {
            let what = if slot.files.follow_head() { "how its trials ended" } else { "what is committed" };
            let said = format!(
                "{what} is kept in memory alone, and forgotten at a restart: the bot has no data folder"
            );
            report_problem(&slot.bot, "config", ProblemKind::of_files("CONFIG_NOT_KEPT"), &said);
        }
        slot.publish();
        Ok(slot)
    }

    fn boot_candidate(&mut self) -> Result<(), String> {
        let found = self.files.spend_try(&self.committed.document.version, Utc::now())?;
        let Some(NextStartCandidate { txn, candidate, document, ttl_ms, .. }) = found else { return Ok(()) };
        let kept = ConfigDocument::new(candidate.version, &document);
        if kept.version.sha256 != candidate.sha256 {
            return Err("it does not have its hash".to_owned());
        }
        let loaded = load_document(&self.check, kept)?;
        self.switch.change(self.check.schema.effective_values(&loaded.value, &loaded.value))?;
        let deadline = Instant::now() + Duration::from_millis(ttl_ms).min(LONGEST_TRIAL);
        tracing::info!("config v{} is booted once, on trial ({txn})", candidate.version);
        (self.booted, self.running) = (loaded.value.clone(), loaded);
        self.trial = Some(SlotTrial { txn, deadline });
        Ok(())
    }

    /// What is shown of it.
    pub(super) fn shown(&self) -> Arc<ShownConfigSlot> {
        self.shown.clone()
    }

    /// Runs a document as a trial, or keeps it for the next start.
    ///
    /// # Errors
    /// A refusal: nothing was changed, unless it is `no_answer`.
    pub(super) fn activate(
        &mut self,
        request: &ActivateConfigRequest,
        progress: &CallProgress,
    ) -> Result<ConfigAck, ContractRefusal> {
        let txn = &request.txn;
        self.check_generation(request.generation)?;
        if self.trial.as_ref().is_some_and(|trial| trial.txn == *txn) {
            return Ok(self.acknowledge(txn));
        }
        if let Some(outcome) = self.files.ending(txn) {
            let context = json!({"outcome": outcome, "running": self.running.document.version});
            return Err(refuse("txn_over", "this transaction has ended; it does not start again", context));
        }
        if let Some(trial) = &self.trial {
            let context = json!({"txn": trial.txn, "running": self.running.document.version});
            return Err(refuse("trial_live", "another trial runs", context));
        }
        if request.base.sha256 != self.running.document.version.sha256 {
            let what = "something else runs than the change is based on";
            return Err(refuse("base_mismatch", what, self.named_running()));
        }
        let wanted = ConfigDocument::new(request.candidate.version, &request.document);
        if wanted.version.sha256 != request.candidate.sha256 {
            let what = "the document does not have the candidate's hash";
            return Err(refuse("hash_mismatch", what, self.named_running()));
        }
        if request.ttl_ms == 0 {
            return Err(refuse("ttl_invalid", "a trial needs a time to live", Value::Null));
        }
        let loaded = self.checked_document(wanted)?;
        self.record(request.generation, None)?;
        if !progress.begin() || (request.boot_once && !progress.put_in_force()) {
            return Err(not_taken_in_time());
        }
        if request.boot_once {
            return self.keep_for_next_start(request);
        }
        self.run_on_trial(loaded, request, progress)?;
        Ok(self.acknowledge(txn))
    }

    fn run_on_trial(
        &mut self,
        loaded: LoadedDocument,
        request: &ActivateConfigRequest,
        progress: &CallProgress,
    ) -> Result<(), ContractRefusal> {
        let switched = self.switch.change_while_wanted(self.effective_values(&loaded), progress);
        switched.map_err(|why| match why {
            NotInForce::Failed(said) => refuse("apply_failed", &said, self.named_running()),
            NotInForce::GivenUp => apply_unended(),
        })?;
        let ttl = Duration::from_millis(request.ttl_ms).min(LONGEST_TRIAL);
        self.trial = Some(SlotTrial { txn: request.txn.clone(), deadline: Instant::now() + ttl });
        self.running = loaded;
        self.publish();
        let version = request.candidate.version;
        self.tell("activated", Severity::Low, &format!("config v{version} runs on trial ({})", request.txn));
        Ok(())
    }

    fn keep_for_next_start(&self, request: &ActivateConfigRequest) -> Result<ConfigAck, ContractRefusal> {
        let not_kept = |error: String| {
            refuse("not_recorded", &format!("the bot cannot keep the candidate: {error}"), Value::Null)
        };
        if self.files.was_tried(&request.txn).map_err(not_kept)? {
            let what = "this transaction was booted once already";
            return Err(refuse("txn_over", what, self.named_running()));
        }
        self.files.store_candidate(request, Utc::now()).map_err(|error| not_kept(error.to_string()))?;
        Ok(self.acknowledge(&request.txn))
    }

    /// Makes a trial permanent.
    ///
    /// # Errors
    /// A refusal: nothing was changed.
    pub(super) fn commit(
        &mut self,
        request: &EndTrialRequest,
        progress: &CallProgress,
    ) -> Result<ConfigAck, ContractRefusal> {
        let txn = &request.txn;
        self.check_generation(request.generation)?;
        // Its time may be over although the clock has not come to it yet; where that fails, the clock tries it again.
        let _ = self.expire();
        if self.trial.as_ref().is_none_or(|trial| trial.txn != *txn || trial.is_over()) {
            return match self.files.ending(txn) {
                Some("committed") => Ok(self.acknowledge(txn)),
                _ => Err(self.not_in_trial()),
            };
        }
        let mut committed = self.running.clone();
        if self.files.follow_head() {
            committed.document = self.document_of_head()?;
        }
        if !(progress.begin() && progress.put_in_force()) {
            return Err(not_taken_in_time());
        }
        self.files.store_committed(&committed.document).map_err(|error| {
            refuse("not_recorded", &format!("the bot cannot keep the document: {error}"), Value::Null)
        })?;
        let version = committed.document.version.version;
        (self.committed, self.running) = (committed.clone(), committed);
        // What a start loads is committed from here on, whether its ending can be written or not.
        self.end_trial(request.generation, txn, "committed");
        self.tell("committed", Severity::Low, &format!("config v{version} is committed ({txn})"));
        Ok(self.acknowledge(txn))
    }

    fn document_of_head(&self) -> Result<ConfigDocument, ContractRefusal> {
        let head =
            self.files.load_committed().map_err(|error| refuse("head_invalid", &error, Value::Null))?;
        let head = head.unwrap_or_else(|| self.built_in.clone());
        if head.version.sha256 != self.running.document.version.sha256 {
            let context = json!({"head": head.version, "running": self.running.document.version});
            return Err(refuse("head_mismatch", "HEAD does not name the document on trial", context));
        }
        Ok(head)
    }

    /// Ends a trial and runs what is committed.
    ///
    /// # Errors
    /// A refusal: the trial goes on.
    pub(super) fn revert(&mut self, request: &EndTrialRequest) -> Result<ConfigAck, ContractRefusal> {
        let txn = &request.txn;
        self.check_generation(request.generation)?;
        if self.trial.as_ref().is_some_and(|trial| trial.txn == *txn) {
            self.leave(request.generation, "reverted")?;
            return Ok(self.acknowledge(txn));
        }
        if self.trial.is_some() || self.files.ending(txn) == Some("committed") {
            return Err(self.not_in_trial());
        }
        self.remove_candidate();
        // Kept although there is no such trial: an activation that arrives later must not start it.
        if self.files.ending(txn).is_none() {
            self.record(request.generation, Some((txn, "reverted")))?;
        }
        Ok(self.acknowledge(txn))
    }

    /// Takes a trial back whose time is over.
    ///
    /// # Errors
    /// A refusal: the bot's `apply` failed, and the trial stands until it succeeds.
    pub(super) fn expire(&mut self) -> Result<(), ContractRefusal> {
        match &self.trial {
            Some(trial) if trial.is_over() => self.leave(0, "trial_expired"),
            _ => Ok(()),
        }
    }

    /// Takes up what `HEAD` names now; the running config stays.
    pub(super) fn refresh_head(&mut self) {
        self.load_committed_anew();
        if self.trial.is_none()
            && self.committed.document.version.sha256 == self.running.document.version.sha256
        {
            self.running = self.committed.clone();
        }
        self.publish();
    }

    /// Has what is committed run again.
    fn leave(&mut self, generation: u64, what: &str) -> Result<(), ContractRefusal> {
        let Some(SlotTrial { txn, .. }) = self.trial.clone() else { return Ok(()) };
        self.load_committed_anew();
        let is_committed = self.committed.document.version.sha256 == self.running.document.version.sha256;
        let what = if what == "trial_expired" && is_committed { "committed" } else { what };
        let switched = self.switch.change(self.effective_values(&self.committed));
        switched.map_err(|said| refuse("apply_failed", &said, self.named_running()))?;
        self.running = self.committed.clone();
        self.end_trial(generation, &txn, what);
        let version = self.running.document.version.version;
        let severity = if what == "trial_expired" { Severity::Medium } else { Severity::Low };
        self.tell(what, severity, &format!("the trial {txn} is over; config v{version} runs"));
        Ok(())
    }

    /// Takes up what is committed now; where that does not hold, the last good one stays.
    fn load_committed_anew(&mut self) {
        if !self.files.follow_head() {
            return;
        }
        let loaded = match self.files.load_committed() {
            Ok(None) => return,
            Ok(Some(head)) if head.version.sha256 == self.committed.document.version.sha256 => {
                self.committed.document.version = head.version;
                return;
            }
            Ok(Some(head)) => load_document(&self.check, head),
            Err(problem) => Err(problem),
        };
        match loaded {
            Ok(loaded) => self.committed = loaded,
            Err(problem) => tracing::error!("the last good config stays: {problem}"),
        }
    }

    fn end_trial(&mut self, generation: u64, txn: &str, what: &str) {
        self.remove_candidate();
        self.trial = None;
        self.files.remember(generation, txn, what);
        self.publish();
    }

    fn remove_candidate(&self) {
        if let Err(error) = self.files.remove_candidate() {
            tracing::warn!("a candidate for the next start cannot be removed: {error}");
        }
    }

    fn checked_document(&self, wanted: ConfigDocument) -> Result<LoadedDocument, ContractRefusal> {
        let Ok(value) = serde_json::from_str::<Value>(&wanted.text) else {
            return Err(refuse("check_failed", "the document is not JSON", Value::Null));
        };
        let verdict = self.check.verdict(&self.running.value, &value);
        if !verdict.ok {
            return Err(refuse("check_failed", "the bot would not run this document", json!(verdict)));
        }
        Ok(LoadedDocument { document: wanted, value: Arc::new(value) })
    }

    fn effective_values(&self, loaded: &LoadedDocument) -> serde_json::Map<String, Value> {
        self.check.schema.effective_values(&self.booted, &loaded.value)
    }

    fn check_generation(&self, generation: u64) -> Result<(), ContractRefusal> {
        if generation >= self.files.generation() {
            return Ok(());
        }
        let context = json!({"gen": self.files.generation()});
        Err(refuse("older_generation", "a newer server has spoken already", context))
    }

    fn record(&mut self, generation: u64, ending: Option<(&str, &str)>) -> Result<(), ContractRefusal> {
        self.files.record(generation, ending).map_err(|error| {
            refuse("not_recorded", &format!("the bot cannot record it: {error}"), Value::Null)
        })?;
        self.publish();
        Ok(())
    }

    fn not_in_trial(&self) -> ContractRefusal {
        refuse("not_in_trial", "this transaction is not on trial", self.named_running())
    }

    fn named_running(&self) -> Value {
        json!({"running": self.running.document.version})
    }

    fn acknowledge(&self, txn: &str) -> ConfigAck {
        let running = self.running.document.version.clone();
        ConfigAck { txn: txn.to_owned(), running, boot_epoch: self.bot.boot_epoch().to_owned() }
    }

    fn tell(&self, what: &str, severity: Severity, message: &str) {
        self.bot.event(EventKind::Config, severity, message, json!({"what": what}));
    }

    /// Shows the slot as it is now, to who asks and in the state.
    fn publish(&self) {
        let view = SlotView {
            running: self.running.clone(),
            committed: self.committed.document.version.clone(),
            trial: self.trial.clone(),
            pending_restart: self.check.schema.restart_pointers(&self.booted, &self.running.value),
            last_outcome: self.files.last_ending(),
            generation: self.files.generation(),
        };
        let limit = self.check.schema.daily_loss_limit(&self.running.value);
        self.shown.now.store(Arc::new(view));
        self.shown.changed.notify_one();
        let ConfigState { running, committed, trial, pending_restart, .. } = self.shown.state("");
        let mut config =
            RunningConfig { running, committed, trial, pending_restart, summary: Default::default() };
        config.summary.daily_loss_limit = limit;
        self.bot.show_config(config, self.shown.deadline());
    }
}

/// The answer to a change that nobody waited for long enough, and that was not begun.
pub(super) fn not_taken_in_time() -> ContractRefusal {
    refusal("expired", "the bot's config did not take it in time; it is not carried out")
}

/// The answer while an `apply` has begun, and to whoever gave it up.
pub(super) fn apply_unended() -> ContractRefusal {
    refusal(
        "no_answer",
        "the bot's apply has begun and does not end; what it ran before is applied again once it does",
    )
}

impl ShownConfigSlot {
    /// The answer to `GET config`.
    pub(super) fn state(&self, boot_epoch: &str) -> ConfigState {
        let view = self.now.load();
        let running = view.running.document.version.clone();
        ConfigState {
            boot_epoch: boot_epoch.to_owned(),
            trial: view.trial.as_ref().map(|trial| TrialState {
                txn: trial.txn.clone(),
                candidate: running.clone(),
                ttl_left_ms: trial
                    .deadline
                    .saturating_duration_since(Instant::now())
                    .as_millis()
                    .try_into()
                    .unwrap_or(u64::MAX),
            }),
            running,
            committed: view.committed.clone(),
            pending_restart: view.pending_restart.clone(),
            last_outcome: view.last_outcome.clone(),
            generation: view.generation,
        }
    }

    /// The answer to `GET config/document`.
    pub(super) fn document(&self) -> RunningDocument {
        let view = self.now.load();
        let ConfigDocument { version, text } = view.running.document.clone();
        RunningDocument { running: version, document: text.to_string() }
    }

    /// The answer to `POST config/check`.
    pub(super) fn verdict(&self, check: &ConfigCheck, candidate: &Value) -> CheckVerdict {
        let running = self.now.load().running.value.clone();
        check.verdict(&running, candidate)
    }

    /// When the trial that runs is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.now.load().trial.as_ref().map(|trial| trial.deadline)
    }
}

fn load_document(check: &ConfigCheck, document: ConfigDocument) -> Result<LoadedDocument, String> {
    let version = document.version.version;
    let value: Value = serde_json::from_str(&document.text)
        .map_err(|error| format!("version {version} of the config is not JSON: {error}"))?;
    let (wrong, _) = check.assess(&value);
    if wrong.is_empty() {
        return Ok(LoadedDocument { document, value: Arc::new(value) });
    }
    let whose = match version {
        0 => "the config that the program gives".to_owned(),
        version => format!("version {version} of the config"),
    };
    let named = wrong.iter().take(MOST_NAMED).map(|one| {
        let path = if one.path.is_empty() { "the whole" } else { &one.path };
        format!("{path}: {}", one.message)
    });
    let named: Vec<String> = named.collect();
    Err(format!("{whose} does not fit its schema or check: {}", named.join("; ")))
}
