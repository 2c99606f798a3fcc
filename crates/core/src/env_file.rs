//! Files of `NAME=value` lines, such as `.env`, read literally.
//!
//! A value is taken literally: no variable is filled in, nothing is cut at a `$`. `export`, a byte order mark, line
//! ends of Windows, whole-line comments and quotes around a value are understood. Between double quotes the escapes
//! `\"`, `\\`, `\$` and `` \` `` are understood and no others; a value cannot span lines. What different programs
//! would read differently is refused rather than guessed at, and a refusal names the line without quoting it, since
//! most lines hold a secret.

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// The line's number, counted from 1.
    pub line: usize,
    /// The name before the `=`, when there is one. It may be a secret in the wrong place, so only an expected name may
    /// be shown.
    pub name: Option<String>,
    /// What is wrong; quotes nothing of the line.
    pub problem: &'static str,
}

impl LineError {
    /// What is wrong, with the line's number, and with its name when that begins with `expected`.
    pub fn said(&self, expected: &str) -> String {
        let name = self.name.as_deref().filter(|name| name.starts_with(expected));
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        format!("line {}{name}: {}", self.line, self.problem)
    }
}

/// Names and values in the order of the file; a name may come twice.
///
/// # Errors
/// Every line that cannot be used.
pub fn parse(file: &[u8]) -> Result<Vec<(String, String)>, Vec<LineError>> {
    if file.starts_with(&[0xff, 0xfe]) || file.starts_with(&[0xfe, 0xff]) {
        let problem = "the file is UTF-16; save it as UTF-8";
        return Err(vec![LineError { line: 1, name: None, problem }]);
    }
    let file = file.strip_prefix("\u{feff}".as_bytes()).unwrap_or(file);
    let (mut pairs, mut wrong) = (Vec::new(), Vec::new());
    for (index, line) in file.split(|byte| *byte == b'\n').enumerate() {
        match pair(line.strip_suffix(b"\r").unwrap_or(line)) {
            Ok(found) => pairs.extend(found),
            Err((name, problem)) => wrong.push(LineError { line: index + 1, name, problem }),
        }
    }
    if wrong.is_empty() { Ok(pairs) } else { Err(wrong) }
}

type Unusable = (Option<String>, &'static str);

fn pair(line: &[u8]) -> Result<Option<(String, String)>, Unusable> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let mut halves = line.splitn(2, |byte| *byte == b'=');
    let (Some(name), Some(given)) = (halves.next(), halves.next()) else {
        return Err((None, "it is not NAME=value"));
    };
    let name = name.trim_ascii();
    let exported =
        name.strip_prefix(b"export").filter(|rest| rest.starts_with(b" ") || rest.starts_with(b"\t"));
    let name = exported.unwrap_or(name).trim_ascii();
    if !is_name(name) {
        return Err((None, "what stands before the `=` is no name"));
    }
    let name = String::from_utf8_lossy(name).into_owned();
    match std::str::from_utf8(given).map_err(|_| "it is not UTF-8 text").and_then(value) {
        Ok(value) => Ok(Some((name, value))),
        Err(problem) => Err((Some(name), problem)),
    }
}

fn is_name(name: &[u8]) -> bool {
    let begins = name.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_');
    begins && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn value(given: &str) -> Result<String, &'static str> {
    const BLANKS: [char; 2] = [' ', '\t'];
    let text = given.trim_matches(BLANKS);
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err("there is a control character in the value");
    }
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        // A shell ends the value at such a `#`, systemd does not.
        let is_noted = text.contains(" #") || text.contains("\t#");
        if is_noted || (text.starts_with('#') && given.starts_with(BLANKS)) {
            return Err(
                "a `#` behind a blank can be part of the value or begin a note: put the value into quotes, \
                        or the note on a line of its own",
            );
        }
        return Ok(text.to_owned());
    };
    let mut chars = text.chars();
    chars.next();
    let mut value = String::new();
    loop {
        match chars.next() {
            None => return Err("the quote is not closed on its line"),
            Some(c) if c == quote => break,
            Some('\\') if quote == '"' => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                _ => {
                    return Err(
                        "after a `\\` between double quotes comes \", \\, $ or `; single quotes take all as it is",
                    );
                }
            },
            Some(c) => value.push(c),
        }
    }
    let rest = chars.as_str();
    let noted = rest.starts_with(BLANKS) && rest.trim_matches(BLANKS).starts_with('#');
    if rest.is_empty() || noted { Ok(value) } else { Err("something stands behind the closing quote") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(line: &str, expected: &str) {
        let pairs = parse(line.as_bytes()).unwrap();
        assert_eq!(pairs, [("A".to_owned(), expected.to_owned())], "{line}");
    }

    #[track_caller]
    fn refuses(file: &[u8], expected: &[usize]) {
        let wrong = parse(file).unwrap_err();
        assert_eq!(wrong.iter().map(|error| error.line).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_value_is_what_stands_there() {
        reads("A=", "");
        reads("A=b", "b");
        reads("A = two words ", "two words");
        reads("export\tA=b", "b");
        reads("A=a$b${C}$(d)`e`\\n\\", "a$b${C}$(d)`e`\\n\\");
        reads("A=b#c", "b#c");
        reads("A=#b", "#b");
        reads("A=b=c==", "b=c==");
        reads("A=it's \"so\"", "it's \"so\"");
        reads("A=[\"a\", \"b\"]", "[\"a\", \"b\"]");
        reads("A='a\\n$b \"c\" # d'", "a\\n$b \"c\" # d");
        reads("A=\"a $b \\\"c\\\" \\\\ \\$ \\` # d\"", "a $b \"c\" \\ $ ` # d");
        reads("A='' # none", "");
        reads("\u{feff}A=b\r\n", "b");
        reads("# caf\u{e9}\n\n  # note\nA=b", "b");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_by_its_line() {
        refuses(b"A=b\nc\nB=c # d\n=e\nF G=h\n", &[2, 3, 4, 5]);
        refuses(b"A='b\nA=\"b\nA='b'c\nA=\"b\\n\"\nA=b\0\nA=b\rc\nA= # b\n", &[1, 2, 3, 4, 5, 6, 7]);
        refuses(b"A=\xff\n\xff=b\n", &[1, 2]);
        refuses(&[0xff, 0xfe, b'A', 0, b'=', 0], &[1]);
        assert_eq!(parse(b"# \xe9\nA=b").unwrap().len(), 1, "a note may be in any encoding");
    }

    #[test]
    fn only_an_expected_name_is_told() {
        let wrong = parse(b"BOT_A='b\nQUJD='b").unwrap_err();
        assert!(wrong[0].said("BOT_").starts_with("line 1 (BOT_A): "));
        assert!(wrong[1].said("BOT_").starts_with("line 2: "));
    }
}
