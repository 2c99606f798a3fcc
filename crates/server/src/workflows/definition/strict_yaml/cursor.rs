//! A position in the text of a file.

use crate::workflows::definition::marked_document::DefinitionFault;

/// A position in a text. Lines and columns count from 0 here, and from 1 in faults.
pub(super) struct TextCursor {
    lines: Vec<Vec<char>>,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl TextCursor {
    pub(super) fn new(text: &str) -> Self {
        Self { lines: text.lines().map(|line| line.chars().collect()).collect(), line: 0, column: 0 }
    }

    /// Line and column counted from 1, as faults show them.
    pub(super) fn line_and_column(&self) -> (usize, usize) {
        (self.line + 1, self.column + 1)
    }

    /// A fault at this position.
    pub(super) fn fault(&self, message: impl Into<String>) -> DefinitionFault {
        let (line, column) = self.line_and_column();
        DefinitionFault { line, column, message: message.into() }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<char> {
        self.lines.get(self.line)?.get(self.column + ahead).copied()
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.peek() == Some(' ') {
            self.column += 1;
        }
    }

    /// Whether the rest of the line is empty or a comment.
    pub(super) fn at_line_end(&self) -> bool {
        match self.peek() {
            None => true,
            Some('#') => {
                self.column == 0
                    || self.lines.get(self.line).and_then(|line| line.get(self.column - 1)) == Some(&' ')
            }
            Some(_) => false,
        }
    }

    /// Moves to the next character that is neither blank nor part of a comment; false at the end of the text.
    pub(super) fn next_content(&mut self) -> bool {
        while self.line < self.lines.len() {
            self.skip_blanks();
            if !self.at_line_end() {
                return true;
            }
            self.next_line();
        }
        false
    }

    /// Moves past the end of the line; anything left on it is a fault.
    pub(super) fn end_line(&mut self) -> Result<(), DefinitionFault> {
        self.skip_blanks();
        if !self.at_line_end() {
            return Err(self.fault("something is left at the end of the line"));
        }
        self.next_line();
        Ok(())
    }

    /// Moves to the beginning of the next line.
    pub(super) fn next_line(&mut self) {
        self.line += 1;
        self.column = 0;
    }

    /// Whether the line begins with a document marker (`---` or `...`).
    pub(super) fn at_document_mark(&self) -> bool {
        self.column == 0 && (self.starts_with("---") || self.starts_with("..."))
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek_at(ahead) == Some(c))
    }

    pub(super) fn at_dash(&self) -> bool {
        self.peek() == Some('-') && matches!(self.peek_at(1), None | Some(' '))
    }

    /// Whether `key:` comes next.
    pub(super) fn at_key(&self) -> bool {
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
}
