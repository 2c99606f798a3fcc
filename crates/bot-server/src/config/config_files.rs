//! The files behind a bot's config: what is committed, how trials ended, and a candidate for the next start.
//!
//! Where the folder of botops is on the same disk, its `HEAD` names what is committed; otherwise the bot keeps that itself.
//! Without a folder of the bot's own, all of it but `HEAD` is kept in memory alone.

use std::collections::VecDeque;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use botops_contract::{ActivateConfigRequest, VersionRef};
use botops_core::durable_file::{self, PRIVATE};
use botops_core::regular_file::{read_regular, read_regular_text};
use botops_core::text::sha256_hex;
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Endings that are kept; a message of an older transaction is treated as new.
const KEPT_ENDINGS: usize = 256;
/// A candidate that waited longer than this for a start is not booted any more.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(10);

const OUTCOMES: &str = "config-outcomes.json";
const COMMITTED: &str = "config-committed.json";
const CANDIDATE: &str = "config-boot-once.json";

/// A document with its number; the hash is that of exactly this text.
#[derive(Debug, Clone)]
pub(super) struct ConfigDocument {
    pub(super) version: VersionRef,
    pub(super) text: Arc<str>,
}

impl ConfigDocument {
    pub(super) fn new(version: u64, text: &str) -> Self {
        Self { version: VersionRef { version, sha256: sha256_hex(text) }, text: text.into() }
    }
}

/// The files, and what of them is held in memory.
#[derive(Debug)]
pub(super) struct ConfigFiles {
    own: Option<PathBuf>,
    head_folder: Option<PathBuf>,
    outcomes: OutcomesContent,
}

/// The highest generation, and each transaction with how it ended (`committed`, `reverted`, `trial_expired`), oldest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct OutcomesContent {
    #[serde(rename = "gen")]
    generation: u64,
    endings: VecDeque<(String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CommittedContent {
    version: u64,
    sha256: String,
    document: String,
}

/// A document that the next start runs once, on trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NextStartCandidate {
    pub(super) txn: String,
    base: VersionRef,
    pub(super) candidate: VersionRef,
    pub(super) document: String,
    /// How long the trial may last, in milliseconds from the start that boots it.
    pub(super) ttl_ms: u64,
    at: DateTime<Utc>,
    tries: u8,
}

#[derive(Debug, Deserialize)]
struct HeadContent {
    version: u64,
    sha256: String,
    file: String,
}

impl ConfigFiles {
    /// The files in the bot's own folder, with how earlier trials ended.
    ///
    /// # Errors
    /// One sentence: a file does not hold, and an ending that was forgotten could begin anew.
    pub(super) fn open(own: Option<PathBuf>, head_folder: Option<PathBuf>) -> Result<Self, String> {
        let mut files = Self { own, head_folder, outcomes: OutcomesContent::default() };
        files.outcomes = files.read(OUTCOMES)?.unwrap_or_default();
        Ok(files)
    }

    /// Whether a folder of the bot's own keeps them over a restart.
    pub(super) fn are_kept(&self) -> bool {
        self.own.is_some()
    }

    /// Whether `HEAD` of botops names what is committed.
    pub(super) fn follow_head(&self) -> bool {
        self.head_folder.is_some()
    }

    pub(super) fn generation(&self) -> u64 {
        self.outcomes.generation
    }

    /// How a transaction ended; `None` when it has not, or is forgotten.
    pub(super) fn ending(&self, txn: &str) -> Option<&str> {
        let mut newest_first = self.outcomes.endings.iter().rev();
        newest_first.find(|(of, _)| of == txn).map(|(_, what)| what.as_str())
    }

    pub(super) fn last_ending(&self) -> Option<(String, String)> {
        self.outcomes.endings.back().cloned()
    }

    /// Keeps a generation and an ending; after an error neither is kept.
    ///
    /// # Errors
    /// The error of the file system.
    pub(super) fn record(&mut self, generation: u64, ending: Option<(&str, &str)>) -> io::Result<()> {
        if ending.is_none() && generation <= self.outcomes.generation {
            return Ok(());
        }
        let next = self.outcomes.with(generation, ending);
        if self.own.is_some() {
            self.replace(OUTCOMES, &next)?;
        }
        self.outcomes = next;
        Ok(())
    }

    /// Keeps an ending that has happened already, whether it can be written or not.
    pub(super) fn remember(&mut self, generation: u64, txn: &str, what: &str) {
        if let Err(error) = self.record(generation, Some((txn, what))) {
            tracing::warn!("config transaction {txn} ended as {what}, which is not on disk: {error}");
            self.outcomes = self.outcomes.with(generation, Some((txn, what)));
        }
    }

    /// What a start loads; `None` when nothing was ever committed.
    ///
    /// # Errors
    /// One sentence: a file does not hold.
    pub(super) fn load_committed(&self) -> Result<Option<ConfigDocument>, String> {
        if let Some(folder) = &self.head_folder {
            return load_head(folder);
        }
        let Some(content) = self.read::<CommittedContent>(COMMITTED)? else { return Ok(None) };
        let loaded = ConfigDocument::new(content.version, &content.document);
        if loaded.version.sha256 != content.sha256 {
            return Err(format!("{COMMITTED} does not have the hash that it says"));
        }
        Ok(Some(loaded))
    }

    /// Makes this what a start loads; where `HEAD` says it, nothing is written.
    ///
    /// # Errors
    /// The error of the file system.
    pub(super) fn store_committed(&self, committed: &ConfigDocument) -> io::Result<()> {
        if self.head_folder.is_some() || self.own.is_none() {
            return Ok(());
        }
        let VersionRef { version, sha256 } = committed.version.clone();
        self.replace(COMMITTED, &CommittedContent { version, sha256, document: committed.text.to_string() })
    }

    /// Keeps a candidate for the next start.
    ///
    /// # Errors
    /// The error of the file system, or that there is no folder.
    pub(super) fn store_candidate(
        &self,
        request: &ActivateConfigRequest,
        now: DateTime<Utc>,
    ) -> io::Result<()> {
        let candidate = NextStartCandidate {
            txn: request.txn.clone(),
            base: request.base.clone(),
            candidate: request.candidate.clone(),
            document: request.document.clone(),
            ttl_ms: request.ttl_ms,
            at: now,
            tries: 1,
        };
        self.replace(CANDIDATE, &candidate)
    }

    /// Whether the kept candidate is of this transaction and had its start.
    ///
    /// # Errors
    /// One sentence: the file does not hold.
    pub(super) fn was_tried(&self, txn: &str) -> Result<bool, String> {
        let kept = self.read::<NextStartCandidate>(CANDIDATE)?;
        Ok(kept.is_some_and(|kept| kept.txn == txn && kept.tries == 0))
    }

    /// The candidate of this start, once: that it was tried is on disk before it is returned.
    ///
    /// `None` when there is none, it was tried before, its transaction has ended, it waited too long, the clock was set to
    /// before it was stored, or something else is committed than it changes.
    ///
    /// # Errors
    /// One sentence: the file does not hold or cannot be written.
    pub(super) fn spend_try(
        &self,
        committed: &VersionRef,
        now: DateTime<Utc>,
    ) -> Result<Option<NextStartCandidate>, String> {
        let Some(kept) = self.read::<NextStartCandidate>(CANDIDATE)? else { return Ok(None) };
        let is_in_time = now >= kept.at && now - kept.at <= LONGEST_WAIT;
        let is_wanted = kept.tries == 1 && self.ending(&kept.txn).is_none();
        if !is_wanted || !is_in_time || kept.base.sha256 != committed.sha256 {
            return Ok(None);
        }
        let spent = NextStartCandidate { tries: 0, ..kept };
        self.replace(CANDIDATE, &spent).map_err(|error| format!("{CANDIDATE}: {error}"))?;
        Ok(Some(spent))
    }

    /// Has no start boot the candidate.
    ///
    /// # Errors
    /// The error of the file system.
    pub(super) fn remove_candidate(&self) -> io::Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        match std::fs::remove_file(own.join(CANDIDATE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn replace<T: Serialize>(&self, name: &str, content: &T) -> io::Result<()> {
        let own =
            self.own.as_ref().ok_or_else(|| io::Error::other("there is no data folder to keep it in"))?;
        durable_file::replace(&own.join(name), &serde_json::to_vec(content)?, PRIVATE, "bot_server")
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(own) = &self.own else { return Ok(None) };
        match read_regular(&own.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{name} cannot be read: {error}")),
            Ok(bytes) => {
                let understood = serde_json::from_slice(&bytes);
                understood.map(Some).map_err(|error| format!("{name} cannot be understood: {error}"))
            }
        }
    }
}

impl OutcomesContent {
    fn with(&self, generation: u64, ending: Option<(&str, &str)>) -> Self {
        let mut endings = self.endings.clone();
        endings.extend(ending.map(|(txn, what)| (txn.to_owned(), what.to_owned())));
        endings.drain(..endings.len().saturating_sub(KEPT_ENDINGS));
        Self { generation: generation.max(self.generation), endings }
    }
}

/// The document that `HEAD` names, verified. botops writes both.
fn load_head(folder: &Path) -> Result<Option<ConfigDocument>, String> {
    let path = folder.join("HEAD");
    let bytes = match read_regular(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
    };
    let head: HeadContent = serde_json::from_slice(&bytes)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let named = Path::new(&head.file);
    if !named.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("HEAD names a file outside its folder".to_owned());
    }
    let has_folder = named.components().count() > 1;
    let file = if has_folder { folder.join(named) } else { folder.join("versions").join(named) };
    let text = read_regular_text(&file)
        .map_err(|error| format!("HEAD cannot be followed: {}: {error}", file.display()))?;
    let loaded = ConfigDocument::new(head.version, &text);
    if loaded.version.sha256 != head.sha256.to_ascii_lowercase() {
        return Err(format!("{} does not have the hash that HEAD says", file.display()));
    }
    Ok(Some(loaded))
}
