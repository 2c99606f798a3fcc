//! Health of components, and silences for alerts.

use chrono::Duration;
use serde_json::json;

use crate::ask::concept::WordConcept as C;
use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::{AskPlan, planned_call, read_call};

pub(super) fn component_health(asked: &ParsedText, _: &AskContext) -> AskPlan {
    match &asked.slots.component {
        Some(id) if asked.has(C::Metric) => read_call(format!("/api/v1/health/components/{id}/metrics")),
        Some(id) => read_call(format!("/api/v1/health/components/{id}")),
        None if asked.has(C::Component) => read_call("/api/v1/health/components"),
        None => read_call("/api/v1/health/status"),
    }
}

/// Length of a silence in seconds when the text gives none.
pub(super) const SILENCE: u64 = 3_600;

/// Longest silence in seconds that the API accepts.
pub(super) const SILENCE_MAX: u64 = 30 * 86_400;

pub(super) fn silence_call(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let seconds = asked.slots.seconds.unwrap_or(SILENCE).min(SILENCE_MAX);
    let ends_at = context.now + Duration::seconds(i64::try_from(seconds).unwrap_or(3_600));
    // Without a component all alerts are meant: each has one, so this matches them all.
    let matcher = match &asked.slots.component {
        Some(component) => json!({"name": "component", "value": component}),
        None => json!({"name": "component", "op": "!=", "value": ""}),
    };
    let body = json!({"matchers": [matcher], "comment": asked.reason(), "ends_at": ends_at});
    AskPlan::Change {
        preview: planned_call("GET", "/api/v1/health/alerts", None),
        real: planned_call("POST", "/api/v1/health/silences", Some(body)),
    }
}

pub(super) fn acknowledge_call(asked: &ParsedText, context: &AskContext) -> AskPlan {
    match &asked.slots.id {
        Some(id) => AskPlan::Change {
            preview: planned_call("GET", "/api/v1/health/alerts", None),
            real: planned_call(
                "POST",
                format!("/api/v1/health/alerts/{id}/ack"),
                Some(json!({"note": asked.reason()})),
            ),
        },
        None => AskPlan::Choose(vec![
            ("alerts",
                "see the alerts and their ids first, then `acknowledge alert <id>`".into(),
                read_call("/api/v1/health/alerts"),
            ),
            ("silence", "silence all alerts for an hour instead".into(), silence_call(asked, context)),
        ]),
    }
}
