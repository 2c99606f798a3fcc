//! The audit as one line a change: who changed what and why, and how it ended, newest first.

use serde_json::{Value, json};

use super::audit::ConfigAudit;
use super::transaction::TransactionState;
use botops_core::error::Error;

/// Records read at once, backwards.
const CHUNK: u64 = 500;

/// A page of changes, newest first.
#[derive(Debug, Default)]
pub(crate) struct ChangePage {
    pub items: Vec<Value>,
    /// The cursor of older ones; `None` at the end.
    pub older: Option<u64>,
    /// How many more records lie before this page: a change has several.
    pub omitted: usize,
}

/// At most `limit` changes whose last record lies before `before`.
///
/// # Errors
/// [`Code::ConfigAuditUnavailable`](botops_core::error::Code::ConfigAuditUnavailable).
pub(crate) async fn page_of_changes(
    audit: &ConfigAudit,
    before: Option<u64>,
    limit: usize,
) -> Result<ChangePage, Error> {
    let newest = audit.head().seq;
    let mut end = before.unwrap_or(u64::MAX).min(newest + 1);
    let mut page = ChangePage::default();
    while end > 1 {
        let after = end.saturating_sub(CHUNK + 1);
        let count = u32::try_from(end - 1 - after).unwrap_or(u32::MAX);
        let (records, _) = audit.page(after, count).await?;
        for record in records.iter().rev() {
            let seq = record["seq"].as_u64().unwrap_or_default();
            // A change that is under way is the last one of the file: no other is admitted meanwhile.
            if seq >= end || !(is_end(record) || (seq == newest && record["txn"].is_string())) {
                continue;
            }
            if page.items.len() == limit {
                page.omitted = usize::try_from(seq).unwrap_or(usize::MAX);
                page.older = page.items.last().and_then(|last| last["seq"].as_u64());
                return Ok(page);
            }
            // The differences are in the first and the last record of a change: of one under way, in the first.
            let with_diff = records.iter().find(|one| one["txn"] == record["txn"] && one["diff"].is_array());
            page.items.push(change_line(record, with_diff.unwrap_or(record)));
        }
        end = after + 1;
    }
    Ok(page)
}

fn is_end(record: &Value) -> bool {
    let state = serde_json::from_value(record["event"].clone());
    record["txn"].is_string() && state.is_ok_and(TransactionState::is_terminal)
}

/// A change as one entry of a log: its members for programs, `message` for people.
fn change_line(record: &Value, with_diff: &Value) -> Value {
    let texts = |value: &Value| -> Vec<String> {
        let lines = value.as_array().into_iter().flatten();
        lines.filter_map(|line| line["text"].as_str().map(str::to_owned)).collect()
    };
    let (changes, state) = (texts(&with_diff["diff"]), record["event"].as_str().unwrap_or_default());
    let (actor, reason) = (&record["actor"]["key_id"], record["reason"].as_str().unwrap_or_default());
    let number = |version: &Value| version["version"].as_u64();
    let (from, to) = (number(&record["base"]), number(&record["new"]));
    let named =
        |version: Option<u64>| version.map_or_else(|| "?".to_owned(), |version| format!("v{version}"));
    let ended = match record["outcome"].as_str() {
        Some(outcome) => format!("{state} ({})", outcome.trim_end_matches('.')),
        None => state.to_owned(),
    };
    let revert = (state == "committed").then(|| revert_of(&with_diff["diff"])).flatten();
    let told = if changes.is_empty() { "no difference is recorded".to_owned() } else { changes.join(" | ") };
    let is = if is_end(record) { "It ended" } else { "It is under way" };
    let message = format!(
        "{} {}, {} → {}: {told}. Reason: {}. {is}: {ended}.",
        actor.as_str().unwrap_or("somebody"),
        record["action"].as_str().unwrap_or("change"),
        named(from),
        named(to),
        reason.trim_end_matches('.'),
    );
    json!({"seq": record["seq"], "at": record["ts"], "kind": "config", "message": message, "source": actor,
        "txn": record["txn"], "action": record["action"], "actor": actor, "reason": record["reason"], "from_version": from,
        "version": to, "restored_from": record["restored_from"], "changes": changes, "revert_merge_patch": revert, "risk": with_diff["risk"]["direction"],
        "state": state, "by": record["by"], "outcome": record["outcome"], "error_code": record["error"]["error_code"],
        "run_id": record["run_id"]})
}

/// The `merge_patch` that takes exactly this change back; `None` where a part of it lies in a list or is secret, which no
/// patch can name: then a rollback to a version is the way.
fn revert_of(diff: &Value) -> Option<Value> {
    let lines = diff.as_array().filter(|lines| !lines.is_empty())?;
    let mut patch = json!({});
    for line in lines {
        if line["masked"] == true || line["key"].is_string() {
            return None;
        }
        let mut place = &mut patch;
        for name in line["path"].as_str()?.strip_prefix('/')?.split('/') {
            if name.parse::<usize>().is_ok() {
                return None;
            }
            let name = name.replace("~1", "/").replace("~0", "~");
            place = place.as_object_mut()?.entry(name).or_insert_with(|| json!({}));
        }
        // `null` takes a value away that was not there before.
        *place = line["old"].clone();
    }
    Some(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::revert_of;

    #[test]
    fn a_change_is_taken_back_by_its_old_values() {
        let line = |path: &str, old: Value| json!({"op": "replace", "path": path, "old": old, "new": 1});
        let diff = json!([
            line("/risk/stop", json!(2.0)),
            line("/risk/cap", Value::Null),
            line("/a~1b", json!("x"))
        ]);
        assert_eq!(revert_of(&diff), Some(json!({"risk": {"stop": 2.0, "cap": null}, "a/b": "x"})));
    }

    #[test]
    fn what_no_patch_can_name_has_none() {
        let in_list = json!([{"path": "/targets/0/weight", "key": "SPY", "old": 1, "new": 2}]);
        let secret = json!([{"path": "/token", "masked": true, "old": "a", "new": "b"}]);
        for diff in [in_list, secret, json!([{"path": "/list/0", "old": 1}]), json!([]), Value::Null] {
            assert_eq!(revert_of(&diff), None, "{diff}");
        }
    }
}
