//! JSON as freqtrade takes it: with comments (`//` and `/* */`) and commas before a closing bracket.

use serde_json::Value;

/// Reads a config file's text.
///
/// # Errors
/// Line and column of what cannot be read; nothing of the text itself, since a config holds secrets.
pub(super) fn read_config_json(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(&strict_json(text)).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            _ => "it is not JSON",
        };
        format!("line {}, column {}: {what}", error.line(), error.column())
    })
}

/// The same text as strict JSON. Comments and commas too many become blanks, so that lines and columns stay.
fn strict_json(text: &str) -> String {
    let mut strict: Vec<char> = Vec::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    // Where the last comma is, while only blanks and comments have followed it.
    let mut comma = None;
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('"', _) => {
                comma = None;
                strict.push(c);
                copy_string(&mut rest, &mut strict);
            }
            ('/', Some('/')) => {
                strict.push(' ');
                while let Some(c) = rest.next_if(|c| *c != '\n') {
                    strict.push(blank(c));
                }
            }
            ('/', Some('*')) => {
                strict.push(' ');
                let mut before = ' ';
                for (index, c) in rest.by_ref().enumerate() {
                    strict.push(blank(c));
                    // The star that opens the comment does not close it.
                    if index > 1 && before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
            }
            (',', _) => {
                comma = Some(strict.len());
                strict.push(c);
            }
            ('}' | ']', _) => {
                if let Some(at) = comma.take() {
                    strict[at] = ' ';
                }
                strict.push(c);
            }
            (c, _) => {
                if !c.is_whitespace() {
                    comma = None;
                }
                strict.push(c);
            }
        }
    }
    strict.into_iter().collect()
}

fn blank(c: char) -> char {
    if c == '\n' { '\n' } else { ' ' }
}

/// Copies the rest of a string, its closing quote included.
fn copy_string(rest: &mut impl Iterator<Item = char>, strict: &mut Vec<char>) {
    let mut escaped = false;
    for c in rest {
        strict.push(c);
        if c == '"' && !escaped {
            return;
        }
        escaped = c == '\\' && !escaped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(read_config_json(text), Ok(expected));
    }

    #[test]
    fn comments_and_last_commas_are_left_out() {
        check("{\"a\": 1, // one\n \"b\": [1, 2,],\n}", json!({"a": 1, "b": [1, 2]}));
        check("/* all\n of it */ {\"a\": /**/ [/* , */],}", json!({"a": []}));
        check("{\"a\": [1, /* last, */ ] , // ,\n }", json!({"a": [1]}));
        check("{\"a\": /*/ still a comment */ 2}", json!({"a": 2}));
    }

    #[test]
    fn what_stands_in_a_string_stays() {
        check(r#"{"a": "http://x/*y*/,]", "b": "\"//\\"}"#, json!({"a": "http://x/*y*/,]", "b": "\"//\\"}));
    }

    #[test]
    fn a_fault_is_named_by_its_place_and_never_quoted() {
        let refused = read_config_json("{\n  \"password\": secret\n}").unwrap_err();
        assert_eq!(refused, "line 2, column 15: it is not JSON");
        assert!(read_config_json("{\"a\": [1,").unwrap_err().contains("too early"));
        assert!(read_config_json("{\"a\": 1,, }").is_err());
    }
}
