//! Collections of strict YAML: block and flow, with line and column of every value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::cursor::TextCursor;
use super::scalar::read_scalar;
use crate::workflows::definition::marked_document::{DefinitionFault, MarkedDocument, escape_pointer};

/// How deep collections may be nested.
const MAX_DEPTH: usize = 12;
/// How many values one file may have.
const MAX_NODES: usize = 2_000;

/// Reads one document from beginning to end.
pub(super) struct StrictYamlReader {
    cursor: TextCursor,
    nodes: usize,
    marks: BTreeMap<String, (usize, usize)>,
}

impl StrictYamlReader {
    pub(super) fn new(text: &str) -> Self {
        Self { cursor: TextCursor::new(text), nodes: 0, marks: BTreeMap::new() }
    }

    /// Reads the whole text as one document.
    pub(super) fn read_document(mut self) -> Result<MarkedDocument, DefinitionFault> {
        if !self.cursor.next_content() {
            return Err(self.cursor.fault("the file is empty"));
        }
        let value = self.read_block("", 0)?;
        if self.cursor.next_content() {
            return Err(self.cursor.fault("this does not belong to the value above; check the indentation"));
        }
        Ok(MarkedDocument::new(value, self.marks))
    }

    fn mark_value(&mut self, pointer: &str, depth: usize) -> Result<(), DefinitionFault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.cursor.fault(format!("more than {MAX_NODES} values")));
        }
        if depth > MAX_DEPTH {
            return Err(self.cursor.fault(format!("nested deeper than {MAX_DEPTH}")));
        }
        self.marks.insert(pointer.to_owned(), self.cursor.line_and_column());
        Ok(())
    }

    /// Reads a value that may extend over several lines; ends at the beginning of a line.
    fn read_block(&mut self, pointer: &str, depth: usize) -> Result<Value, DefinitionFault> {
        if self.cursor.at_document_mark() {
            return Err(self.cursor.fault("document marks are not taken: one file is one workflow"));
        }
        if self.cursor.at_dash() {
            self.mark_value(pointer, depth)?;
            return self.read_sequence(pointer, depth);
        }
        if self.cursor.at_key() {
            self.mark_value(pointer, depth)?;
            return self.read_mapping(pointer, depth);
        }
        let value = self.read_inline(pointer, depth, false)?;
        self.cursor.end_line()?;
        Ok(value)
    }

    fn read_mapping(&mut self, pointer: &str, depth: usize) -> Result<Value, DefinitionFault> {
        let indent = self.cursor.column;
        let mut members = Map::new();
        loop {
            let at = self.cursor.line_and_column();
            let key = self.read_key(false)?;
            let child = format!("{pointer}/{}", escape_pointer(&key));
            let value = self.read_value_of(&child, depth, indent, true)?;
            self.marks.insert(child, at);
            if members.insert(key.clone(), value).is_some() {
                return Err(DefinitionFault {
                    line: at.0,
                    column: at.1,
                    message: format!("`{key}` stands twice"),
                });
            }
            if !self.goes_on_at(indent)? {
                return Ok(Value::Object(members));
            }
            if !self.cursor.at_key() {
                return Err(self.cursor.fault("a `key: value` is expected here"));
            }
        }
    }

    fn read_sequence(&mut self, pointer: &str, depth: usize) -> Result<Value, DefinitionFault> {
        let indent = self.cursor.column;
        let mut items = Vec::new();
        loop {
            self.cursor.column += 1;
            let child = format!("{pointer}/{}", items.len());
            items.push(self.read_value_of(&child, depth, indent, false)?);
            if !self.goes_on_at(indent)? || !self.cursor.at_dash() {
                return Ok(Value::Array(items));
            }
        }
    }

    /// Reads the value after `key:` or `-`, on the same line or on the next ones.
    fn read_value_of(
        &mut self,
        child: &str,
        depth: usize,
        indent: usize,
        of_key: bool,
    ) -> Result<Value, DefinitionFault> {
        self.cursor.skip_blanks();
        if !self.cursor.at_line_end() {
            if of_key {
                let value = self.read_inline(child, depth + 1, false)?;
                self.cursor.end_line()?;
                return Ok(value);
            }
            return self.read_block(child, depth + 1);
        }
        let missing = self.cursor.fault("a value is missing");
        self.cursor.next_line();
        if !self.cursor.next_content() {
            return Err(missing);
        }
        // In YAML, a list may have the same indentation as its key.
        let deeper =
            self.cursor.column > indent || (of_key && self.cursor.column == indent && self.cursor.at_dash());
        if !deeper {
            return Err(missing);
        }
        self.read_block(child, depth + 1)
    }

    /// Whether the next line belongs to the collection at `indent`.
    fn goes_on_at(&mut self, indent: usize) -> Result<bool, DefinitionFault> {
        if !self.cursor.next_content() || self.cursor.column < indent {
            return Ok(false);
        }
        if self.cursor.column > indent {
            return Err(self.cursor.fault(format!("indented too far; {indent} blanks are expected")));
        }
        Ok(true)
    }

    fn read_key(&mut self, in_flow: bool) -> Result<String, DefinitionFault> {
        let fault = self.cursor.fault("a key must be a plain word or quoted");
        let Value::String(key) = read_scalar(&mut self.cursor, in_flow, true)? else { return Err(fault) };
        if key == "<<" {
            return Err(DefinitionFault { message: "merge keys are not taken".to_owned(), ..fault });
        }
        if self.cursor.peek() != Some(':') {
            return Err(self.cursor.fault("`:` is expected after the key"));
        }
        self.cursor.column += 1;
        if !matches!(self.cursor.peek(), None | Some(' ')) {
            return Err(self.cursor.fault("a blank is expected after `:`"));
        }
        Ok(key)
    }

    /// Reads a scalar or a flow collection on this line.
    fn read_inline(&mut self, pointer: &str, depth: usize, in_flow: bool) -> Result<Value, DefinitionFault> {
        self.mark_value(pointer, depth)?;
        match self.cursor.peek() {
            Some('[') => self.read_flow_sequence(pointer, depth),
            Some('{') => self.read_flow_mapping(pointer, depth),
            _ => read_scalar(&mut self.cursor, in_flow, false),
        }
    }

    fn read_flow_sequence(&mut self, pointer: &str, depth: usize) -> Result<Value, DefinitionFault> {
        self.cursor.column += 1;
        let mut items = Vec::new();
        loop {
            if self.take_flow_end(']')? {
                return Ok(Value::Array(items));
            }
            let child = format!("{pointer}/{}", items.len());
            items.push(self.read_inline(&child, depth + 1, true)?);
            self.take_flow_separator(']')?;
        }
    }

    fn read_flow_mapping(&mut self, pointer: &str, depth: usize) -> Result<Value, DefinitionFault> {
        self.cursor.column += 1;
        let mut members = Map::new();
        loop {
            if self.take_flow_end('}')? {
                return Ok(Value::Object(members));
            }
            let at = self.cursor.fault("");
            let key = self.read_key(true)?;
            if !self.cursor.next_content() {
                return Err(self.cursor.fault("`}` is missing"));
            }
            let child = format!("{pointer}/{}", escape_pointer(&key));
            let value = self.read_inline(&child, depth + 1, true)?;
            if members.insert(key.clone(), value).is_some() {
                return Err(DefinitionFault { message: format!("`{key}` stands twice"), ..at });
            }
            self.take_flow_separator('}')?;
        }
    }

    /// Moves to the next item; true when `end` was next, which is then consumed.
    fn take_flow_end(&mut self, end: char) -> Result<bool, DefinitionFault> {
        if !self.cursor.next_content() {
            return Err(self.cursor.fault(format!("`{end}` is missing")));
        }
        let ends = self.cursor.peek() == Some(end);
        if ends {
            self.cursor.column += 1;
        }
        Ok(ends)
    }

    fn take_flow_separator(&mut self, end: char) -> Result<(), DefinitionFault> {
        if !self.cursor.next_content() {
            return Err(self.cursor.fault(format!("`{end}` is missing")));
        }
        match self.cursor.peek() {
            Some(',') => self.cursor.column += 1,
            Some(c) if c == end => {}
            _ => return Err(self.cursor.fault(format!("`,` or `{end}` is expected"))),
        }
        Ok(())
    }
}
