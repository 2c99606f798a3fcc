//! Running, following and cancelling workflows.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, json};

use super::read_calls::{read_events, read_page};
use crate::ask::concept::WordConcept as C;
use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::{AskPlan, planned_call, read_call};

pub(super) fn run_workflow(asked: &ParsedText, context: &AskContext) -> AskPlan {
    match &asked.slots.workflow {
        Some(id) => execute_workflow(id, asked, context),
        None => AskPlan::Choose(vec![
            (
                "workflow_run",
                "restart the bot and check it".into(),
                execute_workflow("restart-bot", asked, context),
            ),
            (
                "workflow_run",
                "find out whether everything works".into(),
                execute_workflow("check-health", asked, context),
            ),
            ("workflow_run", "bundle the logs".into(), execute_workflow("export-logs", asked, context)),
            ("workflows_list", "see every workflow first".into(), read_call("/api/v1/workflows")),
        ]),
    }
}

pub(super) fn execute_workflow(id: &str, asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut params = Map::new();
    let takes = |name: &str| {
        context.parameters.iter().any(|(known, names)| known == id && names.iter().any(|known| known == name))
    };
    // Only parameters that the text itself gives; the dry run names those that are missing.
    if takes("reason") {
        params.insert("reason".to_owned(), json!(asked.reason()));
    }
    if takes("from") && takes("to") {
        let (from, to) = period_range(asked, context);
        params.insert("from".to_owned(), json!(from));
        params.insert("to".to_owned(), json!(to));
    }
    let body = json!({"params": params});
    let call = |suffix: &str| {
        planned_call("POST", format!("/api/v1/workflows/{id}/execute{suffix}"), Some(body.clone()))
    };
    AskPlan::Change { preview: call("?dry_run=true"), real: call("") }
}

/// The period of the text as instants; the last day up to now when it names none.
pub(super) fn period_range(asked: &ParsedText, context: &AskContext) -> (DateTime<Utc>, DateTime<Utc>) {
    match asked.slots.period {
        Some(period) => {
            let (from, to) = period.instants(context.now, context.zone);
            let to = to.unwrap_or(context.now);
            (from.unwrap_or(to - Duration::hours(24)), to)
        }
        None => (context.now - Duration::hours(24), context.now),
    }
}

pub(super) fn workflow_status(asked: &ParsedText, context: &AskContext) -> AskPlan {
    if let Some(run) = &asked.slots.id {
        return read_call(format!("/api/v1/workflows/runs/{run}"));
    }
    let spoken_of = [(C::Restart, "restart-bot"), (C::Export, "export-logs")]
        .into_iter()
        .find(|(concept, id)| asked.has(*concept) && context.workflows.iter().any(|known| known == id));
    if let Some(id) = asked.slots.workflow.as_deref().or(spoken_of.map(|(_, id)| id)) {
        return read_call(format!("/api/v1/workflows/{id}/status"));
    }
    match &context.running {
        Some(run) => read_call(format!("/api/v1/workflows/runs/{run}")),
        None => read_call("/api/v1/workflows"),
    }
}

/// Past runs: of the workflow that the text names, else of all, from the journal.
pub(super) fn read_runs(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let spoken_of = [(C::Restart, "restart-bot"), (C::Export, "export-logs")]
        .into_iter()
        .find(|(concept, id)| asked.has(*concept) && context.workflows.iter().any(|known| known == id));
    match asked.slots.workflow.as_deref().or(spoken_of.map(|(_, id)| id)) {
        Some(id) => read_page(&format!("/api/v1/workflows/{id}/runs"), asked, context),
        None => read_events(Some("workflow"), asked, context),
    }
}

/// Without a run to cancel there is nothing to do but to look.
pub(super) fn cancel_workflow(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let Some(run) = asked.slots.id.as_ref().or(context.running.as_ref()) else {
        return match &asked.slots.workflow {
            Some(id) => read_call(format!("/api/v1/workflows/{id}/status")),
            None => read_call("/api/v1/workflows"),
        };
    };
    AskPlan::Change {
        preview: planned_call("GET", format!("/api/v1/workflows/runs/{run}"), None),
        real: planned_call("POST", format!("/api/v1/workflows/runs/{run}/cancel"), None),
    }
}
