//! The scripted bot's config verbs: a real state machine.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use botops_contract::{
    ActivateConfigRequest, BotReport, CheckConfigRequest, CheckVerdict, ConfigAck, ConfigState,
    ConfigViolation, ContractRefusal, EndTrialRequest, RunningConfig, RunningDocument, TrialState,
    VersionRef,
};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The schema that a scripted bot brings, unless the test sets another: paperbot's.
pub(crate) const SCHEMA: &str = include_str!("../../../crates/paperbot/schemas/bot-config.schema.json");

/// The document that it runs at first.
pub(crate) const DOCUMENT: &str = include_str!("../../../crates/paperbot/schemas/default-bot-config.json");

/// The bot's state of config changes. With `folder` it reads `HEAD` there, as a real bot does.
pub(crate) struct ScriptedConfig {
    /// The folder of `HEAD`; with `None` every commit of the trial's version is accepted.
    pub folder: Option<PathBuf>,
    /// The violations that `check` and `activate` report.
    pub violations: Vec<ConfigViolation>,
    /// Documents that it was given, by their hash.
    pub documents: HashMap<String, String>,
    /// Whether the bot never ends a trial by its own timer.
    pub patient: bool,
    boot_epoch: String,
    running: VersionRef,
    committed: VersionRef,
    trial: Option<(String, VersionRef, Instant)>,
    endings: Vec<(String, String)>,
    generation: u64,
}

impl ScriptedConfig {
    pub(crate) fn new(report: &BotReport) -> Self {
        Self {
            folder: None,
            violations: Vec::new(),
            documents: HashMap::from([(sha256(DOCUMENT.as_bytes()), DOCUMENT.to_owned())]),
            patient: false,
            boot_epoch: report.boot_epoch.clone().unwrap_or_default(),
            running: running_config(report).running.clone(),
            committed: running_config(report).committed.clone(),
            trial: None,
            endings: Vec::new(),
            generation: 0,
        }
    }

    /// Runs this document from the beginning, as its built-in one.
    pub(crate) fn run_built_in(&mut self, document: &str) {
        let version = VersionRef { version: 0, sha256: sha256(document.as_bytes()) };
        self.documents.insert(version.sha256.clone(), document.to_owned());
        (self.running, self.committed) = (version.clone(), version);
    }

    /// Changes the running version without a request, as a bot with a defect would.
    pub(crate) fn drift(&mut self, running: VersionRef) {
        self.running = running;
    }

    pub(crate) fn boot(&mut self, boot_epoch: String) {
        self.boot_epoch = boot_epoch;
        self.trial = None;
        self.read_head();
        self.running = self.committed.clone();
    }

    fn read_head(&mut self) {
        let Some(folder) = &self.folder else { return };
        let bytes = std::fs::read(folder.join("HEAD")).unwrap_or_default();
        let Ok(head) = serde_json::from_slice::<Value>(&bytes) else { return };
        if let Ok(text) = std::fs::read_to_string(folder.join(head["file"].as_str().unwrap_or_default())) {
            self.documents.insert(sha256(text.as_bytes()), text);
        }
        if let Ok(version) = serde_json::from_value(head) {
            self.committed = version;
        }
    }

    /// What runs; `None` when only its hash is known.
    pub(crate) fn document(&mut self) -> Option<RunningDocument> {
        self.expire();
        let document = self.documents.get(&self.running.sha256)?.clone();
        Some(RunningDocument { running: self.running.clone(), document })
    }

    pub(crate) fn state(&mut self) -> ConfigState {
        self.expire();
        self.read_head();
        let trial = self.trial.as_ref().map(|(txn, candidate, until)| TrialState {
            txn: txn.clone(),
            candidate: candidate.clone(),
            ttl_left_ms: u64::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap(),
        });
        ConfigState {
            boot_epoch: self.boot_epoch.clone(),
            running: self.running.clone(),
            committed: self.committed.clone(),
            trial,
            pending_restart: Vec::new(),
            last_outcome: self.endings.last().cloned(),
            generation: self.generation,
        }
    }

    pub(crate) fn check(&self, check: &CheckConfigRequest) -> CheckVerdict {
        let mut violations = self.violations.clone();
        if !check.config.is_object() {
            let (path, code) = (String::new(), "not_an_object".to_owned());
            let message = "a config is an object".to_owned();
            violations.push(ConfigViolation { path, code, message, fix: None });
        }
        violations.extend(broken_rules(&check.config));
        CheckVerdict { ok: violations.is_empty(), violations, ..CheckVerdict::default() }
    }

    pub(crate) fn activate(&mut self, message: &ActivateConfigRequest) -> Result<ConfigAck, ContractRefusal> {
        self.fence(message.generation)?;
        if self.trial.as_ref().is_some_and(|(txn, ..)| *txn == message.txn) {
            return Ok(self.ack(&message.txn));
        }
        if self.ending(&message.txn).is_some() {
            return Err(self.no("txn_over", "this transaction has ended"));
        }
        if self.trial.is_some() {
            return Err(self.no("trial_live", "another trial runs"));
        }
        if message.base.sha256 != self.running.sha256 {
            return Err(self.no("base_mismatch", "something else runs"));
        }
        if sha256(message.document.as_bytes()) != message.candidate.sha256 {
            return Err(self.no("hash_mismatch", "the document does not have the candidate's hash"));
        }
        let config = serde_json::from_str(&message.document).unwrap_or(Value::Null);
        let verdict = self.check(&CheckConfigRequest { config });
        if !verdict.ok {
            return Err(ContractRefusal {
                context: json!(verdict),
                ..self.no("check_failed", "not with this document")
            });
        }
        self.documents.insert(message.candidate.sha256.clone(), message.document.clone());
        let until = Instant::now() + Duration::from_millis(message.ttl_ms);
        self.trial = Some((message.txn.clone(), message.candidate.clone(), until));
        self.running = message.candidate.clone();
        Ok(self.ack(&message.txn))
    }

    pub(crate) fn commit(&mut self, message: &EndTrialRequest) -> Result<ConfigAck, ContractRefusal> {
        self.fence(message.generation)?;
        if self.trial.as_ref().is_none_or(|(txn, ..)| *txn != message.txn) {
            return match self.ending(&message.txn) {
                Some("committed") => Ok(self.ack(&message.txn)),
                _ => Err(self.no("not_in_trial", "this transaction is not on trial")),
            };
        }
        if self.folder.is_none() {
            self.committed = self.running.clone();
        }
        self.read_head();
        if self.committed.sha256 != self.running.sha256 {
            return Err(self.no("head_mismatch", "HEAD does not name the document on trial"));
        }
        self.trial = None;
        self.running = self.committed.clone();
        self.endings.push((message.txn.clone(), "committed".to_owned()));
        Ok(self.ack(&message.txn))
    }

    pub(crate) fn revert(&mut self, message: &EndTrialRequest) -> Result<ConfigAck, ContractRefusal> {
        self.fence(message.generation)?;
        if self.trial.as_ref().is_some_and(|(txn, ..)| *txn == message.txn) {
            self.go_back("reverted");
        } else if self.trial.is_some() || self.ending(&message.txn) == Some("committed") {
            return Err(self.no("not_in_trial", "this transaction is not on trial"));
        } else if self.ending(&message.txn).is_none() {
            self.endings.push((message.txn.clone(), "reverted".to_owned()));
        }
        Ok(self.ack(&message.txn))
    }

    fn expire(&mut self) {
        if !self.patient && self.trial.as_ref().is_some_and(|(.., until)| Instant::now() >= *until) {
            self.go_back("trial_expired");
        }
    }

    fn go_back(&mut self, how: &str) {
        if let Some((txn, ..)) = self.trial.take() {
            self.read_head();
            self.running = self.committed.clone();
            self.endings.push((txn, how.to_owned()));
        }
    }

    fn fence(&mut self, generation: u64) -> Result<(), ContractRefusal> {
        self.expire();
        if generation < self.generation {
            return Err(self.no("older_generation", "a newer server has spoken"));
        }
        self.generation = generation;
        Ok(())
    }

    fn ending(&self, txn: &str) -> Option<&str> {
        self.endings.iter().rev().find(|(of, _)| of == txn).map(|(_, how)| how.as_str())
    }

    fn ack(&self, txn: &str) -> ConfigAck {
        ConfigAck { txn: txn.to_owned(), running: self.running.clone(), boot_epoch: self.boot_epoch.clone() }
    }

    fn no(&self, code: &str, message: &str) -> ContractRefusal {
        ContractRefusal { context: json!({ "running": self.running }), ..refusal(code, message) }
    }
}

/// Rules between fields of a document in paperbot's form.
fn broken_rules(config: &Value) -> Vec<ConfigViolation> {
    let hours = &config["trading"]["hours"];
    let reversed =
        hours["start_time"].as_str() >= hours["end_time"].as_str() && hours["start_time"].is_string();
    let zone = hours["timezone"].as_str().unwrap_or("UTC");
    let targets = config["targets"].as_array().into_iter().flatten();
    let weights: f64 = targets.filter_map(|target| target["weight"].as_f64()).sum();
    let rules = [
        (reversed, "/trading/hours/start_time", "hours_reversed"),
        (chrono_tz::Tz::from_str(zone).is_err(), "/trading/hours/timezone", "zone_unknown"),
        (weights > 1.0, "/targets", "weights_above_one"),
    ];
    let broken = rules.into_iter().filter(|(is_broken, ..)| *is_broken);
    broken
        .map(|(_, path, code)| {
            let (path, code, message) = (path.to_owned(), code.to_owned(), format!("{path} breaks a rule"));
            ConfigViolation { path, code, message, fix: None }
        })
        .collect()
}

/// SHA-256 as lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// A refusal without context.
pub(crate) fn refusal(code: &str, message: &str) -> ContractRefusal {
    ContractRefusal { code: code.to_owned(), message: message.to_owned(), context: Value::Null }
}

fn running_config(report: &BotReport) -> &RunningConfig {
    report.config.as_ref().expect("a scripted bot reports its config")
}
