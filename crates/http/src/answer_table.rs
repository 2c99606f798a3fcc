//! Answers as tables instead of JSON.

use serde_json::{Map, Value};

/// The answer as tab-separated values: the members beside the list follow as comments.
pub(super) fn tsv(value: &Value) -> String {
    let plain = |text: String| {
        text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
    };
    let mut out = String::new();
    let Some(rows) = rows(value) else {
        for (name, member) in fields_outside_items(value) {
            out.push_str(&format!("{name}\t{}\n", plain(member)));
        }
        return out;
    };
    let columns = columns(rows);
    out.push_str(&columns.join("\t"));
    out.push('\n');
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|name| plain(cell(row.get(name)))).collect();
        out.push_str(&cells.join("\t"));
        out.push('\n');
    }
    for (name, member) in fields_outside_items(value) {
        out.push_str(&format!("# {name}\t{}\n", plain(member)));
    }
    out
}

/// The answer in Markdown, after the members beside the list: what happened as lines of a log, any other list as a table.
pub(super) fn markdown(value: &Value) -> String {
    let mut out = String::new();
    for (name, member) in fields_outside_items(value) {
        out.push_str(&format!("- {name}: {}\n", escaped(&member)));
    }
    let Some(rows) = rows(value) else { return out };
    if !rows.is_empty() && rows.iter().all(|row| time_of(row).is_some() && row["message"].is_string()) {
        out.push('\n');
        rows.iter().for_each(|row| out.push_str(&log_line(row)));
        return out;
    }
    let columns = columns(rows);
    if columns.is_empty() {
        return out;
    }
    out.push_str(&format!("\n| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len())));
    for row in rows {
        let cells: Vec<String> =
            columns.iter().map(|name| escaped(&words_of(row.get(name).unwrap_or(&Value::Null)))).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

/// Text from a peer must not end its cell or line, and not form a link.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '|' | '`' | '[' | ']' | '<' | '>' | '*' | '\\') {
            out.push('\\');
        }
        out.push(if matches!(c, '\n' | '\r') { ' ' } else { c });
    }
    out
}

/// When something happened, in an entry of a log.
fn time_of(row: &Value) -> Option<&str> {
    row["at"].as_str().or_else(|| row["timestamp"].as_str())
}

/// An entry of a log as a line: time, urgency, kind and code, message, who says it, its number. A failure has its cause and
/// remedy in a line of their own.
fn log_line(row: &Value) -> String {
    let failure = if row["error"].is_object() { &row["error"] } else { row };
    let words = [&row["severity"], &row["kind"], &failure["error_code"]];
    let words: Vec<_> = words.iter().filter_map(|word| word.as_str()).collect();
    let mut line = format!(
        "- {} {}: {}",
        escaped(time_of(row).unwrap_or_default()),
        escaped(&words.join(" ")),
        escaped(row["message"].as_str().unwrap_or_default())
    );
    let source = row["source"].as_str().map(escaped);
    let number = row["seq"].as_u64().map(|seq| format!("#{seq}"));
    let repeats = row["repeats"].as_u64().map(|seq| format!("told before as #{seq}"));
    let about: Vec<_> = [source, number, repeats].into_iter().flatten().collect();
    line.push_str(&format!(" ({})\n", about.join(", ")));
    for name in ["cause", "remediation"] {
        if let Some(text) = failure[name].as_str().filter(|text| !text.is_empty()) {
            line.push_str(&format!("  - {name}: {}\n", escaped(text)));
        }
    }
    line
}

/// A value in words: an object as its members, a list as its items.
fn words_of(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let told = members.iter().filter(|(_, member)| !member.is_null());
            told.map(|(name, member)| format!("{name} {}", words_of(member))).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => items.iter().map(words_of).collect::<Vec<_>>().join("; "),
        other => cell(Some(other)),
    }
}

/// The list inside an answer: its `items`, or the answer itself.
fn rows(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().or_else(|| value.get("items")?.as_array())
}

/// The columns of a list: the names of its items, in order of first appearance.
fn columns(rows: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The members beside the list, as names and texts.
fn fields_outside_items(value: &Value) -> Vec<(String, String)> {
    let members = value.as_object().into_iter().flatten();
    members
        .filter(|(name, _)| *name != "items")
        .map(|(name, member)| (name.clone(), cell(Some(member))))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_escape_what_would_end_a_cell() {
        let value = json!({"items": [{"a": "x\ty|z", "b": null}], "next": 1});
        assert_eq!(tsv(&value), "a\tb\nx\\ty|z\t\n# next\t1\n");
        assert!(markdown(&value).contains("| x\ty\\|z |  |"));
    }

    #[test]
    fn what_happened_is_read_like_a_log_and_an_object_in_a_cell_as_words() {
        let value = json!({"items": [
            {"seq": 7, "at": "2026-11-23T15:12:09Z", "kind": "error", "severity": "high", "source": "bot:a", "message": "it\nfailed *",
             "error": {"error_code": "BRK_010", "cause": "no money", "remediation": ""}, "data": {"raw": [1, {"a": 2}]}},
            {"seq": 8, "at": "2026-11-23T15:12:10Z", "kind": "fill", "severity": "low", "source": "bot:a", "message": "bought"}],
            "next": 8});
        assert_eq!(
            markdown(&value),
            "- next: 8\n\n\
             - 2026-11-23T15:12:09Z high error BRK_010: it failed \\* (bot:a, #7)\n  - cause: no money\n\
             - 2026-11-23T15:12:10Z low fill: bought (bot:a, #8)\n"
        );
        let table = markdown(&json!({"items": [{"a": {"b": 1, "c": null, "d": ["x", "y"]}}]}));
        assert!(table.contains("| b 1, d x; y |"), "{table}");
    }
}
