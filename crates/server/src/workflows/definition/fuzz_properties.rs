//! What must hold whatever a workflow file says: the fuzz target `workflow_files` and the replay of its seeds go by it.

use serde_json::Value;

use super::checked::CheckedWorkflow;
use super::marked_document::DefinitionFault;
use super::strict_yaml::read_strict_yaml;

/// Faults of one file that are shown.
const MOST_FAULTS: usize = 100;

/// Longest sentence of a fault, in characters.
const LONGEST_FAULT: usize = 500;

/// Reads a file.
pub fn check_workflow_file(text: &str) {
    if let Ok(marked) = read_strict_yaml(text) {
        let again = yaml_of(&marked.value);
        match read_strict_yaml(&again) {
            Ok(read) => assert_eq!(read.value, marked.value, "what was read and written reads differently"),
            // Escapes make a key longer than a key may be.
            Err(fault) => {
                assert!(again.len() > text.len(), "what was read cannot be read again: {fault}\n{again}");
            }
        }
    }
    match CheckedWorkflow::from_text(text) {
        Ok(workflow) => {
            check_faults(text, &workflow.warnings);
            let pinned = CheckedWorkflow::from_pinned(workflow.document.clone(), workflow.sha256.clone());
            let again = pinned.expect("what was checked once passes when a run goes on");
            assert_eq!(again.document, workflow.document);
            assert_eq!(again.default_params(), workflow.default_params());
            assert_eq!(again.pivot_index(), workflow.pivot_index());
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "it is refused, and nothing says why");
            check_faults(text, &faults);
        }
    }
}

/// Each fault lies in the file and is a bounded sentence without control characters.
fn check_faults(text: &str, faults: &[DefinitionFault]) {
    assert!(faults.len() <= MOST_FAULTS, "{} faults", faults.len());
    // YAML knows more line breaks than `str::lines`.
    let breaks = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    let lines = text.replace("\r\n", "\n").matches(breaks).count().saturating_add(1);
    for fault in faults {
        assert!(fault.line >= 1 && fault.column >= 1, "{fault}");
        assert!(fault.line <= lines.saturating_add(1), "{fault}: there are {lines} lines");
        let message = &fault.message;
        assert!(!message.is_empty());
        assert!(
            message.chars().count() <= LONGEST_FAULT,
            "a fault of {} characters",
            message.chars().count()
        );
        assert_eq!(*message, botops_core::text::clean(message, LONGEST_FAULT), "it is not clean");
    }
}

/// The value in the strict form, on one line.
fn yaml_of(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{}: {}", quoted(name), yaml_of(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(yaml_of).collect::<Vec<_>>().join(", ")),
        Value::String(text) => quoted(text),
        plain => plain.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Not all readers take these as they are.
            c if c.is_control()
                || ('\u{2028}'..='\u{2029}').contains(&c)
                || ('\u{fe00}'..='\u{ffff}').contains(&c) =>
            {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
