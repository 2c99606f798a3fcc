//! JSON of any form made harmless as text, so that every number keeps its digits.

use std::collections::HashSet;

use serde_json::{Number, Value};

use super::json_text::{RawMembers, quoted, raw_items};
use botops_core::redact;
use botops_core::text::clean;

/// Lists and objects within each other; deeper ones are left out.
const DEEPEST: usize = 32;

/// Longest text.
const LONGEST_TEXT: usize = 500;

/// Longest name of a member.
const LONGEST_NAME: usize = 64;

/// A text of this many times the limit is not looked at: it would not become short enough.
const LONGEST_READ: usize = 8;

/// The same JSON without blanks, its texts cleaned and capped, secrets masked, of two members with one name the last. A
/// number that a float cannot hold at all becomes a text. What is longer than `limit` bytes then is only counted.
pub(in crate::bots) fn harmless_json(text: &str, limit: usize) -> String {
    let omitted = |bytes: usize| format!("{{\"omitted_bytes\":{bytes}}}");
    if text.len() > limit.saturating_mul(LONGEST_READ) {
        return omitted(text.len());
    }
    let harmless = harmless_value(text, DEEPEST);
    if harmless.len() > limit { omitted(harmless.len()) } else { harmless }
}

fn harmless_value(text: &str, depth: usize) -> String {
    let text = text.trim();
    match text.bytes().next() {
        Some(b'{' | b'[') if depth == 0 => "null".to_owned(),
        Some(b'{') => harmless_object(text, depth - 1),
        Some(b'[') => {
            let items = raw_items(text).unwrap_or_default();
            let items: Vec<String> =
                items.into_iter().map(|item| harmless_value(item.get(), depth - 1)).collect();
            format!("[{}]", items.join(","))
        }
        Some(b'"') => {
            let read: String = serde_json::from_str(text).unwrap_or_default();
            quoted(&clean(&redact::line(&read), LONGEST_TEXT))
        }
        Some(b'-' | b'0'..=b'9') if serde_json::from_str::<Number>(text).is_err() => {
            quoted(&clean(text, LONGEST_TEXT))
        }
        _ => text.to_owned(),
    }
}

fn harmless_object(text: &str, depth: usize) -> String {
    let mut members = RawMembers::of(text).map(|members| members.0).unwrap_or_default();
    members.reverse();
    let mut names = HashSet::new();
    members.retain(|(name, _)| names.insert(name.to_string()));
    members.reverse();
    let shown = members.into_iter().map(|(name, value)| {
        let has_value = !matches!(value.get().bytes().next(), Some(b'n' | b't' | b'f'));
        let value = if redact::is_secret_key(&name) && has_value {
            Value::from(redact::MASK).to_string()
        } else {
            harmless_value(value.get(), depth)
        };
        format!("{}:{value}", quoted(&clean(&name, LONGEST_NAME)))
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, harmless: &str) {
        assert_eq!(harmless_json(text, 200), harmless);
    }

    #[test]
    fn numbers_keep_their_digits_and_texts_are_cleaned() {
        check(
            r#" {"a" : [ 5.00, -0.10,1e-30 , 0.1234567890123456789012 ], "b": null} "#,
            r#"{"a":[5.00,-0.10,1e-30,0.1234567890123456789012],"b":null}"#,
        );
        check("1e400", "\"1e400\"");
        check("\"a\\u202eb\\u0000 Bearer abc\"", "\"ab Bearer *****\"");
        check(
            r#"{"api_key": 17, "token": null, "x": {"password": ["a"]}}"#,
            r#"{"api_key":"*****","token":null,"x":{"password":"*****"}}"#,
        );
        check(r#"{"a": 1, "b": 2, "a": 3}"#, r#"{"b":2,"a":3}"#);
        check("null", "null");
    }

    #[test]
    fn what_is_long_or_deep_is_bounded() {
        let long = format!("[{}1]", "1, ".repeat(150));
        check(&long, r#"{"omitted_bytes":303}"#);
        let longest = format!("\"{}\"", "x".repeat(2_000));
        check(&longest, r#"{"omitted_bytes":2002}"#);
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(&deep(32), &deep(32));
        check(&deep(40), &format!("{}null{}", "[".repeat(32), "]".repeat(32)));
        assert_eq!(
            harmless_json(&deep(100_000), 1_000_000),
            format!("{}null{}", "[".repeat(32), "]".repeat(32))
        );
    }
}
