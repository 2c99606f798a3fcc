//! Reading, checking and changing the config.

use serde_json::{Value, json};

use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::{AskPlan, PlannedCall, planned_call, read_call};
use crate::ask::slots::WantedValue;
use crate::ask::units::AmountUnit;

/// Keys that one answer names with their values.
const NAMED_KEYS: usize = 4;

pub(super) fn config_change(path: &str, body: &Value) -> AskPlan {
    let call = |suffix: &str| PlannedCall {
        if_match: true,
        ..planned_call("PUT", format!("{path}{suffix}"), Some(body.clone()))
    };
    AskPlan::Change { preview: call("?dry_run=true"), real: call("") }
}

pub(super) fn merge_patch(key: &str, value: &Value) -> Value {
    key.split('.').rev().fold(value.clone(), |inner, part| json!({part: inner}))
}

pub(super) fn set_config(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let change = |wanted: &WantedValue| {
        config_change(
            "/api/v1/config/apply",
            &json!({"merge_patch": merge_patch(&wanted.key, &wanted.value), "reason": asked.reason()}),
        )
    };
    let read = |key: &str| read_call(format!("/api/v1/config?fields=config.{key}"));
    match asked.slots.wanted.as_slice() {
        [one] if one.fits => change(one),
        [one] => AskPlan::Choose(vec![
            ("config_set", one.why.clone().into(), change(one)),
            ("config_read", format!("see {} as it is", one.key).into(), read(&one.key)),
        ]),
        [] => AskPlan::Choose(vec![
            ("config_schema", missing(asked, context).into(), read_call("/api/v1/config/schema")),
            ("config_read", "see the current values first".into(), read_call("/api/v1/config")),
        ]),
        several => {
            let of = |wanted: &WantedValue| ("config_set", wanted.why.clone().into(), change(wanted));
            let unfit = several.iter().find(|wanted| !wanted.fits);
            let look = unfit.map(|wanted| {
                ("config_read", format!("see {} as it is", wanted.key).into(), read(&wanted.key))
            });
            AskPlan::Choose(several.iter().map(of).chain(look).collect())
        }
    }
}

/// What a change lacks: a key, or the value for one.
fn missing(asked: &ParsedText, context: &AskContext) -> String {
    let now = |key: &String| {
        let unit = AmountUnit::of_field(key, context.field_schema(key));
        let unit = if unit == AmountUnit::Plain { String::new() } else { format!(" ({})", unit.shown()) };
        let now = context.value_of(key).map_or_else(|| "not known".to_owned(), Value::to_string);
        format!("{key}{unit} is {now}")
    };
    let known: Vec<String> = asked.slots.keys.iter().take(NAMED_KEYS).map(now).collect();
    if known.is_empty() {
        return "name a key and a value, as in `set max_position_pct to 4`; this lists the keys".to_owned();
    }
    format!("name a value: {}; this lists what each takes", known.join(", "))
}

pub(super) fn validate_config(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let body = match asked.slots.wanted.as_slice() {
        [one, ..] => json!({"merge_patch": merge_patch(&one.key, &one.value)}),
        [] => {
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

/// A change of the list of what is traded: which members an item has is the schema's, so both are shown first.
pub(super) fn change_symbols(_: &ParsedText, context: &AskContext) -> AskPlan {
    let is_list = |(path, value): &&(String, Value)| {
        let leaf = path.rsplit('.').next().unwrap_or(path);
        value.is_array() && matches!(leaf, "targets" | "symbols" | "pairs" | "pair_whitelist" | "tickers")
    };
    let Some((path, value)) = context.config.iter().find(is_list) else {
        return AskPlan::Choose(vec![
            (
                "config_schema",
                "see which field lists what is traded".into(),
                read_call("/api/v1/config/schema"),
            ),
            ("config_read", "see the config as it is".into(), read_call("/api/v1/config")),
        ]);
    };
    let count = value.as_array().map_or(0, Vec::len);
    let why = format!(
        "{path} is a list of {count}, which is changed as a whole: see it, then send it with the change"
    );
    AskPlan::Choose(vec![
        ("config_read", why.into(), read_call(format!("/api/v1/config?fields=config.{path}"))),
        ("config_schema", "see what an item of the list takes".into(), read_call("/api/v1/config/schema")),
    ])
}

/// Back to the version of the text; without one, to the config before.
pub(super) fn roll_back(asked: &ParsedText, _: &AskContext) -> AskPlan {
    let to = asked.slots.versions.first().cloned().unwrap_or_else(|| "previous".to_owned());
    config_change("/api/v1/config/rollback", &json!({"to": to, "reason": asked.reason()}))
}
