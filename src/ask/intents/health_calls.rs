//! Health of components, and silences for alerts.

use chrono::Duration;
use serde_json::json;

use crate::ask::answer_selection::AnswerSelection;
use crate::ask::concept::WordConcept as C;
use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::{AskPlan, PlannedCall, planned_call, read_call};
use crate::ask::word::SlotKind;

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
    let body = json!({"matchers": [matcher], "reason": asked.reason(), "ends_at": ends_at});
    AskPlan::Change {
        preview: planned_call("GET", "/api/v1/health/alerts", None),
        real: planned_call("POST", "/api/v1/health/silences", Some(body)),
    }
}

/// The word beside "alert" that says which: "the latency alert", "alerts about telemetry". None for "all alerts".
fn alert_kind(asked: &ParsedText) -> Option<&str> {
    let is_alert = |word: &&crate::ask::word::AskWord| {
        word.is(C::Alert)
            && ["al", "page", "paging", "no alert", "stop al", "stop pag"]
                .iter()
                .any(|start| word.lower.starts_with(start))
            || word.is(C::Silence) && word.lower.contains("pag")
    };
    let at = asked.words.iter().position(|word| is_alert(&word))?;
    let before = at.checked_sub(1).and_then(|at| kind_at(asked, at));
    // "Alert disk_space", "alerts about telemetry", "the alert concerning the drawdown".
    let behind = (at + 1..=at + 4).find(|at| {
        asked.words.get(*at).is_none_or(|word| !word.is(C::Filler) && !word.is(C::Show) && !word.is(C::Bot))
    });
    before.or_else(|| behind.and_then(|at| kind_at(asked, at)))
}

fn kind_at(asked: &ParsedText, at: usize) -> Option<&str> {
    let word = asked.words.get(at)?;
    let is_plain = word.lower.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
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
        C::Acknowledge,
        C::Progress,
    ];
    let is_free = word.slot.is_none_or(|slot| matches!(slot, SlotKind::Key | SlotKind::Component));
    let is_kind = is_free && is_plain && !says_nothing.iter().any(|concept| word.is(*concept));
    is_kind.then_some(word.lower.as_str())
}

/// The firing alert that is called so: its id where one is, else what to look for.
fn alert_called<'c>(kind: &str, context: &'c AskContext) -> Option<&'c str> {
    let fits = |(_, names): &&(String, String)| names.to_lowercase().contains(kind);
    let mut found = context.alerts.iter().filter(fits);
    let (id, _) = found.next()?;
    found.next().is_none().then_some(id.as_str())
}

pub(super) fn acknowledge_call(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let kind = alert_kind(asked).filter(|_| asked.slots.id.is_none());
    // "I saw it, ack it" is about the one that fires.
    let only = match context.alerts.as_slice() {
        [(id, _)] => Some(id.as_str()),
        _ => None,
    };
    if let (Some(kind), None) = (kind, only) {
        let mut select = AnswerSelection::of("items");
        select.mentions.push(kind.to_owned());
        let id =
            alert_called(kind, context).map_or_else(|| format!("<id of the {kind} alert>"), str::to_owned);
        return AskPlan::Change {
            preview: PlannedCall {
                select: vec![select],
                ..planned_call("GET", "/api/v1/health/alerts", None)
            },
            real: planned_call(
                "POST",
                format!("/api/v1/health/alerts/{id}/ack"),
                Some(json!({"note": asked.reason()})),
            ),
        };
    }
    match asked.slots.id.as_deref().or(only) {
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
