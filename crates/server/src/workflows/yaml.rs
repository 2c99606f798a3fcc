//! The strict profile of YAML in which workflows are written.
//!
//! A small reader of its own, since no library tells where each value stands: block and flow collections, plain and
//! quoted scalars on one line, comments. Refused by construction, with line and column: anchors, aliases, merge keys,
//! tags, directives, several documents, block scalars, tabs, duplicate keys, empty values, and every scalar that two
//! YAML readers might take differently (`yes`, `0o17`, `.inf`). A second reader then reads the same text; what the two
//! do not agree on is refused as well. Deliberately absent: writing YAML.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Number, Value};

/// Largest file: a workflow that needs more is several.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// Deepest nesting.
const MAX_DEPTH: usize = 12;
/// Most values in one file.
const MAX_NODES: usize = 2_000;

/// What is wrong with a text, and where. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// A document and where each of its values stands, by JSON pointer.
#[derive(Debug, Clone)]
pub(super) struct Marked {
    pub value: Value,
    marks: BTreeMap<String, (usize, usize)>,
}

impl Marked {
    /// A document without places: it does not come from a file.
    pub fn bare(value: Value) -> Self {
        Self { value, marks: BTreeMap::new() }
    }

    /// Where the value at `pointer` stands, or the nearest one around it.
    pub fn place(&self, pointer: &str) -> (usize, usize) {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.marks.get(pointer) {
                return *place;
            }
            match pointer.rsplit_once('/') {
                Some((parent, _)) => pointer = parent,
                None => return (1, 1),
            }
        }
    }

    /// A fault at `pointer`.
    pub fn fault(&self, pointer: &str, message: impl Into<String>) -> Fault {
        let (line, column) = self.place(pointer);
        Fault { line, column, message: message.into() }
    }
}

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Marked, Fault> {
    if text.len() > MAX_BYTES {
        return Err(Fault {
            line: 1,
            column: 1,
            message: format!("the file has {} bytes; {MAX_BYTES} are allowed", text.len()),
        });
    }
    let lines = text.lines().map(|line| line.chars().collect()).collect();
    let mut reader = Reader { lines, line: 0, column: 0, nodes: 0, marks: BTreeMap::new() };
    if !reader.next_content() {
        return Err(reader.fault("the file is empty"));
    }
    let value = reader.block("", 0)?;
    if reader.next_content() {
        return Err(reader.fault("this does not belong to the value above; check the indentation"));
    }
    let marked = Marked { value, marks: reader.marks };
    agree(text, &marked)?;
    Ok(marked)
}

/// The library's reader must see the same values.
fn agree(text: &str, marked: &Marked) -> Result<(), Fault> {
    let seen = serde_yaml::from_str::<serde_yaml::Value>(text)
        .and_then(|value| serde_json::to_value(value).map_err(serde::ser::Error::custom));
    match seen {
        Ok(seen) if seen == marked.value => Ok(()),
        Ok(_) => Err(marked.fault("", "the text can be read in two ways; quote the strings in it")),
        Err(error) => {
            let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
            Err(Fault { line, column, message: botops_core::text::clean(&error.to_string(), 200) })
        }
    }
}

struct Reader {
    lines: Vec<Vec<char>>,
    line: usize,
    column: usize,
    nodes: usize,
    marks: BTreeMap<String, (usize, usize)>,
}

impl Reader {
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { line: self.line + 1, column: self.column + 1, message: message.into() }
    }

    fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<char> {
        self.lines.get(self.line)?.get(self.column + ahead).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek() == Some(' ') {
            self.column += 1;
        }
    }

    /// At the end of the line, or at a comment.
    fn at_line_end(&self) -> bool {
        match self.peek() {
            None => true,
            Some('#') => {
                self.column == 0
                    || self.lines.get(self.line).and_then(|line| line.get(self.column - 1)) == Some(&' ')
            }
            Some(_) => false,
        }
    }

    /// Moves to the next character that is neither blank nor comment. False at the end of the text.
    fn next_content(&mut self) -> bool {
        while self.line < self.lines.len() {
            self.skip_blanks();
            if !self.at_line_end() {
                return true;
            }
            self.line += 1;
            self.column = 0;
        }
        false
    }

    /// Ends the line; anything left on it is a fault.
    fn end_line(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        if !self.at_line_end() {
            return Err(self.fault("something is left at the end of the line"));
        }
        self.line += 1;
        self.column = 0;
        Ok(())
    }

    fn enter(&mut self, pointer: &str, depth: usize) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.fault(format!("more than {MAX_NODES} values")));
        }
        if depth > MAX_DEPTH {
            return Err(self.fault(format!("nested deeper than {MAX_DEPTH}")));
        }
        self.marks.insert(pointer.to_owned(), (self.line + 1, self.column + 1));
        Ok(())
    }

    /// A value that begins at the cursor and may go on over lines; ends at the beginning of a line.
    fn block(&mut self, pointer: &str, depth: usize) -> Result<Value, Fault> {
        if self.column == 0 && (self.starts("---") || self.starts("...")) {
            return Err(self.fault("document marks are not taken: one file is one workflow"));
        }
        if self.is_dash() {
            self.enter(pointer, depth)?;
            return self.sequence(pointer, depth);
        }
        if self.is_key() {
            self.enter(pointer, depth)?;
            return self.mapping(pointer, depth);
        }
        let value = self.inline(pointer, depth, false)?;
        self.end_line()?;
        Ok(value)
    }

    fn starts(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek_at(ahead) == Some(c))
    }

    fn is_dash(&self) -> bool {
        self.peek() == Some('-') && matches!(self.peek_at(1), None | Some(' '))
    }

    /// Whether `key:` stands at the cursor.
    fn is_key(&self) -> bool {
        let Some(line) = self.lines.get(self.line) else { return false };
        let mut at = self.column;
        match line.get(at) {
            Some('"' | '\'') => {
                let quote = line.get(at).copied();
                at += 1;
                while line.get(at).is_some_and(|c| Some(*c) != quote) {
                    at += 1;
                }
                line.get(at + 1) == Some(&':') && matches!(line.get(at + 2), None | Some(' '))
            }
            Some('[' | '{') => false,
            _ => {
                while let Some(c) = line.get(at) {
                    if *c == ':' && matches!(line.get(at + 1), None | Some(' ')) {
                        return true;
                    }
                    if *c == '#' && line.get(at.wrapping_sub(1)) == Some(&' ') {
                        return false;
                    }
                    at += 1;
                }
                false
            }
        }
    }

    fn mapping(&mut self, pointer: &str, depth: usize) -> Result<Value, Fault> {
        let indent = self.column;
        let mut members = Map::new();
        loop {
            let at = (self.line + 1, self.column + 1);
            let key = self.key(false)?;
            let child = format!("{pointer}/{}", escape(&key));
            let value = self.value_of(&child, depth, indent, true)?;
            self.marks.insert(child, at);
            if members.insert(key.clone(), value).is_some() {
                return Err(Fault { line: at.0, column: at.1, message: format!("`{key}` stands twice") });
            }
            if !self.same_indent(indent)? {
                return Ok(Value::Object(members));
            }
            if !self.is_key() {
                return Err(self.fault("a `key: value` is expected here"));
            }
        }
    }

    fn sequence(&mut self, pointer: &str, depth: usize) -> Result<Value, Fault> {
        let indent = self.column;
        let mut items = Vec::new();
        loop {
            self.column += 1;
            let child = format!("{pointer}/{}", items.len());
            items.push(self.value_of(&child, depth, indent, false)?);
            if !self.same_indent(indent)? || !self.is_dash() {
                return Ok(Value::Array(items));
            }
        }
    }

    /// What follows `key:` or `-`, on the same line or on the next ones.
    fn value_of(&mut self, child: &str, depth: usize, indent: usize, of_key: bool) -> Result<Value, Fault> {
        self.skip_blanks();
        if !self.at_line_end() {
            if of_key {
                let value = self.inline(child, depth + 1, false)?;
                self.end_line()?;
                return Ok(value);
            }
            return self.block(child, depth + 1);
        }
        let missing = self.fault("a value is missing");
        self.line += 1;
        self.column = 0;
        if !self.next_content() {
            return Err(missing);
        }
        // A list may stand at the same indentation as its key.
        let deeper = self.column > indent || (of_key && self.column == indent && self.is_dash());
        if !deeper {
            return Err(missing);
        }
        self.block(child, depth + 1)
    }

    /// Whether the next line goes on with the collection at `indent`.
    fn same_indent(&mut self, indent: usize) -> Result<bool, Fault> {
        if !self.next_content() || self.column < indent {
            return Ok(false);
        }
        if self.column > indent {
            return Err(self.fault(format!("indented too far; {indent} blanks are expected")));
        }
        Ok(true)
    }

    fn key(&mut self, in_flow: bool) -> Result<String, Fault> {
        let fault = self.fault("a key must be a plain word or quoted");
        let Value::String(key) = self.scalar(in_flow, true)? else { return Err(fault) };
        if key == "<<" {
            return Err(Fault { message: "merge keys are not taken".to_owned(), ..fault });
        }
        if self.peek() != Some(':') {
            return Err(self.fault("`:` is expected after the key"));
        }
        self.column += 1;
        if !matches!(self.peek(), None | Some(' ')) {
            return Err(self.fault("a blank is expected after `:`"));
        }
        Ok(key)
    }

    /// A scalar or flow collection on this line.
    fn inline(&mut self, pointer: &str, depth: usize, in_flow: bool) -> Result<Value, Fault> {
        self.enter(pointer, depth)?;
        match self.peek() {
            Some('[') => self.flow_sequence(pointer, depth),
            Some('{') => self.flow_mapping(pointer, depth),
            _ => self.scalar(in_flow, false),
        }
    }

    fn flow_sequence(&mut self, pointer: &str, depth: usize) -> Result<Value, Fault> {
        self.column += 1;
        let mut items = Vec::new();
        loop {
            if self.flow_next(']')? {
                return Ok(Value::Array(items));
            }
            let child = format!("{pointer}/{}", items.len());
            items.push(self.inline(&child, depth + 1, true)?);
            self.flow_separator(']')?;
        }
    }

    fn flow_mapping(&mut self, pointer: &str, depth: usize) -> Result<Value, Fault> {
        self.column += 1;
        let mut members = Map::new();
        loop {
            if self.flow_next('}')? {
                return Ok(Value::Object(members));
            }
            let at = self.fault("");
            let key = self.key(true)?;
            if !self.next_content() {
                return Err(self.fault("`}` is missing"));
            }
            let child = format!("{pointer}/{}", escape(&key));
            let value = self.inline(&child, depth + 1, true)?;
            if members.insert(key.clone(), value).is_some() {
                return Err(Fault { message: format!("`{key}` stands twice"), ..at });
            }
            self.flow_separator('}')?;
        }
    }

    /// Moves to the next item; true when `end` stood there and was taken.
    fn flow_next(&mut self, end: char) -> Result<bool, Fault> {
        if !self.next_content() {
            return Err(self.fault(format!("`{end}` is missing")));
        }
        let ends = self.peek() == Some(end);
        if ends {
            self.column += 1;
        }
        Ok(ends)
    }

    fn flow_separator(&mut self, end: char) -> Result<(), Fault> {
        if !self.next_content() {
            return Err(self.fault(format!("`{end}` is missing")));
        }
        match self.peek() {
            Some(',') => self.column += 1,
            Some(c) if c == end => {}
            _ => return Err(self.fault(format!("`,` or `{end}` is expected"))),
        }
        Ok(())
    }

    fn scalar(&mut self, in_flow: bool, is_key: bool) -> Result<Value, Fault> {
        match self.peek() {
            Some('"') => self.double_quoted().map(Value::String),
            Some('\'') => self.single_quoted().map(Value::String),
            _ => self.plain(in_flow, is_key),
        }
    }

    fn plain(&mut self, in_flow: bool, is_key: bool) -> Result<Value, Fault> {
        let start = self.fault("");
        let refuse = |what: &str| Err(Fault { message: what.to_owned(), ..start.clone() });
        match self.peek() {
            Some('&') => return refuse("anchors are not taken"),
            Some('*') => return refuse("aliases are not taken"),
            Some('!') => return refuse("tags are not taken"),
            Some('|' | '>') => {
                return refuse("block scalars are not taken: write the text on one line in quotes");
            }
            Some('%') if self.column == 0 => return refuse("directives are not taken"),
            Some('%' | '@' | '`' | ',' | '[' | ']' | '{' | '}' | '\t' | '?') | None => {
                return refuse("quote this text");
            }
            Some('-' | ':') if matches!(self.peek_at(1), None | Some(' ')) => {
                return refuse("quote this text");
            }
            Some(_) => {}
        }
        let mut text = String::new();
        while let Some(c) = self.peek() {
            let ends = match c {
                ':' => {
                    matches!(self.peek_at(1), None | Some(' ')) || (in_flow && self.peek_at(1) == Some(','))
                }
                '#' => text.ends_with(' '),
                ',' | '[' | ']' | '{' | '}' => in_flow,
                _ => false,
            };
            if ends {
                break;
            }
            if c.is_control() {
                return Err(self.fault("control characters are not taken; indent with blanks"));
            }
            text.push(c);
            self.column += 1;
        }
        let text = text.trim_end();
        if !is_key && self.peek() == Some(':') {
            return refuse("`: ` inside a text: quote it");
        }
        resolve(text, is_key).map_err(|message| Fault { message, ..start })
    }

    fn single_quoted(&mut self) -> Result<String, Fault> {
        let start = self.fault("the quote is not closed on its line");
        self.column += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.column += 1;
            if c != '\'' {
                text.push(c);
            } else if self.peek() == Some('\'') {
                self.column += 1;
                text.push('\'');
            } else {
                return Ok(text);
            }
        }
        Err(start)
    }

    fn double_quoted(&mut self) -> Result<String, Fault> {
        let start = self.fault("the quote is not closed on its line");
        self.column += 1;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.column += 1;
            match c {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped()?),
                c => text.push(c),
            }
        }
        Err(start)
    }

    fn escaped(&mut self) -> Result<char, Fault> {
        let fault = self.fault("this escape is not taken; use \\\\ \\\" \\/ \\n \\t \\uXXXX");
        let c = self.peek();
        self.column += 1;
        let digits = match c {
            Some('\\' | '"' | '/') => return Ok(c.unwrap_or('\\')),
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('u') => 4,
            _ => return Err(fault),
        };
        let hex: String = (0..digits).filter_map(|ahead| self.peek_at(ahead)).collect();
        self.column += digits;
        let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
        code.and_then(char::from_u32).ok_or(fault)
    }
}

/// A plain scalar's value; what readers take differently is refused.
fn resolve(text: &str, is_key: bool) -> Result<Value, String> {
    match text {
        "null" => return Ok(Value::Null),
        "true" => return Ok(Value::Bool(true)),
        "false" => return Ok(Value::Bool(false)),
        "" => return Err("a value is missing".to_owned()),
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    let ambiguous =
        ["~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", "-.inf", ".nan"];
    // As a key, such as `on`, it can only be a text here.
    if !is_key && ambiguous.contains(&lower.as_str()) {
        return Err(format!(
            "`{text}` is read differently by different readers: quote it, or write true, false, null"
        ));
    }
    let looks_like_number =
        text.strip_prefix(['-', '+', '.']).unwrap_or(text).starts_with(|c: char| c.is_ascii_digit());
    if !looks_like_number {
        return Ok(Value::String(text.to_owned()));
    }
    // JSON's grammar of numbers, so that nothing is octal, hexadecimal, a date or a duration.
    if let Ok(number) = serde_json::from_str::<Number>(text) {
        return Ok(Value::Number(number));
    }
    Err(format!("`{text}` looks like a number: quote it"))
}

/// A member's name inside a JSON pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &Value) {
        match read(text) {
            Ok(marked) => assert_eq!(marked.value, *expected),
            Err(fault) => panic!("{fault}"),
        }
    }

    #[track_caller]
    fn refused(text: &str, line: usize, column: usize, words: &str) {
        let fault = read(text).map(|marked| marked.value).unwrap_err();
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
    fn what_is_not_in_the_profile_is_refused_with_its_place() {
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
        assert!(read(&deep).unwrap_err().message.contains("deeper"));
        let wide = format!("a: [{}1]", "1, ".repeat(3_000));
        assert!(read(&wide).unwrap_err().message.contains("more than"));
        let long = format!("a: \"{}\"", "x".repeat(70_000));
        assert!(read(&long).unwrap_err().message.contains("bytes"));
    }

    #[test]
    fn a_value_knows_its_place() {
        let marked = read("a: 1\nsteps:\n  - id: x\n    with: {b: 2}\n").unwrap();
        assert_eq!(marked.place("/steps/0/with/b"), (4, 15));
        assert_eq!(marked.place("/steps/0/with/b/none"), (4, 15));
        assert_eq!(marked.place("/steps/0/with"), (4, 5));
    }
}
