//! Shortens an answer to a budget.
//!
//! Lists lose items from their end; `omitted` then says how many, and `continue` is the call that returns the next ones.
//! A list of which nothing is left goes as a whole: an empty one would say that there is nothing.

use serde_json::{Value, json};

/// Members that are removed last: without them the rest cannot be interpreted or continued.
const KEPT: [&str; 26] = [
    "mode",
    "presence",
    "phase",
    "phase_reason",
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

/// What the smallest answer still says, wherever the whole one has it, even beyond the budget: whether the bot is there,
/// whether it is well and what it does.
const VITAL: [&str; 3] = ["presence", "health_status", "phase"];

/// The same where it lies within an object: the object shrinks to this member.
const VITAL_WITHIN: [(&str, &str); 2] = [("bot", "presence"), ("health", "status")];

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
        match vital_of(&name, &value[&name]) {
            Some(vital) => value[&name] = vital,
            None => remove_member(value, &name),
        }
        record_omitted(value, &name, 1, path);
    }
    if text(value).len() > limit {
        *value = smallest_answer(&whole, limit, path, text);
    }
}

/// What an object shrinks to, where it holds something vital and more.
fn vital_of(name: &str, member: &Value) -> Option<Value> {
    let (_, inner) = VITAL_WITHIN.iter().find(|(outer, _)| *outer == name)?;
    let members = member.as_object().filter(|members| members.len() > 1)?;
    members.get(*inner).map(|vital| json!({*inner: vital}))
}

/// The smallest answer: what is vital, the call that returns the whole, and as much else as fits: first the members in
/// [`KEPT`], then the others, the smallest first; and the names of what was left out.
fn smallest_answer(whole: &Value, limit: usize, path: &str, text: &dyn Fn(&Value) -> String) -> Value {
    let mut least = json!({"truncated": true, "continue": {"method": "GET", "path": path}});
    let Some(members) = whole.as_object() else { return least };
    for (name, member) in members {
        if VITAL.contains(&name.as_str()) {
            least[name] = member.clone();
        } else if let Some(vital) = vital_of(name, member) {
            least[name] = vital;
        }
    }
    let mut others: Vec<&String> = members
        .iter()
        .filter(|(name, member)| {
            !KEPT.contains(&name.as_str()) && !member.is_array() && least.get(*name).is_none()
        })
        .map(|(name, _)| name)
        .collect();
    others.sort_by_cached_key(|name| members[*name].to_string().len());
    let unshown = members.get("items").and_then(Value::as_array).map_or(0, Vec::len);
    for name in KEPT.into_iter().chain(others.into_iter().map(String::as_str)) {
        // Of a list without its items nothing was read: its cursors would pass over them.
        if unshown > 0 && matches!(name, "next" | "older") {
            continue;
        }
        let Some(member) = members.get(name).filter(|_| least.get(name).is_none()) else { continue };
        let is_large = member.is_array() || (member.is_object() && KEPT.contains(&name));
        if !is_large {
            least[name] = if name == "omitted" { with_unshown(member, unshown) } else { member.clone() };
            if text(&least).len() > limit {
                remove_member(&mut least, name);
            }
        }
    }
    name_left_out(&mut least, members, limit, path, text);
    least
}

/// How much a list leaves out, with the items of it that are not shown either.
fn with_unshown(omitted: &Value, unshown: usize) -> Value {
    match omitted {
        Value::Number(beyond) => {
            json!(beyond.as_u64().unwrap_or_default() + u64::try_from(unshown).unwrap_or_default())
        }
        Value::Bool(more) => json!(*more || unshown > 0),
        other => other.clone(),
    }
}

/// Names in `omitted` what the smallest answer leaves out, where there is room for it and no count of its own.
fn name_left_out(
    least: &mut Value,
    members: &serde_json::Map<String, Value>,
    limit: usize,
    path: &str,
    text: &dyn Fn(&Value) -> String,
) {
    let missing: Vec<&str> =
        members.keys().filter(|name| least.get(*name).is_none()).map(String::as_str).collect();
    if missing.is_empty() || least.get("omitted").is_some() {
        return;
    }
    let call = json!({"method": "GET", "path": path});
    least["omitted"] = json!([{"what": missing.join(", "), "count": missing.len(), "call": call}]);
    if text(least).len() > limit {
        remove_member(least, "omitted");
    }
}

fn remove_member(value: &mut Value, name: &str) {
    if let Some(members) = value.as_object_mut() {
        members.remove(name);
    }
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
    if last.is_none() {
        members.remove(&name);
    }
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
            // One call returns them all, so they share an entry.
            let (base, _) = path.split_once('?').unwrap_or((path, ""));
            let is_of_this_call = |entry: &Value| {
                entry["call"]["path"].as_str().is_some_and(|call| call.split('?').next() == Some(base))
            };
            match entries.iter_mut().find(|entry| is_of_this_call(entry)) {
                Some(known) => {
                    let names = known["what"].as_str().unwrap_or_default().to_owned();
                    if names.split(", ").all(|name| name != what) {
                        let names = format!("{names}, {what}");
                        known["call"] = call_for(&names.replace(", ", ","), path);
                        known["what"] = json!(names);
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
    json!({"what": what, "count": count, "call": call_for(what, path)})
}

/// The call that returns these members whole.
fn call_for(names: &str, path: &str) -> Value {
    let whole = if path.split('?').next() == Some("/api/v1/state") {
        format!("/api/v1/state?fields={names}")
    } else {
        path.to_owned()
    };
    json!({"method": "GET", "path": whole})
}

/// Names of the members that serve as a list's cursor.
const CURSORS: [&str; 3] = ["seq", "version", "run_id"];

/// Sets the cursor from which a shortened list continues: after the last item that is left, or before it in a list with
/// the member `older`, which is newest first and has both cursors.
fn set_continuation(value: &mut Value, last: Option<&Value>, path: &str) {
    let cursor = last.and_then(|item| CURSORS.iter().find_map(|name| item.get(*name))).cloned();
    // A list in another order than that of its numbers has no place to go on from.
    let is_sorted = path.split(['?', '&']).skip(1).any(|pair| pair.starts_with("sort="));
    let cursor = cursor.filter(|cursor| !is_sorted && !cursor.is_null());
    let (name, parameter) =
        if value.get("older").is_some() { ("older", "before=") } else { ("next", "after=") };
    let (base, query) = path.split_once('?').unwrap_or((path, ""));
    let others: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with(parameter)).collect();
    let Some(cursor) = cursor else {
        // The cursors of the whole page would pass over the items that are not shown.
        remove_member(value, "next");
        remove_member(value, "older");
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
    let is_last = |name: &str, member: &Value| {
        let is_vital =
            VITAL_WITHIN.iter().any(|(outer, inner)| *outer == name && member.get(*inner).is_some());
        KEPT.contains(&name) || (is_vital && vital_of(name, member).is_none())
    };
    let members = value.as_object()?.iter().filter(|(name, member)| !is_last(name, member));
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

    /// A state with much of everything; its vital parts lie within objects.
    fn state(orders: usize) -> Value {
        let order = json!({"client_id": "0199c1d2", "symbol": "SPY", "side": "buy", "quantity": "10"});
        json!({
            "mode": "paper", "phase": "running", "as_of": "2026-11-23T15:30:01Z",
            "bot": {"bot_id": "paperbot", "presence": "connected", "presence_reason": "it answers on time"},
            "health": {"status": "healthy", "reason": "The bot answers and trades by its rules."},
            "account": {"account_balance": "100312.75", "buying_power": "71250.40"},
            "orders": vec![order; orders], "positions": [{"symbol": "SPY"}], "locks": [], "warnings": [],
        })
    }

    #[test]
    fn a_list_whose_items_have_no_number_has_no_cursor_when_it_is_cut() {
        for item in [
            json!({"incident_id": "inc-7", "title": "x".repeat(60)}),
            json!({"seq": null, "m": "x".repeat(60)}),
        ] {
            let mut cut = json!({"items": vec![item; 9], "older": 3, "next": 9, "omitted": 1});
            shorten_to(&mut cut, 400, "/api/v1/incidents", &|value| value.to_string());
            assert!(cut.get("older").is_none() && cut.get("next").is_none(), "{cut}");
            assert_eq!(cut["continue"]["path"], "/api/v1/incidents", "{cut}");
            let shown = cut["items"].as_array().unwrap().len();
            assert_eq!(cut["omitted"], json!(10 - shown), "{cut}");
        }
    }

    /// A page newest first: the items 150 to 101, and a hundred that are older.
    fn newest_first() -> Value {
        let item = |seq: u64| json!({"seq": seq, "symbol": "SPY", "exit_reason": "x".repeat(30)});
        let items: Vec<_> = (101..=150).rev().map(item).collect();
        json!({"items": items, "next": 150, "older": 101, "omitted": 100, "mode": "paper", "zone": "UTC"})
    }

    proptest! {
        #[test]
        fn what_a_cut_page_shows_and_leaves_out_is_all_there_is_and_its_cursor_loses_nothing(
            budget in 50_usize..4_000,
        ) {
            let mut cut = newest_first();
            shorten_to(&mut cut, budget * 5 / 2, "/api/v1/trades?limit=50", &|value| value.to_string());
            let shown = cut["items"].as_array().map_or(0, Vec::len);
            if let Some(omitted) = cut["omitted"].as_u64() {
                prop_assert_eq!(omitted, 150 - u64::try_from(shown).unwrap(), "{}", cut);
            }
            let goes_on = (shown < 50).then(|| cut["continue"]["path"].as_str().unwrap().to_owned());
            match shown {
                0 => {
                    prop_assert!(cut.get("older").is_none() && cut.get("next").is_none(), "{}", cut);
                    prop_assert_eq!(goes_on.unwrap(), "/api/v1/trades?limit=50");
                }
                _ => {
                    prop_assert_eq!(&cut["older"], &cut["items"][shown - 1]["seq"], "{}", cut);
                    prop_assert_eq!(&cut["next"], &json!(150));
                    let path = format!("/api/v1/trades?before={}&limit=50", cut["older"]);
                    prop_assert!(goes_on.is_none_or(|goes_on| goes_on == path), "{}", cut);
                }
            }
        }

        #[test]
        fn what_was_cut_is_never_shown_as_empty(budget in 50_usize..2_000, orders in 0_usize..60) {
            let whole = state(orders);
            let mut cut = whole.clone();
            shorten_to(&mut cut, budget * 5 / 2, "/api/v1/state", &|value| value.to_string());
            prop_assert_eq!(&cut["bot"]["presence"], "connected");
            prop_assert_eq!(&cut["health"]["status"], "healthy");
            prop_assert_eq!(&cut["phase"], "running");
            let named = cut["omitted"].to_string();
            for (name, member) in whole.as_object().unwrap() {
                let had = member.as_array().map_or(0, Vec::len);
                let has = cut[name].as_array().map(Vec::len);
                prop_assert!(has != Some(0) || had == 0, "{name} of {had} is shown as empty: {cut}");
                let is_cut = has.is_some_and(|has| has < had) || cut.get(name).is_none();
                let is_told = named.contains(name.as_str()) || cut.get("continue").is_some();
                prop_assert!(!is_cut || is_told, "{name} is missing without a word: {cut}");
            }
        }

        #[test]
        fn whatever_is_cut_fits_or_is_the_least_there_is(count in 0_u64..200, budget in 50_usize..5_000) {
            let cut = cut(&page(count), budget);
            let fits = cut.to_string().len() <= budget * 5 / 2;
            prop_assert!(fits || cut.get("items").is_none(), "{}", cut);
        }
    }
}
