//! What checks measure, and the limits from which on it is bad: one row for each metric that can decide a status.
//!
//! [`CheckMeasure`] is made from a row or without limits, never with limits of its own, so `GET monitoring/status`,
//! which shows the rows, shows what decides.

use serde::Serialize;
use utoipa::ToSchema;

use crate::health::model::{MetricLimits, ThresholdDirection};

/// A measured value with its unit and its limits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CheckMeasure {
    name: &'static str,
    unit: &'static str,
    value: f64,
    limits: MetricLimits,
}

impl CheckMeasure {
    /// A value that is shown and decides nothing.
    pub(crate) fn without_limits(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name, unit, value, limits: MetricLimits::NONE }
    }

    /// The metric's name, the same on every run.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The unit of the value, such as `ms`.
    pub(crate) fn unit(&self) -> &'static str {
        self.unit
    }

    /// The value in its unit.
    pub(crate) fn value(&self) -> f64 {
        self.value
    }

    /// The limits from which on it is bad, unless the component overrides them.
    pub(crate) fn limits(&self) -> MetricLimits {
        self.limits
    }
}

/// A metric that can decide the status of a component.
#[derive(Debug, Clone, Copy)]
pub(super) struct MetricRow {
    /// The id of a built-in component, or the type of an added checker.
    component: &'static str,
    name: &'static str,
    unit: &'static str,
    limits: MetricLimits,
    /// `code`, or what the limits are computed from.
    source: &'static str,
}

impl MetricRow {
    /// A value that is judged by the row's limits.
    pub(super) fn measure(&self, value: f64) -> CheckMeasure {
        CheckMeasure { name: self.name, unit: self.unit, value, limits: self.limits }
    }

    /// A value of a row whose limits are computed, as its `source` says.
    pub(super) fn measure_within(&self, value: f64, limits: MetricLimits) -> CheckMeasure {
        CheckMeasure { limits, ..self.measure(value) }
    }
}

/// The limits of one metric, as `GET monitoring/status` shows them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MetricLimitView {
    /// The id of a built-in component, or the type of an added checker.
    component: &'static str,
    /// The metric's name.
    metric: &'static str,
    /// The unit of the limits.
    unit: &'static str,
    /// From this value on the metric is WARNING; `null` when there is no such limit, or `source` says how it is computed.
    warning: Option<f64>,
    /// From this value on the metric is CRITICAL; `null` as for `warning`.
    critical: Option<f64>,
    /// Whether higher or lower values are worse.
    direction: ThresholdDirection,
    /// `code`, or what the limits are computed from. `thresholds` of an added checker replace its own.
    source: &'static str,
}

/// The limits of every metric that can decide a status.
pub(crate) fn metric_limit_views() -> Vec<MetricLimitView> {
    let view = |row: &MetricRow| MetricLimitView {
        component: row.component,
        metric: row.name,
        unit: row.unit,
        warning: row.limits.warning,
        critical: row.limits.critical,
        direction: row.limits.direction,
        source: row.source,
    };
    ROWS.iter().map(view).collect()
}

macro_rules! metric_rows {
    ($($row:ident = $component:literal, $name:literal, $unit:literal, $limits:expr, $source:literal;)*) => {
        $(pub(super) const $row: MetricRow =
            MetricRow { component: $component, name: $name, unit: $unit, limits: $limits, source: $source };)*

        const ROWS: &[MetricRow] = &[$($row),*];
    };
}

/// Limits of a metric where higher is worse.
const fn above(warning: f64, critical: f64) -> MetricLimits {
    MetricLimits::above(warning, critical)
}

/// A limit that makes no more than a WARNING.
const fn warns_above(warning: f64) -> MetricLimits {
    MetricLimits { warning: Some(warning), ..MetricLimits::NONE }
}

/// Limits of a metric where lower is worse.
const fn below(warning: f64, critical: f64) -> MetricLimits {
    MetricLimits::below(warning, critical)
}

metric_rows! {
    BOT_DATA_AGE = "bot", "data_age", "s", above(60.0, 300.0), "code";
    BOT_LOOP_AGE = "bot", "loop_age", "s", MetricLimits::NONE,
        "the bot: loop.expected_interval_s and 5 s; CRITICAL 60 s later; none when it declares no interval";
    BOT_POLL_LATENCY = "bot", "poll_latency", "ms", above(500.0, 2_000.0), "code";
    BOT_ERRORS = "bot", "errors_last_hour", "errors", above(20.0, 200.0), "code";
    BOT_TICK_DELAY = "bot", "tick_delay_p99", "ms", above(250.0, 2_000.0), "code";
    BOT_ORDER_REJECTS = "bot", "order_rejects_last_hour", "orders", above(10.0, 100.0), "code";
    SESSION_LATENCY = "broker_session", "check_latency", "ms", above(2_000.0, 10_000.0), "code";
    SESSION_CLOCK_SKEW = "broker_session", "clock_skew", "s", warns_above(30.0), "code";
    STORE_OPEN_TIME = "store", "open_time", "ms", above(100.0, 500.0), "code";
    STORE_WRITE_LATENCY = "store", "write_latency", "ms", above(250.0, 2_000.0), "code";
    STORE_BACKLOG = "store", "backlog", "writes", above(1_000.0, 10_000.0), "code";
    STORE_SIZE = "store", "size", "MB", above(1_000.0, 10_000.0), "code";
    STORE_WAL_SIZE = "store", "wal_size", "MB", above(64.0, 1_000.0), "code";
    OUTBOX_OLDEST = "outbox", "oldest_waiting", "s", warns_above(600.0), "code";
    CPU_USAGE = "system_resources", "cpu_usage", "%", above(70.0, 90.0), "code";
    MEMORY_USAGE = "system_resources", "memory_usage", "%", above(80.0, 95.0), "code";
    CGROUP_MEMORY_USAGE = "system_resources", "cgroup_memory_usage", "%", above(80.0, 95.0), "code";
    DISK_USAGE = "system_resources", "disk_usage", "%", above(80.0, 95.0), "code";
    DISK_FREE = "system_resources", "disk_free", "MB", below(500.0, 100.0), "code";
    LOAD_AVERAGE = "system_resources", "load_average", "tasks", MetricLimits::NONE,
        "the machine: 0.7 times its cores and 1; CRITICAL 4 times its cores";
    PROCESS_COUNT = "system_resources", "process_count", "processes", above(2_000.0, 10_000.0), "code";
    NETWORK_CONNECTIONS = "system_resources", "network_connections", "connections", above(10_000.0, 50_000.0), "code";
    OPEN_FILES_USAGE = "system_resources", "open_files_usage", "%", above(80.0, 95.0), "code";
    CPU_PRESSURE = "system_resources", "cpu_pressure", "%", above(60.0, 95.0), "code";
    MEMORY_PRESSURE = "system_resources", "memory_pressure", "%", above(20.0, 60.0), "code";
    IO_PRESSURE = "system_resources", "io_pressure", "%", above(60.0, 95.0), "code";
    ENDPOINT_AVAILABILITY = "api_server", "endpoint_availability", "%", below(90.0, 50.0), "code";
    ENDPOINT_RESPONSE_TIME = "api_server", "avg_response_time", "ms", above(1_000.0, 5_000.0), "code";
    EXTERNAL_RESPONSE_TIME = "external_api", "response_time", "ms", above(2_000.0, 10_000.0), "code";
    TLS_EXPIRES_IN = "external_api", "tls_expires_in", "days", below(14.0, 3.0), "code";
    RATE_LIMIT_USAGE = "external_api", "rate_limit_usage", "%", above(80.0, 95.0), "code";
    CONNECTION_TIME = "database", "connection_time", "ms", above(100.0, 500.0), "code";
    DATABASE_SIZE = "database", "database_size", "MB", above(500.0, 1_000.0), "code";
    TABLE_COUNT = "database", "table_count", "tables", above(20.0, 50.0), "code";
    QUERY_TIME = "database", "query_time", "ms", above(100.0, 1_000.0), "code";
    TOTAL_ROWS = "database", "total_rows", "rows", above(100_000.0, 500_000.0), "code";
}
