//! What botops says about itself: the JSONL log and the Prometheus registry.
//!
//! The log file rotates by day and by size, keeps a bounded number of files, and never makes a request wait: when the
//! disk does not follow, lines are dropped and counted (what must not be lost goes into the audit or the journal, not
//! here). On a terminal the same lines are readable. Metric handles are resolved at start; a request only adds to them.

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
use std::sync::atomic::AtomicU64;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// A log file this large is put aside within the day.
const FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// Log files kept, the running one included.
const FILES: usize = 14;

/// Request durations, in seconds: from a cached read to the deadline.
const BUCKETS: [f64; 12] = [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 2.5, 30.0];

/// Keeps the log's writer alive; dropping it writes out what is queued.
#[derive(Debug)]
pub struct Logging {
    _worker: WorkerGuard,
    lost: ErrorCounter,
}

impl Logging {
    /// Lines dropped because the disk did not follow.
    pub fn lost_lines(&self) -> usize {
        self.lost.dropped_lines()
    }
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
    secrets: Vec<SecretString>,
) -> io::Result<Logging> {
    std::fs::create_dir_all(folder)?;
    let file = RollingFile::open(folder.to_owned(), name, secrets)?;
    let (writer, worker) = NonBlockingBuilder::default().lossy(true).finish(file);
    let lost = writer.error_counter();
    let filter = || EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let json = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
        .with_filter(filter());
    let terminal = io::stderr()
        .is_terminal()
        .then(|| tracing_subscriber::fmt::layer().compact().with_writer(io::stderr).with_filter(filter()));
    // A second start in one process (tests) keeps the first log.
    let _ = tracing_subscriber::registry().with(json).with(terminal).try_init();
    Ok(Logging { _worker: worker, lost })
}

/// A file that is put aside at midnight UTC and when it is full.
struct RollingFile {
    folder: PathBuf,
    name: &'static str,
    file: File,
    day: NaiveDate,
    written: u64,
    secrets: Vec<SecretString>,
}

impl RollingFile {
    fn open(folder: PathBuf, name: &'static str, secrets: Vec<SecretString>) -> io::Result<Self> {
        let file = append_to(&folder.join(format!("{name}.log")))?;
        let metadata = file.metadata()?;
        let day = metadata.modified().map_or_else(|_| Utc::now(), chrono::DateTime::<Utc>::from).date_naive();
        Ok(Self { written: metadata.len(), folder, name, file, day, secrets })
    }

    fn roll(&mut self) -> io::Result<()> {
        let path = self.folder.join(format!("{}.log", self.name));
        let stamp = Utc::now().format("%Y%m%dT%H%M%S%.3f");
        std::fs::rename(&path, self.folder.join(format!("{}.{stamp}.log", self.name)))?;
        self.file = append_to(&path)?;
        self.written = 0;
        self.day = Utc::now().date_naive();
        self.delete_oldest()
    }

    fn blot_out<'line>(&self, line: &'line [u8]) -> Cow<'line, [u8]> {
        let text = String::from_utf8_lossy(line);
        let told =
            self.secrets.iter().map(ExposeSecret::expose_secret).filter(|secret| text.contains(*secret));
        let mut told = told.peekable();
        if told.peek().is_none() {
            return Cow::Borrowed(line);
        }
        let clean = told.fold(text.clone().into_owned(), |line, secret| line.replace(secret, "[REDACTED]"));
        Cow::Owned(clean.into_bytes())
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
        let is_new_day = self.written > 0 && Utc::now().date_naive() != self.day;
        if is_new_day || self.written >= FILE_LIMIT {
            self.roll()?;
        }
        let clean = self.blot_out(line);
        self.file.write_all(&clean)?;
        self.written += clean.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
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
