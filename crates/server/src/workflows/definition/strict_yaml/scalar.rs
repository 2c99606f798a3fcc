//! Scalars of strict YAML: plain, in single quotes and in double quotes, each on one line.

use serde_json::{Number, Value};

use super::cursor::TextCursor;
use crate::workflows::definition::marked_document::DefinitionFault;

/// Reads the scalar at the cursor, which must end on its line.
pub(super) fn read_scalar(
    cursor: &mut TextCursor,
    in_flow: bool,
    is_key: bool,
) -> Result<Value, DefinitionFault> {
    match cursor.peek() {
        Some('"') => read_double_quoted(cursor).map(Value::String),
        Some('\'') => read_single_quoted(cursor).map(Value::String),
        _ => read_plain(cursor, in_flow, is_key),
    }
}

fn read_plain(cursor: &mut TextCursor, in_flow: bool, is_key: bool) -> Result<Value, DefinitionFault> {
    let start = cursor.fault("");
    let refuse = |what: &str| Err(DefinitionFault { message: what.to_owned(), ..start.clone() });
    match cursor.peek() {
        Some('&') => return refuse("anchors are not taken"),
        Some('*') => return refuse("aliases are not taken"),
        Some('!') => return refuse("tags are not taken"),
        Some('|' | '>') => {
            return refuse("block scalars are not taken: write the text on one line in quotes");
        }
        Some('%') if cursor.column == 0 => return refuse("directives are not taken"),
        Some('%' | '@' | '`' | ',' | '[' | ']' | '{' | '}' | '\t' | '?') | None => {
            return refuse("quote this text");
        }
        Some('-' | ':') if matches!(cursor.peek_at(1), None | Some(' ')) => {
            return refuse("quote this text");
        }
        Some(_) => {}
    }
    let mut text = String::new();
    while let Some(c) = cursor.peek() {
        let ends = match c {
            ':' => {
                matches!(cursor.peek_at(1), None | Some(' ')) || (in_flow && cursor.peek_at(1) == Some(','))
            }
            '#' => text.ends_with(' '),
            ',' | '[' | ']' | '{' | '}' => in_flow,
            _ => false,
        };
        if ends {
            break;
        }
        if c.is_control() {
            return Err(cursor.fault("control characters are not taken; indent with blanks"));
        }
        text.push(c);
        cursor.column += 1;
    }
    let text = text.trim_end();
    if !is_key && cursor.peek() == Some(':') {
        return refuse("`: ` inside a text: quote it");
    }
    resolve_plain(text, is_key).map_err(|message| DefinitionFault { message, ..start })
}

fn read_single_quoted(cursor: &mut TextCursor) -> Result<String, DefinitionFault> {
    let start = cursor.fault("the quote is not closed on its line");
    cursor.column += 1;
    let mut text = String::new();
    while let Some(c) = cursor.peek() {
        cursor.column += 1;
        if c != '\'' {
            text.push(c);
        } else if cursor.peek() == Some('\'') {
            cursor.column += 1;
            text.push('\'');
        } else {
            return Ok(text);
        }
    }
    Err(start)
}

fn read_double_quoted(cursor: &mut TextCursor) -> Result<String, DefinitionFault> {
    let start = cursor.fault("the quote is not closed on its line");
    cursor.column += 1;
    let mut text = String::new();
    while let Some(c) = cursor.peek() {
        cursor.column += 1;
        match c {
            '"' => return Ok(text),
            '\\' => text.push(read_escape(cursor)?),
            c => text.push(c),
        }
    }
    Err(start)
}

fn read_escape(cursor: &mut TextCursor) -> Result<char, DefinitionFault> {
    let fault = cursor.fault("this escape is not taken; use \\\\ \\\" \\/ \\n \\t \\uXXXX");
    let c = cursor.peek();
    cursor.column += 1;
    let digits = match c {
        Some('\\' | '"' | '/') => return Ok(c.unwrap_or('\\')),
        Some('n') => return Ok('\n'),
        Some('t') => return Ok('\t'),
        Some('u') => 4,
        _ => return Err(fault),
    };
    let hex: String = (0..digits).filter_map(|ahead| cursor.peek_at(ahead)).collect();
    cursor.column += digits;
    let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
    code.and_then(char::from_u32).ok_or(fault)
}

/// The value of a plain scalar; a text that YAML readers interpret differently is a fault.
fn resolve_plain(text: &str, is_key: bool) -> Result<Value, String> {
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
    // As a key, such as `on`, it is always a text here.
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
    // Only JSON's grammar of numbers, so that no text is read as octal, hexadecimal, a date or a duration.
    if let Ok(number) = serde_json::from_str::<Number>(text) {
        return Ok(Value::Number(number));
    }
    Err(format!("`{text}` looks like a number: quote it"))
}
