//! Lists of runs: of one workflow, or of all of them.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::run::WorkflowRunState;
use crate::operations_log::{self, OperationRow};

/// A run in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowRunBrief)]
pub struct RunBriefView {
    /// The run's id, which grows with time.
    pub run_id: String,
    /// The id of the workflow it runs.
    pub workflow_id: String,
    /// The state of the run.
    pub state: WorkflowRunState,
    /// Whether the state is final.
    pub terminal: bool,
    /// When the run was requested.
    pub created_at: DateTime<Utc>,
    /// When the run last changed.
    pub updated_at: DateTime<Utc>,
    /// The name of the API key that requested it, or `recovery`.
    pub actor: String,
}

/// A page of runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkflowRunPage)]
pub struct RunPageView {
    /// Runs, newest first.
    pub items: Vec<RunBriefView>,
    /// What to send as `after` for older ones; `null` at the end.
    pub next: Option<String>,
    /// How many older runs there are beyond this page.
    pub omitted: u32,
}

/// A time of the operations table, in milliseconds since 1970.
pub(super) fn table_time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// Which runs a list has.
#[derive(Debug)]
pub(super) struct RunFilter {
    /// Only those of this workflow; all of them when absent.
    pub workflow: Option<String>,
    /// Only those in one of these states; in any when empty.
    pub states: Vec<WorkflowRunState>,
}

impl RunFilter {
    /// The conditions in SQL; the name of the workflow is `?1`.
    fn conditions(&self) -> String {
        let mut conditions = "kind = 'workflow'".to_owned();
        // Without a name the parameter is there all the same, since both forms are given the same ones.
        conditions += if self.workflow.is_some() { " AND name = ?1" } else { " AND ?1 IS NULL" };
        if !self.states.is_empty() {
            let names: Vec<String> =
                self.states.iter().map(|state| format!("'{}'", state.as_str())).collect();
            conditions += &format!(" AND state IN ({})", names.join(", "));
        }
        conditions
    }
}

/// A page of runs. Run ids grow with time, so an id serves as the cursor.
pub(super) fn load_run_page(
    connection: &Connection,
    wanted: &RunFilter,
    after: Option<&str>,
    limit: u32,
) -> rusqlite::Result<RunPageView> {
    let (conditions, name) = (wanted.conditions(), wanted.workflow.as_deref());
    let mut ids: Vec<String> = connection
        .prepare_cached(&format!(
            "SELECT op_id FROM ops WHERE {conditions} AND (?2 IS NULL OR op_id < ?2) ORDER BY op_id DESC LIMIT ?3"
        ))?
        .query_map(params![name, after, limit + 1], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let more = ids.len() > limit as usize;
    ids.truncate(limit as usize);
    let mut items = Vec::new();
    for id in &ids {
        items.extend(operations_log::load(connection, id)?.as_ref().map(render_run_brief));
    }
    let next = ids.last().filter(|_| more).cloned();
    let omitted = match &next {
        None => 0,
        Some(next) => connection
            .prepare_cached(&format!("SELECT count(*) FROM ops WHERE {conditions} AND op_id < ?2"))?
            .query_row(params![name, next], |row| row.get(0))?,
    };
    Ok(RunPageView { items, next, omitted })
}

/// A row of a list.
pub(super) fn render_run_brief(op: &OperationRow) -> RunBriefView {
    let state = WorkflowRunState::parse(&op.state).unwrap_or(WorkflowRunState::NeedsAttention);
    RunBriefView {
        run_id: op.op_id.clone(),
        workflow_id: op.name.clone(),
        state,
        terminal: state.is_terminal(),
        created_at: table_time(op.created_ms),
        updated_at: table_time(op.updated_ms),
        actor: op.actor.key_id.clone(),
    }
}
