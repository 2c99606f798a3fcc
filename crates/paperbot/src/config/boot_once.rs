//! A config that the bot boots once: a candidate on disk with one try.
//!
//! The try is spent, durably, before the candidate is read. Whatever happens then, the next start boots `HEAD`.

use std::fs;
use std::io;
use std::path::Path;

use botops_core::durable_file;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use botops_contract::{ActivateConfigRequest, VersionRef};

/// A candidate that waited longer than this for a start is not booted any more.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(10);

/// The candidate, as it stands on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BootOnceCandidate {
    /// The transaction it belongs to.
    pub txn: String,
    /// What it is based on; `HEAD` must still name it.
    pub base: VersionRef,
    /// Its number and hash.
    pub version: VersionRef,
    /// The document.
    pub document: String,
    /// How long it may run, from the start.
    pub ttl_ms: u64,
    at: DateTime<Utc>,
    tries: u8,
}

/// Puts a candidate on disk, to be booted by the next start.
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

/// The candidate to boot now, its try spent; `None` without one, or when it was tried, waited too long, or the clock
/// went back behind it.
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

/// Whether this transaction had its try.
pub(super) fn was_tried(path: &Path, txn: &str) -> bool {
    read_candidate(path).ok().flatten().is_some_and(|candidate| candidate.txn == txn && candidate.tries == 0)
}

/// Removes the candidate: it is not booted any more.
pub(super) fn remove_candidate(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read_candidate(path: &Path) -> io::Result<Option<BootOnceCandidate>> {
    match fs::read(path) {
        // What cannot be read was never stored whole; it is not booted.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
