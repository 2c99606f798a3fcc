//! The JSONL log and the Prometheus metrics of the process.
//!
//! The log rotates by day and by size, keeps a bounded number of files, and never makes a request wait: when the disk
//! is too slow or full, lines are dropped, counted and told. What must not be lost goes into the audit or the journal
//! instead. [`reopen_logs`]
//! makes every log file begin anew under its name. On a terminal the same lines are shown in readable form. Metric
//! handles are looked up at start; a request only adds to them.

use std::borrow::Cow;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{NaiveDate, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use secrecy::{ExposeSecret, SecretString};
use std::sync::atomic::{AtomicU64, Ordering};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::regular_file::open_regular;

/// Size in bytes at which a log file is rotated before the day ends.
const FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// Number of log files that are kept, the current one included.
const FILES: usize = 14;

/// Secrets with fewer bytes than this are not masked in log lines: they would match too much ordinary text.
const SECRET_MIN: usize = 6;

/// Histogram bounds for request durations, in seconds: from a cached read to the deadline.
const BUCKETS: [f64; 12] = [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 2.5, 30.0];

/// The target of lines about what operators changed. They stand in the log and in a file of their own as well, which
/// nothing else can fill, whatever the filter is.
pub const CHANGES_BY_OPERATORS: &str = "botops::operators";

/// Keeps the log's writers running; dropping it writes the queued lines.
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
    _operators: Option<WorkerGuard>,
}

/// Starts the log: `<folder>/<name>.log` as JSONL, and readable lines on stderr when that is a terminal. With the name of
/// an operators' file, [`CHANGES_BY_OPERATORS`] go into that as well.
///
/// `RUST_LOG` sets the filter; the default is `info` without the noisy targets of libraries. `secrets` are masked in
/// every line: no code logs one, but a client may put its key into a path or a query.
///
/// # Errors
/// When the log file in the folder cannot be opened.
pub fn start_logging(
    folder: &Path,
    name: &'static str,
    operators: Option<&'static str>,
    filter: &str,
    secrets: &[SecretString],
) -> io::Result<LogGuard> {
    std::fs::create_dir_all(folder)?;
    let secrets = SecretForms::new(secrets);
    let file = RollingFile::open(folder.to_owned(), name, secrets.clone())?;
    let (writer, worker) = NonBlockingBuilder::default().lossy(true).finish(file);
    let changes = match operators {
        Some(name) => {
            let file = RollingFile::open(folder.to_owned(), name, secrets.clone())?;
            Some(NonBlockingBuilder::default().lossy(true).finish(file))
        }
        None => None,
    };
    let (changes, operators_worker) = changes.unzip();
    let queues = [Some(&writer), changes.as_ref()].into_iter().flatten();
    QUEUES.lock().unwrap_or_else(PoisonError::into_inner).extend(queues.map(|queue| queue.error_counter()));
    let filter = || EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
        .with_filter(filter());
    let changes = changes.map(|writer| {
        tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(writer)
            // Decided once for each place that logs: a filter that is asked each time slows every request.
            .with_filter(Targets::new().with_target(CHANGES_BY_OPERATORS, LevelFilter::INFO))
    });
    let terminal = io::stderr().is_terminal().then(|| {
        let writer = move || TerminalWriter(secrets.clone());
        tracing_subscriber::fmt::layer().compact().with_writer(writer).with_filter(filter())
    });
    // A second start in one process (tests) keeps the first log.
    let _ = tracing_subscriber::registry().with(json).with(changes).with(terminal).try_init();
    Ok(LogGuard { _worker: worker, _operators: operators_worker })
}

/// Lines that no log file of this process took, and the queues in front of the files, which count what had no room in
/// them. Statics, since what is logged belongs to the process and not to a part of it.
static UNWRITTEN_LINES: AtomicU64 = AtomicU64::new(0);
static QUEUES: Mutex<Vec<ErrorCounter>> = Mutex::new(Vec::new());

/// How many log lines of this process were lost so far: the disk was too slow for them, or did not take them.
pub fn lost_log_lines() -> u64 {
    let queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    let dropped = queues.iter().fold(0_u64, |sum, queue| sum.saturating_add(queue.dropped_lines() as u64));
    dropped.saturating_add(UNWRITTEN_LINES.load(Ordering::Relaxed))
}

/// How often reopening was asked for. A static, since the signal that asks for it concerns the whole process.
static OPENINGS: AtomicU64 = AtomicU64::new(0);

/// Makes every [`LogFile`] of this process reopen its path before its next line.
///
/// For log rotation by another program: files that were moved away stay complete, and later lines go into new files
/// under the old names.
pub fn reopen_logs() {
    OPENINGS.fetch_add(1, Ordering::Relaxed);
}

/// A log file: lines are appended, and [`reopen_logs`] makes it begin anew under its name.
///
/// Not for content that must not be lost or must stay in one file, such as a ledger or an audit.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    day: NaiveDate,
    opening: u64,
    /// Whether a line was written in part.
    is_torn: bool,
}

impl LogFile {
    /// Opens the file for appending; a new one is readable and writable by its owner alone.
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        // Read before opening: a request to reopen that comes in between is then seen at the next line.
        let opening = OPENINGS.load(Ordering::Relaxed);
        let file = append_to(&path)?;
        let metadata = file.metadata()?;
        let (today, changed) = (Utc::now(), metadata.modified().map(chrono::DateTime::<Utc>::from));
        let day = if metadata.len() == 0 { today } else { changed.unwrap_or(today) }.date_naive();
        Ok(Self { size: metadata.len(), path, file, day, opening, is_torn: false })
    }

    /// The file's size in bytes and the day of its lines.
    pub fn extent(&mut self) -> (u64, NaiveDate) {
        self.follow();
        (self.size, self.day)
    }

    /// Appends whole lines. What was written of lines that did not fit is a line of its own, and spoils no later one.
    ///
    /// # Errors
    /// When the lines cannot be written.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow();
        if self.size == 0 {
            self.day = Utc::now().date_naive();
        }
        if self.is_torn {
            self.write(b"\n")?;
            self.is_torn = false;
        }
        self.write(lines)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.size += written as u64;
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.is_torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Renames the file to `aside` and begins a new one.
    ///
    /// # Errors
    /// When the rename fails or the new file cannot be opened.
    pub fn put_aside(&mut self, aside: &Path) -> io::Result<()> {
        match std::fs::rename(&self.path, aside) {
            // Another program has moved it already; that serves as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        *self = Self::open(self.path.clone())?;
        Ok(())
    }

    /// Reopens the file when [`reopen_logs`] asked for it. If that fails, lines still go into the old file, so that
    /// none is lost, and the next line tries again.
    fn follow(&mut self) {
        if OPENINGS.load(Ordering::Relaxed) != self.opening
            && let Ok(anew) = Self::open(self.path.clone())
        {
            *self = anew;
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let open = || open_regular(path, OpenOptions::new().create(true).append(true).mode(0o600));
    match (open(), path.parent()) {
        // The whole folder was moved away.
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            open()
        }
        (opened, _) => opened,
    }
}

/// A log file that is rotated at midnight UTC and when it reaches [`FILE_LIMIT`].
struct RollingFile {
    folder: PathBuf,
    name: &'static str,
    file: LogFile,
    secrets: SecretForms,
    /// Lines that were not written since the last one that was, and why.
    unwritten: Option<(u64, String)>,
}

impl RollingFile {
    fn open(folder: PathBuf, name: &'static str, secrets: SecretForms) -> io::Result<Self> {
        let file = LogFile::open(folder.join(format!("{name}.log")))?;
        Ok(Self { folder, name, file, secrets, unwritten: None })
    }

    fn roll(&mut self) -> io::Result<()> {
        let stamp = Utc::now().format("%Y%m%dT%H%M%S%.3f");
        self.file.put_aside(&self.folder.join(format!("{}.{stamp}.log", self.name)))?;
        self.delete_oldest()
    }

    fn delete_oldest(&self) -> io::Result<()> {
        let prefix = format!("{}.", self.name);
        let mut old: Vec<PathBuf> = std::fs::read_dir(&self.folder)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let stamp = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".log"));
                stamp.is_some_and(|stamp| !stamp.is_empty())
            })
            .collect();
        old.sort();
        let surplus = (old.len() + 1).saturating_sub(FILES);
        old.iter().take(surplus).try_for_each(std::fs::remove_file)
    }
}

impl RollingFile {
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let (size, day) = self.file.extent();
        let is_new_day = size > 0 && Utc::now().date_naive() != day;
        if is_new_day || size >= FILE_LIMIT {
            self.roll()?;
        }
        if let Some((count, why)) = &self.unwritten {
            let told = serde_json::json!({
                "timestamp": Utc::now(), "level": "WARN", "target": "botops::log", "log.lost": count,
                "message": format!("{count} lines of this log could not be written here ({why})"),
            });
            self.file.append(format!("{told}\n").as_bytes())?;
            self.unwritten = None;
        }
        self.file.append(&self.secrets.blot_out(line))
    }
}

impl Write for RollingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.put(line) {
            Ok(()) => Ok(line.len()),
            Err(error) => {
                UNWRITTEN_LINES.fetch_add(1, Ordering::Relaxed);
                let before = self.unwritten.take().map_or(0, |(count, _)| count);
                self.unwritten = Some((before.saturating_add(1), error.to_string()));
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Every line was written when it came.
        Ok(())
    }
}

/// The secrets of the process, in every escaped form in which a log line could contain them.
#[derive(Clone)]
struct SecretForms {
    forms: Arc<[SecretString]>,
}

impl SecretForms {
    fn new(secrets: &[SecretString]) -> Self {
        let mut forms: Vec<String> = Vec::new();
        for secret in secrets.iter().map(ExposeSecret::expose_secret) {
            // Masking a word of a few letters would hide ordinary text.
            if secret.len() < SECRET_MIN {
                continue;
            }
            let mut form = secret.to_owned();
            // JSON inside a JSON string inside a line of JSON: each level escapes the quotes once more.
            for _ in 0..4 {
                if !forms.contains(&form) {
                    forms.push(form.clone());
                }
                let quoted = serde_json::to_string(&form).unwrap_or_default();
                let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                form = inner.unwrap_or_default().to_owned();
            }
        }
        // A longer form may contain a shorter one of the same secret, so it is masked first.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Self { forms: forms.into_iter().map(SecretString::from).collect() }
    }

    fn blot_out<'line>(&self, line: &'line [u8]) -> Cow<'line, [u8]> {
        let text = String::from_utf8_lossy(line);
        let told = self.forms.iter().map(ExposeSecret::expose_secret).filter(|form| text.contains(*form));
        let mut told = told.peekable();
        if told.peek().is_none() {
            return Cow::Borrowed(line);
        }
        let clean = told.fold(text.clone().into_owned(), |line, form| line.replace(form, "[REDACTED]"));
        Cow::Owned(clean.into_bytes())
    }
}

/// Standard error, with the same secrets masked.
struct TerminalWriter(SecretForms);

impl Write for TerminalWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&self.0.blot_out(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Handle to the Prometheus registry; cloning is cheap.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    refresh: Arc<Mutex<Vec<Refresh>>>,
}

type Refresh = Box<dyn Fn() + Send>;

impl Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty registry; every name begins with `botops_`.
    pub fn new() -> Self {
        let registry = Registry::with_prefix("botops");
        Self { registry: Arc::new(Mutex::new(registry)), refresh: Arc::default() }
    }

    /// Registers a metric and returns it, so that its owner can keep the handle. `help` has no full stop: the library
    /// adds one.
    pub fn add<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric.clone());
        metric
    }

    /// Registers a gauge whose value `read` gives at each scrape.
    pub fn gauge(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + 'static) {
        let gauge = self.add(name, help, Gauge::<f64, AtomicU64>::default());
        self.on_scrape(move || {
            gauge.set(read());
        });
    }

    /// Registers the counter of [`lost_log_lines`].
    pub fn add_log_losses(&self) {
        let help = "Lines of the logs that were lost, since the disk was too slow or did not take them";
        let counter = self.add("log_lines_lost", help, Counter::<u64, AtomicU64>::default());
        self.on_scrape(move || counter.inner().store(lost_log_lines(), Ordering::Relaxed));
    }

    /// Runs `refresh` at each scrape, before rendering. For metrics whose numbers are kept elsewhere.
    pub fn on_scrape(&self, refresh: impl Fn() + Send + 'static) {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    /// All metrics as Prometheus text (version 0.0.4).
    ///
    /// The library writes OpenMetrics, which promtool does not accept; the two differ in the place of a counter's
    /// `_total`, in units and in the end mark.
    pub fn render(&self) -> String {
        for refresh in self.refresh.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            refresh();
        }
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        if encode(&mut text, &registry).is_err() {
            return String::new();
        }
        prometheus_text(&text)
    }
}

fn prometheus_text(open_metrics: &str) -> String {
    let type_of = |line: &str| -> Option<String> {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        (kind == "counter").then(|| name.to_owned())
    };
    let counters: std::collections::BTreeSet<String> = open_metrics.lines().filter_map(type_of).collect();
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let comment =
            ["# HELP ", "# TYPE "].into_iter().find_map(|mark| Some((mark, line.strip_prefix(mark)?)));
        match comment.and_then(|(mark, rest)| Some((mark, rest.split_once(' ')?))) {
            Some((mark, (name, rest))) if counters.contains(name) => {
                text.push_str(&format!("{mark}{name}_total {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: String,
}

/// The metrics of requests, by operation and class of status.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<OperationLabels, Histogram, fn() -> Histogram>,
}

impl HttpMetrics {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        let requests = metrics.add(
            "http_requests",
            "Requests answered, by operation and class of status",
            Family::default(),
        );
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let durations = Family::new_with_constructor(histogram);
        let durations = metrics.add(
            "http_request_duration_seconds",
            "Time from the request's head to its answer",
            durations,
        );
        Self { requests, durations }
    }

    /// The handles of one operation. Looks them up, so call it once at start.
    pub fn operation(&self, operation: &str) -> OperationMetrics {
        let count = |status| {
            let labels = RequestLabels { operation: operation.to_owned(), status };
            self.requests.get_or_create(&labels).clone()
        };
        let labels = OperationLabels { operation: operation.to_owned() };
        OperationMetrics {
            by_class: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(count),
            duration: self.durations.get_or_create(&labels).clone(),
        }
    }
}

/// The metric handles of one operation; adding to them takes no lock.
#[derive(Debug, Clone)]
pub struct OperationMetrics {
    by_class: [Counter; 5],
    duration: Histogram,
}

impl OperationMetrics {
    /// Counts one answered request with its status and duration.
    pub fn observe(&self, status: u16, took: Duration) {
        let class = usize::from((status / 100).clamp(1, 5)) - 1;
        if let Some(counter) = self.by_class.get(class) {
            counter.inc();
        }
        self.duration.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_blotted_out_however_often_it_was_escaped() {
        let secrets = SecretForms::new(&["qu\"ote\\d".to_owned().into(), "abc".to_owned().into()]);
        let once = serde_json::to_string("say qu\"ote\\d").unwrap();
        let twice = serde_json::to_string(&once).unwrap();
        for line in ["say qu\"ote\\d", &once, &twice, &format!("{twice:?}")] {
            let clean = String::from_utf8(secrets.blot_out(line.as_bytes()).into_owned()).unwrap();
            assert!(clean.contains("[REDACTED]") && !clean.contains("ote"), "{clean}");
        }
        assert_eq!(&*secrets.blot_out(b"abc stays"), b"abc stays");
    }

    #[test]
    fn a_counter_is_named_as_prometheus_wants_it() {
        let metrics = Metrics::new();
        metrics.add("polls", "State polls.", Counter::<u64>::default()).inc();
        metrics.gauge("age_seconds", "Age of the data.", || 1.5);
        let text = metrics.render();
        assert!(text.contains("# TYPE botops_polls_total counter\nbotops_polls_total 1\n"), "{text}");
        assert!(text.contains("botops_age_seconds 1.5\n"), "{text}");
        assert!(!text.contains("EOF"), "{text}");
    }
}
