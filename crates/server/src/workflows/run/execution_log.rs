//! `workflow_execution_log.jsonl`: one line per fact, for people and other tools.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::facts::RunFact;
use super::state::WorkflowRunState;
use crate::operations_log::OperationRow;
use botops_core::telemetry::LogFile;

/// Bytes at the end of the log that are read after a crash, to find the lines that were written.
const TAIL: u64 = 512 * 1024;

/// The execution log; a handle to the open file.
#[derive(Debug, Clone)]
pub(crate) struct ExecutionLog {
    path: PathBuf,
    file: Arc<Mutex<Option<LogFile>>>,
}

impl ExecutionLog {
    /// Opens the log. Without it runs go on, since the store has all facts.
    pub(crate) fn open(path: &Path) -> Self {
        let file = LogFile::open(path.to_owned()).map_err(|error| {
            tracing::error!("the workflow log {} cannot be written: {error}", path.display());
        });
        Self { path: path.to_owned(), file: Arc::new(Mutex::new(file.ok())) }
    }

    /// Writes the line of a fact that is already stored.
    pub(crate) fn write_line(
        &self,
        op: &OperationRow,
        seq: u64,
        at_ms: i64,
        fact: &RunFact,
        state: WorkflowRunState,
    ) {
        let (kind, _) = fact.to_row();
        let at = DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or_default();
        let error = fact.error();
        let level = if error.is_some() { "WARN" } else { "INFO" };
        let mut line = json!({
            "timestamp": at, "level": level, "event": kind, "message": fact.sentence(&op.name), "workflow_id": op.name,
            "run_id": op.op_id, "seq": seq, "state": state, "step": fact.step(), "error": error,
            "actor": op.actor.key_id, "request_id": op.actor.request_id, "definition_sha256": op.def_sha,
        });
        botops_core::redact::json(&mut line);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.as_mut() else { return };
        if let Err(error) = file.append(format!("{line}\n").as_bytes()) {
            tracing::warn!("a line of the workflow log was not written: {error}");
        }
    }

    /// The highest fact number of each run among the newest lines; facts above it were stored but not logged.
    pub(crate) fn newest_seqs(&self) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.as_mut() else { return found };
        let mut tail = String::new();
        let read = File::open(&self.path).and_then(|mut written| {
            written.seek(SeekFrom::Start(written.metadata()?.len().saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            written.read_to_end(&mut bytes)?;
            tail = String::from_utf8_lossy(&bytes).into_owned();
            // A line that a crash cut off gets its line end, so that the next one is a line of its own.
            if bytes.last().is_some_and(|last| *last != b'\n') { file.append(b"\n") } else { Ok(()) }
        });
        if let Err(error) = read {
            tracing::warn!("the workflow log could not be read back: {error}");
        }
        for line in tail.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if let (Some(run), Some(seq)) = (line["run_id"].as_str(), line["seq"].as_u64()) {
                found.insert(run.to_owned(), seq);
            }
        }
        found
    }
}
