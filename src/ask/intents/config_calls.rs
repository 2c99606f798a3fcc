//! Reading, checking and changing the config.

use serde_json::{Value, json};

use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::{AskPlan, PlannedCall, planned_call, read_call};

pub(super) fn config_change(path: &str, body: &Value) -> AskPlan {
    let call = |suffix: &str| PlannedCall {
        if_match: true,
        ..planned_call("PUT", format!("{path}{suffix}"), Some(body.clone()))
    };
    AskPlan::Change { preview: call("?dry_run=true"), real: call("") }
}

pub(super) fn merge_patch(asked: &ParsedText, key: &str) -> Value {
    let value = asked.slots.value.clone().unwrap_or(Value::Null);
    key.split('.').rev().fold(value, |inner, part| json!({part: inner}))
}

pub(super) fn set_config(asked: &ParsedText, _: &AskContext) -> AskPlan {
    let change = |key: &String| {
        config_change(
            "/api/v1/config/apply",
            &json!({"merge_patch": merge_patch(asked, key), "reason": asked.reason()}),
        )
    };
    match (asked.slots.keys.as_slice(), &asked.slots.value) {
        ([key], Some(_)) => change(key),
        ([], _) | (_, None) => AskPlan::Choose(vec![
            (
                "config_schema",
                "name a key and a value, as in `set max_position_pct to 4`; this lists the keys",
                read_call("/api/v1/config/schema"),
            ),
            ("config_read", "see the current values first", read_call("/api/v1/config")),
        ]),
        (keys, Some(_)) => AskPlan::Choose(
            keys.iter().map(|key| ("config_set", "this key fits; several do", change(key))).collect(),
        ),
    }
}

pub(super) fn validate_config(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let body = match (asked.slots.keys.first(), &asked.slots.value) {
        (Some(key), Some(_)) => json!({"merge_patch": merge_patch(asked, key)}),
        _ => {
            let mut document = json!({});
            for (path, value) in &context.config {
                insert_at(&mut document, path, value.clone());
            }
            json!({"config": document})
        }
    };
    AskPlan::Read(planned_call("POST", "/api/v1/config/validate", Some(body)))
}

pub(super) fn insert_at(document: &mut Value, path: &str, value: Value) {
    let mut place = document;
    for part in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[part];
    }
    *place = value;
}

pub(super) fn diff_config(asked: &ParsedText, _: &AskContext) -> AskPlan {
    let (from, to) = match asked.slots.versions.as_slice() {
        [from, to, ..] => (from.as_str(), to.as_str()),
        [one] => (one.as_str(), "committed"),
        [] => ("previous", "committed"),
    };
    read_call(format!("/api/v1/config/diff?from={from}&to={to}"))
}

pub(super) fn end_trial(verb: &'static str, context: &AskContext) -> AskPlan {
    let Some(txn) = &context.trial else {
        return AskPlan::Impossible(
            "No config change is on trial right now. Ask `show the config history` to see the last ones.",
        );
    };
    AskPlan::Change {
        preview: planned_call("GET", format!("/api/v1/config/txns/{txn}"), None),
        real: planned_call("POST", format!("/api/v1/config/txns/{txn}/{verb}"), None),
    }
}
