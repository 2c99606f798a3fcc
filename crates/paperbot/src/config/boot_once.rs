//! A candidate config on disk that the next start runs once, on trial.
//!
//! That it was tried is on disk before the candidate runs, so whatever happens then, the start after it boots `HEAD`.

use std::fs;
use std::io;
use std::path::Path;

use botops_core::durable_file;
use botops_core::regular_file::read_regular;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use botops_contract::{ActivateConfigRequest, VersionRef};

/// A candidate that waited longer than this for a start is not booted any more.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(10);

/// The candidate's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BootOnceCandidate {
    pub txn: String,
    /// Version that it changes; it is booted only while `HEAD` names this one.
    pub base: VersionRef,
    pub version: VersionRef,
    /// The whole document as text; `version` has the hash of these bytes.
    pub document: String,
    /// How long the trial may last, in milliseconds from the start that boots it.
    pub ttl_ms: u64,
    at: DateTime<Utc>,
    tries: u8,
}

/// Stores a candidate durably, for the next start to boot.
pub(super) fn store_candidate(
    path: &Path,
    message: &ActivateConfigRequest,
    now: DateTime<Utc>,
) -> io::Result<()> {
    let candidate = BootOnceCandidate {
        txn: message.txn.clone(),
        base: message.base.clone(),
        version: message.candidate.clone(),
        document: message.document.clone(),
        ttl_ms: message.ttl_ms,
        at: now,
        tries: 1,
    };
    durable_file::replace(path, &serde_json::to_vec(&candidate)?, durable_file::PRIVATE, "paperbot")
}

/// Marks the candidate as tried, durably, and returns it.
///
/// `None` when there is none, it was tried before, it waited too long, the clock was set to before it was stored, or
/// `HEAD` is no longer the version that it changes.
pub(super) fn spend_try(
    path: &Path,
    head: &VersionRef,
    now: DateTime<Utc>,
) -> io::Result<Option<BootOnceCandidate>> {
    let Some(mut candidate) = read_candidate(path)? else { return Ok(None) };
    let in_time = now >= candidate.at && now - candidate.at <= LONGEST_WAIT;
    if candidate.tries == 0 || !in_time || candidate.base.sha256 != head.sha256 {
        return Ok(None);
    }
    candidate.tries -= 1;
    durable_file::replace(path, &serde_json::to_vec(&candidate)?, durable_file::PRIVATE, "paperbot")?;
    Ok(Some(candidate))
}

/// Whether the stored candidate is of this transaction and was tried.
pub(super) fn was_tried(path: &Path, txn: &str) -> bool {
    read_candidate(path).ok().flatten().is_some_and(|candidate| candidate.txn == txn && candidate.tries == 0)
}

/// Removes the candidate, so that no start boots it.
pub(super) fn remove_candidate(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read_candidate(path: &Path) -> io::Result<Option<BootOnceCandidate>> {
    match read_regular(path) {
        // A file that cannot be parsed counts as no candidate: nothing unverified is booted.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
