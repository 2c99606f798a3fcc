//! A document with the line and column of each value, and faults at such a position.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A fault in a text and its position. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefinitionFault {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl fmt::Display for DefinitionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// A fault or doubt in a workflow file, for its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WorkflowFinding {
    /// `error` when the file cannot be used, `warning` when it can.
    #[schema(example = "warning")]
    pub severity: &'static str,
    /// The file's name, without its folder.
    pub file: String,
    /// Line of the fault, from 1.
    pub line: usize,
    /// Column of the fault, from 1.
    pub column: usize,
    /// What is wrong, and what is allowed instead.
    pub message: String,
}

/// A document with line and column of each value, by JSON pointer.
#[derive(Debug, Clone)]
pub(crate) struct MarkedDocument {
    pub(crate) value: Value,
    marks: BTreeMap<String, (usize, usize)>,
}

impl MarkedDocument {
    /// A document with the positions of its values.
    pub(crate) fn new(value: Value, marks: BTreeMap<String, (usize, usize)>) -> Self {
        Self { value, marks }
    }

    /// A document without positions: it does not come from a file.
    pub(crate) fn without_positions(value: Value) -> Self {
        Self { value, marks: BTreeMap::new() }
    }

    /// Line and column of the value at `pointer`, or of the nearest one around it.
    pub(crate) fn position(&self, pointer: &str) -> (usize, usize) {
        let mut pointer = pointer;
        loop {
            if let Some(position) = self.marks.get(pointer) {
                return *position;
            }
            match pointer.rsplit_once('/') {
                Some((parent, _)) => pointer = parent,
                None => return (1, 1),
            }
        }
    }

    /// A fault at `pointer`.
    pub(crate) fn fault_at(&self, pointer: &str, message: impl Into<String>) -> DefinitionFault {
        let (line, column) = self.position(pointer);
        DefinitionFault { line, column, message: message.into() }
    }
}

/// A member's name inside a JSON pointer.
pub(crate) fn escape_pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
