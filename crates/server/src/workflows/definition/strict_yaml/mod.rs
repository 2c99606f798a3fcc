//! The strict profile of YAML in which workflows are written.
//!
//! It has a reader of its own, since no library gives the line and column of each value. Supported: block and flow
//! collections, plain and quoted scalars on one line, comments. Refused with line and column: anchors, aliases, merge
//! keys, tags, directives, several documents, block scalars, tabs, duplicate keys, empty values, and every scalar
//! that two YAML readers might read differently (`yes`, `0o17`, `.inf`).
//!
//! A library's reader then reads the same text, and a difference between the two is a fault as well.

mod cursor;
mod reader;
mod scalar;

use super::marked_document::{DefinitionFault, MarkedDocument};
use reader::StrictYamlReader;

/// Largest file, in bytes: a workflow that needs more is several.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Reads one document.
pub(crate) fn read_strict_yaml(text: &str) -> Result<MarkedDocument, DefinitionFault> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; {MAX_BYTES} are allowed", text.len());
        return Err(DefinitionFault { line: 1, column: 1, message });
    }
    let document = StrictYamlReader::new(text).read_document()?;
    check_second_reader(text, &document)?;
    Ok(document)
}

/// Checks that the library's reader reads the same values.
fn check_second_reader(text: &str, marked: &MarkedDocument) -> Result<(), DefinitionFault> {
    let seen = serde_yaml::from_str::<serde_yaml::Value>(text)
        .and_then(|value| serde_json::to_value(value).map_err(serde::ser::Error::custom));
    match seen {
        Ok(seen) if seen == marked.value => Ok(()),
        Ok(_) => Err(marked.fault_at("", "the text can be read in two ways; quote the strings in it")),
        Err(error) => {
            let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
            Err(DefinitionFault { line, column, message: botops_core::text::clean(&error.to_string(), 200) })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &Value) {
        match read_strict_yaml(text) {
            Ok(marked) => assert_eq!(marked.value, *expected),
            Err(fault) => panic!("{fault}"),
        }
    }

    #[track_caller]
    fn refused(text: &str, line: usize, column: usize, words: &str) {
        let fault = read_strict_yaml(text).map(|marked| marked.value).unwrap_err();
        assert!(fault.message.contains(words), "{fault}");
        assert_eq!((fault.line, fault.column), (line, column), "{fault}");
    }

    #[test]
    fn the_profile_is_enough_for_a_workflow() {
        let text = "# note\nid: restart-bot\nsteps:\n  - id: a   # first\n    with: {x: $params.y, m: [1, -2.5, \"q, \\\"z\"]}\n\
                    \x20   expect:\n    - {that: /a/b, is: eq, value: true}\n  - {id: b}\nempty: []\nsay: 'don''t'\ntime: \"10:00\"\n";
        check(
            text,
            &json!({
                "id": "restart-bot",
                "steps": [
                    {"id": "a", "with": {"x": "$params.y", "m": [1, -2.5, "q, \"z"]},
                     "expect": [{"that": "/a/b", "is": "eq", "value": true}]},
                    {"id": "b"}
                ],
                "empty": [], "say": "don't", "time": "10:00"
            }),
        );
    }

    #[test]
    fn a_flow_collection_may_span_lines() {
        check("a: {b: 1,\n    c: [x,\n z]}\nd: 2\n", &json!({"a": {"b": 1, "c": ["x", "z"]}, "d": 2}));
    }

    #[test]
    fn what_is_not_in_the_profile_is_refused_with_line_and_column() {
        refused("a: &x 1\n", 1, 4, "anchors");
        refused("a: 1\nb: *a\n", 2, 4, "aliases");
        refused("a: !!str 1\n", 1, 4, "tags");
        refused("a:\n  <<: {b: 1}\n", 2, 3, "merge");
        refused("a: |\n  text\n", 1, 4, "block scalars");
        refused("a: 1\nb: 2\na: 3\n", 3, 1, "twice");
        refused("a: {b: 1, b: 2}\n", 1, 11, "twice");
        refused("--- \na: 1\n", 1, 1, "document marks");
        refused("%YAML 1.1\na: 1\n", 1, 1, "directives");
        refused("a: yes\n", 1, 4, "differently");
        refused("a: 0o17\n", 1, 4, "looks like a number");
        refused("a: 2024-01-01\n", 1, 4, "looks like a number");
        refused("a:\nb: 1\n", 1, 3, "missing");
        refused("a: [1, 2\n", 2, 1, "missing");
        refused("a: b: c\n", 1, 4, "inside a text");
        refused("a: 1\n   b: 2\n", 2, 4, "too far");
        refused("a: \"x\n", 1, 4, "not closed");
        refused("true: 1\n", 1, 1, "key");
        refused("a:\t1\n", 1, 3, "control characters");
        refused("", 1, 1, "empty");
    }

    #[test]
    fn budgets_hold() {
        let deep = format!("a: {}1{}", "[".repeat(40), "]".repeat(40));
        assert!(read_strict_yaml(&deep).unwrap_err().message.contains("deeper"));
        let wide = format!("a: [{}1]", "1, ".repeat(3_000));
        assert!(read_strict_yaml(&wide).unwrap_err().message.contains("more than"));
        let long = format!("a: \"{}\"", "x".repeat(70_000));
        assert!(read_strict_yaml(&long).unwrap_err().message.contains("bytes"));
    }

    #[test]
    fn a_value_knows_its_line_and_column() {
        let marked = read_strict_yaml("a: 1\nsteps:\n  - id: x\n    with: {b: 2}\n").unwrap();
        assert_eq!(marked.position("/steps/0/with/b"), (4, 15));
        assert_eq!(marked.position("/steps/0/with/b/none"), (4, 15));
        assert_eq!(marked.position("/steps/0/with"), (4, 5));
    }
}
