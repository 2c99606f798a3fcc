//! What an answer takes on a screen: the sentence, then the answer in short lines, then how to see the rest.

use serde_json::{Map, Value};

/// Lines of one screen, and characters of one line.
pub(super) const SCREEN_LINES: usize = 24;
const LINE_CHARS: usize = 100;

/// Members of an item that come first: what it is and when it was.
const FIRST: [&str; 16] = [
    "at",
    "timestamp",
    "closed_at",
    "starts_at",
    "key",
    "symbol",
    "component_id",
    "workflow_id",
    "version",
    "side",
    "state",
    "status",
    "severity",
    "title",
    "summary",
    "message",
];

/// How many lines of a terminal a line takes.
pub(super) fn lines_of(line: &str) -> usize {
    line.chars().count().div_ceil(LINE_CHARS).max(1)
}

/// A text in lines that fit; a word that is longer than a line stays whole.
pub(super) fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        let is_full = line.chars().count() + 1 + word.chars().count() > LINE_CHARS;
        if line.is_empty() {
            line.push_str(word);
        } else if is_full {
            lines.push(word.to_owned());
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines
}

/// A command in lines that a shell reads as one. What is quoted stays whole, however long.
pub(super) fn command_lines(command: &str) -> Vec<String> {
    if command.chars().count() <= LINE_CHARS {
        return vec![command.to_owned()];
    }
    let mut parts = vec![String::new()];
    let (mut quote, mut before) = (None, ' ');
    for c in command.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        let opens = quote.is_none() && c == '-' || quote.is_some() && c == '\'' && before == ' ';
        let is_option = opens && before == ' ' && parts.last().is_some_and(|part| part.len() > 8);
        // The value of an option stays beside it.
        let is_value =
            c == '\'' && parts.last().is_some_and(|part| part.ends_with("-H ") || part.ends_with("-d "));
        if is_option && !is_value {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
        before = c;
    }
    let last = parts.len().saturating_sub(1);
    let line = |(at, part): (usize, String)| {
        let indent = if at == 0 { "" } else { "  " };
        let end = if at == last { "" } else { " \\" };
        format!("{indent}{}{end}", part.trim_end())
    };
    parts.into_iter().enumerate().map(line).collect()
}

/// The answer in short lines: what is said in a word, then each item of a list in one line, then what is not known.
pub(super) fn answer_lines(answer: &Value) -> Vec<String> {
    let members = match answer {
        Value::Object(members) => members,
        Value::String(text) => return text.lines().map(clipped).collect(),
        Value::Array(items) => return items.iter().map(|item| clipped(&item_line(item))).collect(),
        other => return vec![clipped(&shown(other))],
    };
    let (mut plain, mut nested, mut lists, mut unknown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, member) in members {
        match member {
            Value::Null => unknown.push(name.as_str()),
            Value::Object(inner) if inner.is_empty() => {}
            Value::Object(inner) => nested.push(format!("{name}: {}", pairs(inner))),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                lists.push(format!("{name} ({}):", items.len()));
                lists.extend(items.iter().map(|item| format!("- {}", item_line(item))));
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(shown).collect();
                let items = if items.is_empty() { "none".to_owned() } else { items.join(", ") };
                plain.push(format!("{name}: {items}"));
            }
            member => plain.push(format!("{name}: {}", shown(member))),
        }
    }
    if !unknown.is_empty() {
        nested.push(format!("without a value: {}", unknown.join(", ")));
    }
    // What is listed is what most questions are about, so it comes before the rest.
    let is_list = lists.len() > 1;
    let order = if is_list { [lists, plain, nested] } else { [plain, lists, nested] };
    order.into_iter().flatten().map(|line| clipped(&line)).collect()
}

/// At most so many lines. What is left out is counted, with how to see it.
pub(super) fn first_lines(lines: Vec<String>, room: usize, rest: &str) -> Vec<String> {
    let room = room.max(1);
    if lines.len() <= room {
        return lines;
    }
    let left_out = lines.len() - room + 1;
    let mut shown: Vec<String> = lines.into_iter().take(room - 1).collect();
    shown.push(clipped(&format!("… {left_out} more lines: {rest}")));
    shown
}

fn clipped(line: &str) -> String {
    let line = line.trim_end();
    if line.chars().count() <= LINE_CHARS {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(LINE_CHARS - 1).collect();
    short.push('…');
    short
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Value::Object(members) => format!("({})", pairs(members)),
        Value::Array(items) => format!("{} items", items.len()),
        other => other.to_string(),
    }
}

fn pairs(members: &Map<String, Value>) -> String {
    let known = members.iter().filter(|(_, member)| !member.is_null());
    known.map(|(name, member)| format!("{name} {}", shown(member))).collect::<Vec<_>>().join(", ")
}

/// One item in one line: what it is and when it was, then the rest of it.
fn item_line(item: &Value) -> String {
    let Value::Object(members) = item else { return shown(item) };
    let first = FIRST.iter().filter_map(|name| members.get(*name)).filter(|member| !member.is_null());
    let mut parts: Vec<String> = first.map(shown).collect();
    let rest = members.iter().filter(|(name, member)| {
        let is_plain = !member.is_null() && !member.is_object() && !member.is_array();
        is_plain && !FIRST.contains(&name.as_str())
    });
    parts.extend(rest.map(|(name, member)| format!("{name} {}", shown(member))));
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_fits_into_a_screen() {
        let items: Vec<Value> = (0..200)
            .map(|n| json!({"at": "T", "message": "x ".repeat(200), "seq": n, "data": {"a": 1}}))
            .collect();
        let lines = answer_lines(&json!({"items": items, "next": 7, "older": null}));
        assert_eq!(lines.first().map(String::as_str), Some("items (200):"));
        assert!(lines.iter().all(|line| line.chars().count() <= LINE_CHARS));
        let shown = first_lines(lines, 20, "`--all` prints them");
        assert_eq!(shown.len(), 20);
        assert!(shown.last().is_some_and(|line| line.starts_with("… 184 more lines")), "{shown:?}");
    }

    #[test]
    fn a_command_in_several_lines_is_the_same_command() {
        let command = "curl -sS -H \"X-API-Key: $BOT_API_AUTH_TOKEN\" -X PUT -H \"Idempotency-Key: $(uuidgen)\" -H 'Content-Type: \
                       application/json' -d '{\"reason\":\"a - b\"}' 'http://127.0.0.1:8000/api/v1/config/apply'";
        let lines = command_lines(command);
        assert!(lines.len() > 3, "{lines:#?}");
        let joined =
            lines.iter().map(|line| line.trim_start().trim_end_matches(" \\")).collect::<Vec<_>>().join(" ");
        assert_eq!(joined, command);
    }

    #[test]
    fn a_sentence_is_wrapped_between_its_words() {
        let lines = wrapped(&"word ".repeat(60));
        assert!(lines.len() == 3 && lines.iter().all(|line| line.chars().count() <= LINE_CHARS), "{lines:?}");
    }
}
