//! The record of the broker session: `health_check.log`, one JSON object a line, and `trading_bot.log` for people.
//!
//! Lines are compact JSON with `event` first, so that `grep '"event":"health_check.executed"'` finds them. A line is
//! one `write` on an append-mode file of mode 0600. Files rotate by size, and are opened anew when a signal asks for
//! it. Everything passes the redaction. A write that fails is reported once and never blocks trading. Callers give
//! kinds and fixed texts, never error payloads, URLs or headers.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use botops_core::redact;
use botops_core::telemetry::LogFile;

/// A file is renamed when it reaches this size; three old ones are kept.
const MAX_BYTES: u64 = 10 * 1024 * 1024;
const KEPT: u32 = 3;

/// Handle to both logs; cloning is cheap.
#[derive(Debug, Clone)]
pub struct HealthLog {
    inner: Arc<Mutex<HealthLogInner>>,
}

#[derive(Debug)]
struct HealthLogInner {
    records: RotatingFile,
    text: RotatingFile,
    session_id: String,
    broker: String,
    seq: u64,
    loss_reported: bool,
}

impl HealthLog {
    /// Opens the logs in a folder; existing files are appended to. One that cannot be opened is tried again with each
    /// line: the session works without its logs.
    pub fn open(folder: &Path, broker: &str, session_id: &str) -> Self {
        // A folder that cannot be made is told by the first line that cannot be written.
        let _ = fs::create_dir_all(folder);
        let inner = HealthLogInner {
            records: RotatingFile::new(folder.join("health_check.log"), MAX_BYTES),
            text: RotatingFile::new(folder.join("trading_bot.log"), MAX_BYTES),
            session_id: session_id.to_owned(),
            broker: broker.to_owned(),
            seq: 0,
            loss_reported: false,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Writes one event to both logs. `fields` follow the common keys in the given order.
    pub fn event(
        &self,
        at: DateTime<Utc>,
        event: &str,
        generation: u64,
        context: &str,
        fields: &[(&str, Value)],
    ) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.seq += 1;
        let mut record = Map::new();
        let common = [
            ("event", event.into()),
            ("timestamp", at.to_rfc3339_opts(SecondsFormat::Millis, true).into()),
            ("session_id", inner.session_id.clone().into()),
            ("generation", generation.into()),
            ("seq", inner.seq.into()),
            ("broker", inner.broker.clone().into()),
            ("context", context.into()),
        ];
        let mut line = String::from("{");
        for (key, value) in common
            .iter()
            .map(|(key, value)| (*key, value))
            .chain(fields.iter().map(|(key, value)| (*key, value)))
        {
            record.insert(key.to_owned(), value.clone());
        }
        let mut masked = Value::Object(record);
        redact::json(&mut masked);
        let keys = common.iter().map(|(key, _)| *key).chain(fields.iter().map(|(key, _)| *key));
        for key in keys {
            let Some(value) = masked.get(key) else { continue };
            let comma = if line.len() > 1 { "," } else { "" };
            let _ = write!(line, "{comma}\"{key}\":{value}");
        }
        line.push_str("}\n");
        let written = inner.records.append(&line);
        inner.report_loss(&written);
        // A decision of the gate delays an order: only one write, and no line in the text log.
        if event == "trade_gate.decided" {
            return;
        }
        let text = text_line(at, "health", event, context, fields);
        let written = inner.text.append(&text);
        inner.report_loss(&written);
    }

    /// Writes one line to the text log only, such as `TRADE EXECUTED` of component `bot`.
    pub fn text(&self, at: DateTime<Utc>, component: &str, message: &str, fields: &[(&str, Value)]) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text_line(at, component, message, "", fields);
        let written = inner.text.append(&text);
        inner.report_loss(&written);
    }
}

impl HealthLogInner {
    /// Reports only the first failed write: a full disk would otherwise fill the program's log as well.
    fn report_loss(&mut self, written: &io::Result<()>) {
        if let Err(error) = written
            && !self.loss_reported
        {
            tracing::error!(error.kind = %error.kind(), "the health log {} cannot be written ({}): free space there, or remove what is in its place", self.records.path.display(), error.kind());
            self.loss_reported = true;
        }
    }
}

/// `2025-10-09 14:32:15 UTC | INFO     | health | health_check.executed | latency_ms=127`
///
/// The usual context is left out, also in the lines after `executed`, which are of the same check.
fn text_line(
    at: DateTime<Utc>,
    component: &str,
    event: &str,
    context: &str,
    fields: &[(&str, Value)],
) -> String {
    let failed = event.ends_with(".failed") || event.ends_with("_failed") || event.ends_with(".opened");
    let level = if failed { "WARNING " } else { "INFO    " };
    let mut line = format!("{} UTC | {level} | {component} | {event}", at.format("%Y-%m-%d %H:%M:%S"));
    let is_said = ["health_check.passed", "health_check.failed"].contains(&event);
    if !is_said && !["", "periodic"].contains(&context) {
        let _ = write!(line, " | context={context}");
    }
    for (key, value) in fields {
        let _ = match (*key, value) {
            ("session_uptime_seconds", Value::Number(seconds)) => {
                write!(line, " | session_uptime={}s", seconds.as_f64().unwrap_or_default().floor())
            }
            (key, Value::String(text)) => write!(line, " | {key}={text}"),
            (key, value) => write!(line, " | {key}={value}"),
        };
    }
    let mut line = redact::line(&line.replace(['\n', '\r'], " "));
    line.push('\n');
    line
}

/// A log file that is renamed and begun anew when it is full.
#[derive(Debug)]
struct RotatingFile {
    path: PathBuf,
    /// `None` while it cannot be opened.
    file: Option<LogFile>,
    max: u64,
}

impl RotatingFile {
    fn new(path: PathBuf, max: u64) -> Self {
        Self { file: LogFile::open(path.clone()).ok(), path, max }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(LogFile::open(self.path.clone())?),
        };
        let (size, _) = file.extent();
        if size > 0 && size + line.len() as u64 > self.max {
            rotate(&self.path, file)?;
        }
        file.append(line.as_bytes())
    }
}

fn rotate(path: &Path, file: &mut LogFile) -> io::Result<()> {
    let old = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    for n in (1..KEPT).rev() {
        if old(n).exists() {
            fs::rename(old(n), old(n + 1))?;
        }
    }
    file.put_aside(&old(1))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_line_is_compact_json_with_the_event_first_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let log = HealthLog::open(folder.path(), "paper", "sid");
        let fields = [("latency_ms", 127.into()), ("note", "Bearer canary".into())];
        log.event(DateTime::UNIX_EPOCH, "health_check.executed", 3, "periodic", &fields);
        let text = fs::read_to_string(folder.path().join("health_check.log")).unwrap();
        assert_eq!(
            text,
            "{\"event\":\"health_check.executed\",\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"session_id\":\"sid\",\
             \"generation\":3,\"seq\":1,\"broker\":\"paper\",\"context\":\"periodic\",\"latency_ms\":127,\
             \"note\":\"Bearer *****\"}\n"
        );
        let people = fs::read_to_string(folder.path().join("trading_bot.log")).unwrap();
        assert_eq!(
            people,
            "1970-01-01 00:00:00 UTC | INFO     | health | health_check.executed | latency_ms=127 | \
             note=Bearer *****\n"
        );
        let mode = fs::metadata(folder.path().join("health_check.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn people_read_the_context_once_a_check_and_only_an_unusual_one() {
        let text = |event, context| text_line(DateTime::UNIX_EPOCH, "health", event, context, &[]);
        assert!(
            text("health_check.executed", "pre_trade")
                .ends_with("| health_check.executed | context=pre_trade\n")
        );
        assert!(text("health_check.executed", "periodic").ends_with("| health_check.executed\n"));
        assert!(text("health_check.passed", "pre_trade").ends_with("| health_check.passed\n"));
        assert!(text("health_check.failed", "pre_trade").contains(" UTC | WARNING  | health | "));
    }

    #[test]
    fn a_full_file_moves_aside_and_three_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let mut file = RotatingFile::new(path.clone(), 10);
        for n in 0..8 {
            file.append(&format!("line {n}\n")).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 7\n");
        assert_eq!(fs::read_to_string(folder.path().join("x.log.1")).unwrap(), "line 6\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_text_with_a_newline_stays_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = HealthLog::open(folder.path(), "paper", "sid");
        log.text(DateTime::UNIX_EPOCH, "bot", "TRADE EXECUTED", &[("symbol", "A\nB".into())]);
        let people = fs::read_to_string(folder.path().join("trading_bot.log")).unwrap();
        assert_eq!(people, "1970-01-01 00:00:00 UTC | INFO     | bot | TRADE EXECUTED | symbol=A B\n");
    }
}
