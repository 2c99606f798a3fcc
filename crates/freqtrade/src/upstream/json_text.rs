//! JSON as Python writes it: `NaN` and `Infinity` stand bare in it, which no other reader takes.

use std::borrow::Cow;

/// Bare words that are no JSON; each becomes `null`, since none is a number that somebody could act on.
const NO_NUMBERS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];

/// The text with every bare `NaN`, `Infinity` and `-Infinity` as `null`; texts within quotes stay as they are.
pub(crate) fn without_bare_words(json: &[u8]) -> Cow<'_, [u8]> {
    let mut kept: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut index = 0;
    let mut in_text = false;
    while let Some(byte) = json.get(index) {
        match byte {
            b'\\' if in_text => index += 1,
            b'"' => in_text = !in_text,
            b'N' | b'I' | b'-' if !in_text => {
                let rest = json.get(index..).unwrap_or_default();
                if let Some(word) = NO_NUMBERS.iter().find(|word| rest.starts_with(word)) {
                    let kept = kept.get_or_insert_default();
                    kept.extend_from_slice(json.get(copied..index).unwrap_or_default());
                    kept.extend_from_slice(b"null");
                    index += word.len();
                    copied = index;
                    continue;
                }
            }
            _ => {}
        }
        index += 1;
    }
    match kept {
        None => Cow::Borrowed(json),
        Some(mut kept) => {
            kept.extend_from_slice(json.get(copied..).unwrap_or_default());
            Cow::Owned(kept)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        assert_eq!(std::str::from_utf8(&without_bare_words(json.as_bytes())).unwrap(), expected);
    }

    #[test]
    fn bare_words_become_null_and_texts_stay() {
        check(r#"{"a":NaN,"b":-Infinity,"c":[Infinity,1]}"#, r#"{"a":null,"b":null,"c":[null,1]}"#);
        check(r#"{"a":"NaN \" Infinity","b":-1}"#, r#"{"a":"NaN \" Infinity","b":-1}"#);
        check(r#"{"a":"\\","b":NaN}"#, r#"{"a":"\\","b":null}"#);
        check("", "");
    }
}
