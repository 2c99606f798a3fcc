//! Shortens an answer to a budget.
//!
//! Lists lose items from their end; `omitted` then says how many, and `continue` is the call that returns the next ones.

use serde_json::{Value, json};

/// Members that are removed last: without them the rest cannot be interpreted or continued.
const KEPT: [&str; 23] = [
    "mode",
    "health_status",
    "health_reason",
    "next",
    "older",
    "omitted",
    "continue",
    "truncated",
    "as_of",
    "data_age_seconds",
    "is_data_stale",
    "timestamp",
    "generated_at",
    "run_id",
    "workflow_id",
    "state",
    "terminal",
    "seq",
    "next_poll_ms",
    "failed_step",
    "txn",
    "etag",
    "version",
];

/// Shortens a value until its text fits: first lists from their end, the longest first, then whole members, the largest
/// first.
pub(super) fn shorten_to(value: &mut Value, limit: usize, path: &str, text: &dyn Fn(&Value) -> String) {
    if text(value).len() <= limit {
        return;
    }
    let whole = value.clone();
    // The note about what was left out takes room as well.
    let Value::Object(_) = value else {
        *value = json!({"items": value.take()});
        return shorten_to(value, limit, path, text);
    };
    value["truncated"] = json!(true);
    for _ in 0..64 {
        let size = text(value).len();
        if size <= limit {
            return;
        }
        if !cut_longest_list(value, size - limit, path) {
            break;
        }
    }
    while text(value).len() > limit {
        let Some(name) = largest_member(value) else { break };
        if let Some(members) = value.as_object_mut() {
            members.remove(&name);
        }
        record_omitted(value, &name, 1, path);
    }
    if text(value).len() > limit {
        *value = smallest_answer(&whole, limit, path, text);
    }
}

/// The smallest answer: the call that returns the whole, and as many of the members in [`KEPT`] as fit.
fn smallest_answer(whole: &Value, limit: usize, path: &str, text: &dyn Fn(&Value) -> String) -> Value {
    let mut least = json!({"truncated": true, "continue": {"method": "GET", "path": path}});
    for name in KEPT {
        let Some(member) = whole.get(name).filter(|member| !member.is_array() && !member.is_object()) else {
            continue;
        };
        least[name] = member.clone();
        if text(&least).len() > limit
            && let Some(members) = least.as_object_mut()
        {
            members.remove(name);
        }
    }
    least
}

/// Removes items from the end of the longest list until `excess` bytes are free. False when no list is left to shorten.
fn cut_longest_list(value: &mut Value, excess: usize, path: &str) -> bool {
    let Some(members) = value.as_object_mut() else { return false };
    let mut longest: Option<(usize, String)> = None;
    for (name, member) in members.iter() {
        let Value::Array(items) = member else { continue };
        let size = member.to_string().len();
        if name != "omitted" && !items.is_empty() && longest.as_ref().is_none_or(|(known, _)| size > *known) {
            longest = Some((size, name.clone()));
        }
    }
    let Some((_, name)) = longest else { return false };
    let Some(items) = members.get_mut(&name).and_then(Value::as_array_mut) else { return false };
    let mut freed = 0;
    let mut dropped = 0;
    while freed <= excess
        && let Some(item) = items.pop()
    {
        // Counts the bytes of JSON. A table needs fewer per item, so too little may be freed; the caller then repeats.
        freed += item.to_string().len() + 1;
        dropped += 1;
    }
    let last = items.last().cloned();
    record_omitted(value, &name, dropped, path);
    if name == "items" {
        set_continuation(value, last.as_ref(), path);
    }
    true
}

/// Records in `omitted` that something was left out: adds to it where it is a count, appends an entry where it is a
/// list.
fn record_omitted(value: &mut Value, what: &str, count: usize, path: &str) {
    match &mut value["omitted"] {
        Value::Number(known) if what == "items" => {
            let sum = known.as_u64().unwrap_or_default() + u64::try_from(count).unwrap_or_default();
            value["omitted"] = json!(sum);
        }
        Value::Array(entries) => {
            let new = entry(what, count, path);
            match entries.iter_mut().find(|entry| entry["call"] == new["call"]) {
                // The same call returns both, so they share an entry.
                Some(known) => {
                    let names = known["what"].as_str().unwrap_or_default();
                    if names.split(", ").all(|name| name != what) {
                        known["what"] = json!(format!("{names}, {what}"));
                    }
                    let sum = known["count"].as_u64().unwrap_or_default()
                        + u64::try_from(count).unwrap_or_default();
                    known["count"] = json!(sum);
                }
                None => entries.push(new),
            }
        }
        // Some lists have only a flag for whether there is more.
        Value::Bool(more) => *more = true,
        other => *other = json!([entry(what, count, path)]),
    }
}

fn entry(what: &str, count: usize, path: &str) -> Value {
    let call = if path.starts_with("/api/v1/state") {
        format!("/api/v1/state?fields={what}")
    } else {
        path.to_owned()
    };
    json!({"what": what, "count": count, "call": {"method": "GET", "path": call}})
}

/// Names of the members that serve as a list's cursor.
const CURSORS: [&str; 3] = ["seq", "version", "run_id"];

/// Sets the cursor from which a shortened list continues: after the last item that is left, or before it in a list with
/// the member `older`, which is newest first and has both cursors.
fn set_continuation(value: &mut Value, last: Option<&Value>, path: &str) {
    let cursor = last.and_then(|item| CURSORS.iter().find_map(|name| item.get(*name))).cloned();
    let (name, parameter) =
        if value.get("older").is_some() { ("older", "before=") } else { ("next", "after=") };
    let (base, query) = path.split_once('?').unwrap_or((path, ""));
    let others: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with(parameter)).collect();
    let Some(cursor) = cursor else {
        value["continue"] = json!({"method": "GET", "path": path});
        return;
    };
    let shown = cursor.as_str().map_or_else(|| cursor.to_string(), str::to_owned);
    let mut pairs = vec![format!("{parameter}{shown}")];
    pairs.extend(others.into_iter().map(str::to_owned));
    value[name] = cursor;
    value["continue"] = json!({"method": "GET", "path": format!("{base}?{}", pairs.join("&"))});
}

fn largest_member(value: &Value) -> Option<String> {
    let members = value.as_object()?.iter().filter(|(name, _)| !KEPT.contains(&name.as_str()));
    members.max_by_key(|(_, member)| member.to_string().len()).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(count: u64) -> Value {
        let items: Vec<_> = (1..=count)
            .map(|seq| json!({"seq": seq, "message": "x".repeat(20 + usize::try_from(seq % 40).unwrap())}))
            .collect();
        json!({"items": items, "next": count, "omitted": 5, "latest": count + 5})
    }

    fn cut(value: &Value, budget: usize) -> Value {
        let mut value = value.clone();
        shorten_to(&mut value, budget * 5 / 2, "/api/v1/events?kind=fill", &|value| value.to_string());
        value
    }

    #[test]
    fn a_cut_list_goes_on_where_it_ends() {
        let whole = page(100);
        let cut = cut(&whole, 400);
        let kept = cut["items"].as_array().unwrap().len();
        assert!(kept > 3 && kept < 100, "{kept}");
        assert_eq!(cut["next"], cut["items"][kept - 1]["seq"]);
        assert_eq!(cut["omitted"], json!(5 + 100 - kept));
        assert_eq!(cut["continue"]["path"], format!("/api/v1/events?after={kept}&kind=fill"));
        for (left, right) in cut["items"].as_array().unwrap().iter().zip(whole["items"].as_array().unwrap()) {
            assert_eq!(left, right, "what is kept is a prefix");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_cut_fits_or_is_the_least_there_is(count in 0_u64..200, budget in 50_usize..5_000) {
            let cut = cut(&page(count), budget);
            let fits = cut.to_string().len() <= budget * 5 / 2;
            prop_assert!(fits || cut.get("items").is_none(), "{}", cut);
        }
    }
}
