//! Statistics of workflows: the success ratio, how long runs take, and the counters for Prometheus.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use rusqlite::{Connection, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::state::WorkflowRunState;
use crate::operations_log::now_ms;
use botops_core::telemetry::Metrics;

/// How many of the newest runs are counted.
const RUNS: u32 = 200;
const DAYS_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// The newest runs of a workflow, counted: the last 200 of the last 7 days.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
pub struct WorkflowStats {
    /// Succeeded ÷ (succeeded + failed + rolled back + failed past the pivot + needs attention); `null` without runs.
    #[schema(example = 0.99)]
    pub success_rate: Option<f64>,
    /// How many runs count for the ratio: not those that were cancelled or refused.
    pub counted: u32,
    /// How many of them succeeded.
    pub succeeded: u32,
    /// How many runs were cancelled; they do not count for the ratio.
    pub cancelled: u32,
    /// How many were refused before they did anything, since a precondition did not hold or what they planned was not
    /// accepted; they do not count for the ratio.
    pub refused: u32,
    /// Median duration of successful runs, in milliseconds; `null` without one.
    pub duration_p50_ms: Option<u64>,
    /// 95th percentile of the duration of successful runs, in milliseconds; `null` without one.
    pub duration_p95_ms: Option<u64>,
}

impl WorkflowStats {
    /// Computes the statistics of a workflow from the table.
    pub(crate) fn load(connection: &Connection, name: &str) -> rusqlite::Result<Self> {
        let rows: Vec<(String, i64)> = connection
            .prepare_cached(
                "SELECT state, updated_ms - created_ms FROM ops
                 WHERE kind = 'workflow' AND name = ?1 AND live = 0 AND created_ms > ?2
                 ORDER BY created_ms DESC LIMIT ?3",
            )?
            .query_map(params![name, now_ms() - DAYS_MS, RUNS], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let count =
            |state: WorkflowRunState| rows.iter().filter(|(ended, _)| ended == state.as_str()).count();
        let succeeded = count(WorkflowRunState::Succeeded);
        let cancelled = count(WorkflowRunState::Cancelled);
        let refused = count_refused(connection, name)?.min(count(WorkflowRunState::Failed));
        let counted = rows.len() - cancelled - refused;
        let good = rows.iter().filter(|(state, _)| state == WorkflowRunState::Succeeded.as_str());
        let mut took: Vec<u64> = good.filter_map(|(_, ms)| u64::try_from(*ms).ok()).collect();
        took.sort_unstable();
        let at = |percent: usize| {
            took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied()
        };
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let success_rate = (counted > 0).then(|| f64::from(small(succeeded)) / f64::from(small(counted)));
        Ok(Self {
            success_rate,
            counted: small(counted),
            succeeded: small(succeeded),
            cancelled: small(cancelled),
            refused: small(refused),
            duration_p50_ms: at(50),
            duration_p95_ms: at(95),
        })
    }
}

/// How many of the counted runs ended as failed because of a precondition, with nothing to undo.
fn count_refused(connection: &Connection, name: &str) -> rusqlite::Result<usize> {
    let query = "SELECT count(*) FROM (SELECT op_id, state FROM ops
           WHERE kind = 'workflow' AND name = ?1 AND live = 0 AND created_ms > ?2
           ORDER BY created_ms DESC LIMIT ?3) AS run
         WHERE run.state = 'failed' AND EXISTS (SELECT 1 FROM op_events AS event WHERE event.op_id = run.op_id
           AND event.type = 'finished' AND json_extract(event.json, '$.error.class') = 'precondition')";
    let count: i64 = connection
        .prepare_cached(query)?
        .query_row(params![name, now_ms() - DAYS_MS, RUNS], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunStateLabels {
    workflow: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkflowLabels {
    workflow: String,
}

/// Counters of runs, by workflow and final state. Names come from definitions, never from a request.
#[derive(Debug)]
pub(crate) struct RunMetrics {
    ended: Family<RunStateLabels, Counter>,
    ratio: Family<WorkflowLabels, Gauge<f64, AtomicU64>>,
}

impl RunMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let ended = metrics.add(
            "workflow_runs",
            "CheckedWorkflow runs that ended, by final state",
            Family::default(),
        );
        let help = "Share of successful runs among the last 200 of 7 days";
        let ratio = metrics.add("workflow_success_ratio", help, Family::default());
        Self { ended, ratio }
    }

    pub(crate) fn count_ended(&self, workflow: &str, state: WorkflowRunState) {
        let labels = RunStateLabels { workflow: workflow.to_owned(), state: state.as_str() };
        self.ended.get_or_create(&labels).inc();
    }

    pub(crate) fn set_success_ratio(&self, workflow: &str, ratio: Option<f64>) {
        if let Some(ratio) = ratio {
            self.ratio.get_or_create(&WorkflowLabels { workflow: workflow.to_owned() }).set(ratio);
        }
    }
}
