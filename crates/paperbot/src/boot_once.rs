//! A config that the bot boots once: a candidate on disk with one try.
//!
//! The try is spent, durably, before the candidate is looked at. Whatever happens then, the next start boots `HEAD`.
//! Deliberately absent: any opinion about the document.

use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::durable;
use botops_contract::{Activate, VersionRef};

/// A candidate that waited longer than this for a start is not booted any more.
const WAITS: TimeDelta = TimeDelta::minutes(10);

/// The candidate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Candidate {
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
pub(super) fn lay_down(path: &Path, message: &Activate, now: DateTime<Utc>) -> io::Result<()> {
    let candidate = Candidate {
        txn: message.txn.clone(),
        base: message.base.clone(),
        version: message.candidate.clone(),
        document: message.document.clone(),
        ttl_ms: message.ttl_ms,
        at: now,
        tries: 1,
    };
    durable::replace(path, &serde_json::to_vec(&candidate)?)
}

/// The candidate to boot now, its try spent; `None` without one, or when it was tried, waited too long, or the clock
/// went back behind it.
pub(super) fn spend(path: &Path, head: &VersionRef, now: DateTime<Utc>) -> io::Result<Option<Candidate>> {
    let Some(mut candidate) = read(path)? else { return Ok(None) };
    let in_time = now >= candidate.at && now - candidate.at <= WAITS;
    if candidate.tries == 0 || !in_time || candidate.base.sha256 != head.sha256 {
        return Ok(None);
    }
    candidate.tries -= 1;
    durable::replace(path, &serde_json::to_vec(&candidate)?)?;
    Ok(Some(candidate))
}

/// Whether this transaction had its try.
pub(super) fn was_tried(path: &Path, txn: &str) -> bool {
    read(path).ok().flatten().is_some_and(|candidate| candidate.txn == txn && candidate.tries == 0)
}

/// Takes the candidate away; it is not booted any more.
pub(super) fn take_away(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> io::Result<Option<Candidate>> {
    match fs::read(path) {
        // What cannot be read was never laid down whole; it is not booted.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
