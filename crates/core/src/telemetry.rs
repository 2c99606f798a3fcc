//! What botops says about itself: the JSONL log and the Prometheus registry.
//!
//! The log file rotates by day and by size, keeps a bounded number of files, and never makes a request wait: when the
//! disk does not follow, lines are dropped (what must not be lost goes into the audit or the journal, not
//! here). [`reopen_logs`] lets every log file begin anew under its name. On a terminal the same lines are readable. Metric handles are resolved at start; a request only adds to them.

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
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// A log file this large is put aside within the day.
const FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// Log files kept, the running one included.
const FILES: usize = 14;

/// Secrets shorter than this are not looked for in log lines.
const SECRET_MIN: usize = 6;

/// Request durations, in seconds: from a cached read to the deadline.
const BUCKETS: [f64; 12] = [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 2.5, 30.0];

/// Keeps the log's writer alive; dropping it writes out what is queued.
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
}

/// Starts the log: `<folder>/<name>.log` as JSONL, and readable lines on stderr when that is a terminal.
///
/// `RUST_LOG` narrows or widens it; the default is `info`, with the chatter of libraries left out. `secrets` are
/// blotted out of every line: nothing here logs one, but a client may paste its key into a path or a query.
///
/// # Errors
/// When the folder cannot be written.
pub fn start_logging(
    folder: &Path,
    name: &'static str,
    filter: &str,
    secrets: &[SecretString],
) -> io::Result<LogGuard> {
    std::fs::create_dir_all(folder)?;
    let secrets = SecretForms::new(secrets);
    let file = RollingFile::open(folder.to_owned(), name, secrets.clone())?;
    let (writer, worker) = NonBlockingBuilder::default().lossy(true).finish(file);
    let filter = || EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
        .with_filter(filter());
    let terminal = io::stderr().is_terminal().then(|| {
        let writer = move || TerminalWriter(secrets.clone());
        tracing_subscriber::fmt::layer().compact().with_writer(writer).with_filter(filter())
    });
    // A second start in one process (tests) keeps the first log.
    let _ = tracing_subscriber::registry().with(json).with(terminal).try_init();
    Ok(LogGuard { _worker: worker })
}

/// How often the log files were to be opened anew. A signal is the whole process's, and so is this.
static OPENINGS: AtomicU64 = AtomicU64::new(0);

/// Has every [`LogFile`] of this process opened anew before its next line: whoever moved the files away finds them
/// whole, and the lines from then on stand in new ones under the old names.
pub fn reopen_logs() {
    OPENINGS.fetch_add(1, Ordering::Relaxed);
}

/// A log file: lines are added at its end, and [`reopen_logs`] lets it begin again under its name.
///
/// Not for what must not be lost or must stay one file, such as a ledger or an audit.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    day: NaiveDate,
    opening: u64,
}

impl LogFile {
    /// Opens or makes the file, for its owner alone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        // Counted first: who asks in between is heard at the next line.
        let opening = OPENINGS.load(Ordering::Relaxed);
        let file = append_to(&path)?;
        let metadata = file.metadata()?;
        let (today, changed) = (Utc::now(), metadata.modified().map(chrono::DateTime::<Utc>::from));
        let day = if metadata.len() == 0 { today } else { changed.unwrap_or(today) }.date_naive();
        Ok(Self { size: metadata.len(), path, file, day, opening })
    }

    /// Its size, and the day of its lines.
    pub fn extent(&mut self) -> (u64, NaiveDate) {
        self.follow();
        (self.size, self.day)
    }

    /// Adds whole lines.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow();
        if self.size == 0 {
            self.day = Utc::now().date_naive();
        }
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    /// Puts the file aside under another name and begins a new one.
    ///
    /// # Errors
    /// When one of the two fails.
    pub fn put_aside(&mut self, aside: &Path) -> io::Result<()> {
        match std::fs::rename(&self.path, aside) {
            // Somebody else has put it aside, which is as good.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        *self = Self::open(self.path.clone())?;
        Ok(())
    }

    /// Opens the file anew when that was asked for. Where it cannot be, lines go on into the file that is open, so that
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
    let open = || OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    match (open(), path.parent()) {
        // The whole folder was moved away.
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            open()
        }
        (opened, _) => opened,
    }
}

/// A file that is put aside at midnight UTC and when it is full.
struct RollingFile {
    folder: PathBuf,
    name: &'static str,
    file: LogFile,
    secrets: SecretForms,
}

impl RollingFile {
    fn open(folder: PathBuf, name: &'static str, secrets: SecretForms) -> io::Result<Self> {
        let file = LogFile::open(folder.join(format!("{name}.log")))?;
        Ok(Self { folder, name, file, secrets })
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

impl Write for RollingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (size, day) = self.file.extent();
        let is_new_day = size > 0 && Utc::now().date_naive() != day;
        if is_new_day || size >= FILE_LIMIT {
            self.roll()?;
        }
        self.file.append(&self.secrets.blot_out(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is held back here.
        Ok(())
    }
}

/// The secrets that a process was given, in every form in which a log line could repeat them.
#[derive(Clone)]
struct SecretForms {
    forms: Arc<[SecretString]>,
}

impl SecretForms {
    fn new(secrets: &[SecretString]) -> Self {
        let mut forms: Vec<String> = Vec::new();
        for secret in secrets.iter().map(ExposeSecret::expose_secret) {
            // Blotting out a word of a few letters would hide the log and no secret.
            if secret.len() < SECRET_MIN {
                continue;
            }
            let mut form = secret.to_owned();
            // A text within a text within a line of JSON has its quotes escaped once at each step.
            for _ in 0..4 {
                if !forms.contains(&form) {
                    forms.push(form.clone());
                }
                let quoted = serde_json::to_string(&form).unwrap_or_default();
                let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                form = inner.unwrap_or_default().to_owned();
            }
        }
        // The most escaped form contains a less escaped one of the same secret, so it goes first.
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

/// Standard error, with the same secrets blotted out.
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

    /// Adds a metric and gives it back, so that its owner can keep the handle. `help` has no full stop: the library
    /// adds one.
    pub fn add<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric.clone());
        metric
    }

    /// A gauge whose value is asked for at each scrape.
    pub fn gauge(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + 'static) {
        let gauge = self.add(name, help, Gauge::<f64, AtomicU64>::default());
        self.on_scrape(move || {
            gauge.set(read());
        });
    }

    /// Runs at each scrape, before the text is made. For metrics that mirror numbers kept elsewhere.
    pub fn on_scrape(&self, refresh: impl Fn() + Send + 'static) {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    /// Everything, as Prometheus text (version 0.0.4).
    ///
    /// The library writes OpenMetrics; the two differ in where a counter's `_total` stands, in units and in the end
    /// mark, and promtool accepts only this form.
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
    /// Registers them.
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

    /// The handles of one operation, looked up once.
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

/// The handles of one operation.
#[derive(Debug, Clone)]
pub struct OperationMetrics {
    by_class: [Counter; 5],
    duration: Histogram,
}

impl OperationMetrics {
    /// Counts one answered request.
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
