//! Edits of JSON as text, so that every number keeps its digits.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object in their order, each value as it is written. A name may occur twice.
pub(super) struct RawMembers<'t>(pub Vec<(Cow<'t, str>, &'t RawValue)>);

impl<'t> RawMembers<'t> {
    /// The members of the object; `None` when the text is no object.
    pub(super) fn of(text: &'t str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The object as text.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::from("{");
        for (name, value) in &self.0 {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&quoted(name));
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text
    }
}

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawMembers<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMembers<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    members.push((Cow::Owned(name), map.next_value()?));
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The items of a JSON list, each as it is written; `None` when the text is no list.
pub(super) fn raw_items(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

/// One step from a value to one inside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bots) enum PathStep {
    Member(String),
    Item(usize),
}

/// The path as a JSON pointer.
pub(super) fn pointer_of(path: &[PathStep]) -> String {
    let mut pointer = String::new();
    for step in path {
        pointer.push('/');
        match step {
            PathStep::Member(name) => pointer.push_str(&name.replace('~', "~0").replace('/', "~1")),
            PathStep::Item(index) => pointer.push_str(&index.to_string()),
        }
    }
    pointer
}

/// Where the value at `path` stands in the text; `None` when there is no such value.
pub(in crate::bots) fn span_of(text: &str, path: &[PathStep]) -> Option<Range<usize>> {
    let mut found = text.trim();
    for step in path {
        found = match step {
            PathStep::Member(name) => {
                let members = RawMembers::of(found)?;
                members.0.into_iter().rev().find(|(member, _)| member == name)?.1.get()
            }
            PathStep::Item(index) => raw_items(found)?.into_iter().nth(*index)?.get(),
        };
    }
    // What was found lies within the text.
    let start = (found.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    Some(start..start + found.len())
}

/// The text with the value at `path` replaced.
pub(super) fn replaced(text: &str, path: &[PathStep], with: &str) -> Option<String> {
    let span = span_of(text, path)?;
    let mut edited = text.to_owned();
    edited.replace_range(span, with);
    Some(edited)
}

/// The text without the member or item at `path`, every member of that name included.
pub(super) fn without(text: &str, path: &[PathStep]) -> Option<String> {
    let (last, parent) = path.split_last()?;
    let whole = text.get(span_of(text, parent)?)?;
    let rest = match last {
        PathStep::Member(name) => {
            let mut members = RawMembers::of(whole)?;
            let before = members.0.len();
            members.0.retain(|(member, _)| member != name);
            if members.0.len() == before {
                return None;
            }
            members.to_text()
        }
        PathStep::Item(index) => {
            let mut items: Vec<&str> = raw_items(whole)?.into_iter().map(RawValue::get).collect();
            if *index >= items.len() {
                return None;
            }
            items.remove(*index);
            format!("[{}]", items.join(","))
        }
    };
    replaced(text, parent, &rest)
}

/// The text with a member added to the object at `path`, unless it has one of that name that says something.
pub(super) fn with_member(text: &str, path: &[PathStep], name: &str, value: &str) -> Option<String> {
    let whole = text.get(span_of(text, path)?)?;
    let mut members = RawMembers::of(whole)?;
    if members.0.iter().any(|(member, value)| member == name && value.get() != "null") {
        return Some(text.to_owned());
    }
    members.0.retain(|(member, _)| member != name);
    let added = serde_json::from_str(value).ok()?;
    members.0.push((Cow::Borrowed(name), added));
    replaced(text, path, &members.to_text())
}

/// A text as JSON writes it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The answer as JSON text, as far as it can be made one: a byte order mark is left out, bytes that are no UTF-8 are
/// replaced, and the `NaN` and `Infinity` that some languages write become texts, so that they spoil nothing else.
pub(in crate::bots) fn to_json_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', 'N', 'I']) {
        let (before, from) = rest.split_at(at);
        clean.push_str(before);
        let taken = if from.starts_with('"') {
            let end = end_of_string(from);
            clean.push_str(from.get(..end).unwrap_or(from));
            end
        } else if let Some(word) = ["NaN", "Infinity"].into_iter().find(|word| from.starts_with(word)) {
            let sign = if clean.ends_with('-') && clean.pop().is_some() { "-" } else { "" };
            clean.push_str(&format!("\"{sign}{word}\""));
            word.len()
        } else {
            clean.push_str(from.get(..1).unwrap_or_default());
            1
        };
        rest = from.get(taken..).unwrap_or_default();
    }
    clean.push_str(rest);
    clean
}

/// Where the string ends with which the text begins.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(steps: &[&str]) -> Vec<PathStep> {
        let step = |step: &&str| match step.parse() {
            Ok(index) => PathStep::Item(index),
            Err(_) => PathStep::Member((*step).to_owned()),
        };
        steps.iter().map(step).collect()
    }

    #[test]
    fn a_value_is_found_replaced_and_taken_out_and_the_rest_keeps_its_digits() {
        let text = r#" {"a": [1.10, {"b": 0.1e-7, "c": "x"}], "b": 2.00} "#;
        assert_eq!(text.get(span_of(text, &path(&["a", "1", "b"])).unwrap()), Some("0.1e-7"));
        let edited = replaced(text, &path(&["a", "1", "c"]), "null").unwrap();
        assert_eq!(edited, r#" {"a": [1.10, {"b": 0.1e-7, "c": null}], "b": 2.00} "#);
        assert_eq!(
            without(text, &path(&["a", "0"])).unwrap(),
            r#" {"a": [{"b": 0.1e-7, "c": "x"}], "b": 2.00} "#
        );
        assert_eq!(without(text, &path(&["b"])).unwrap().trim(), r#"{"a":[1.10, {"b": 0.1e-7, "c": "x"}]}"#);
        assert_eq!(without(text, &path(&["c"])), None);
        assert_eq!(span_of(text, &path(&["a", "7"])), None);
    }

    #[test]
    fn numbers_that_are_none_become_texts_outside_of_strings() {
        let text = to_json_text(b"\xef\xbb\xbf{\"NaN\": NaN, \"a\\\"N\": [-Infinity, Infinity, 1], \"b\": \"-Infinity \\\" NaN\xff\"}");
        assert_eq!(
            text,
            "{\"NaN\": \"NaN\", \"a\\\"N\": [\"-Infinity\", \"Infinity\", 1], \"b\": \"-Infinity \\\" NaN\u{fffd}\"}"
        );
    }
}
