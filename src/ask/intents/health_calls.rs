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
    let matcher = match alert_kind(asked) {
        Some(kind) if asked.slots.component.is_none() => {
            json!({"name": "alertname", "op": "=~", "value": format!("(?i).*{kind}.*")})
        }
        _ => matcher,
    };
    let body = json!({"matchers": [matcher], "comment": asked.reason(), "ends_at": ends_at});
    AskPlan::Change {
        preview: planned_call("GET", "/api/v1/health/alerts", None),
        real: planned_call("POST", "/api/v1/health/silences", Some(body)),
    }
}

/// The word before "alert" that says which: "the latency alert". None for "all alerts".
fn alert_kind(asked: &ParsedText) -> Option<&str> {
    let at = asked.words.iter().position(|word| word.is(C::Alert) && word.lower.starts_with("al"))?;
    let word = asked.words.get(at.checked_sub(1)?)?;
    let is_plain = word.lower.chars().all(|c| c.is_ascii_alphabetic());
    let says_nothing = [
        C::Filler,
        C::All,
        C::Active,
        C::Silence,
        C::Show,
        C::New,
        C::Bot,
        C::Stop,
        C::Not,
        C::Last,
        C::Session,
    ];
    let is_kind = word.slot.is_none() && is_plain && !says_nothing.iter().any(|concept| word.is(*concept));
    is_kind.then_some(word.lower.as_str())
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
            (
                "alerts",
                "see the alerts and their ids first, then `acknowledge alert <id>`".into(),
                read_call("/api/v1/health/alerts"),
            ),
            ("silence", "silence all alerts for an hour instead".into(), silence_call(asked, context)),
        ]),
    }
}
