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

/// The answer as a Markdown table, after the members beside the list.
pub(super) fn markdown(value: &Value) -> String {
    // Text from a peer must not end its cell or form a link.
    let plain = |text: String| {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '|' | '`' | '[' | ']' | '<' | '>' | '*' | '\\') {
                out.push('\\');
            }
            out.push(if matches!(c, '\n' | '\r') { ' ' } else { c });
        }
        out
    };
    let mut out = String::new();
    for (name, member) in fields_outside_items(value) {
        out.push_str(&format!("- {name}: {}\n", plain(member)));
    }
    let Some(rows) = rows(value) else { return out };
    let columns = columns(rows);
    if columns.is_empty() {
        return out;
    }
    out.push_str(&format!("\n| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len())));
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|name| plain(cell(row.get(name)))).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
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
}
