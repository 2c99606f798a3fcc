//! Text from outside: made harmless before it is kept or shown.
//!
//! Broker messages, log lines and error texts of a bot may carry terminal escapes, bidirectional overrides, or
//! megabytes. Everything that enters botops from a peer passes through [`clean`] once, where it enters.

use sha2::{Digest, Sha256};

/// The text without control, bidirectional and invisible characters, at most `max` characters; a cut ends in `…`.
pub fn clean(text: &str, max: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(max * 4));
    let mut count = 0;
    for c in text.chars() {
        let c = match c {
            '\n' | '\r' | '\t' => ' ',
            c if is_hidden(c) => continue,
            c => c,
        };
        if count == max {
            kept.pop();
            kept.push('…');
            break;
        }
        kept.push(c);
        count += 1;
    }
    kept
}

/// SHA-256 of these bytes, in lower-case hexadecimal digits.
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Controls, bidi marks and overrides, zero-width and other invisible characters, and private-use ones.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, max: usize, expected: &str) {
        assert_eq!(clean(text, max), expected);
    }

    #[test]
    fn escapes_and_overrides_are_dropped() {
        check("a\u{1b}[31mb\u{202e}c\u{200b}\0d", 99, "a[31mbcd");
    }

    #[test]
    fn lines_become_one() {
        check("one\r\ntwo\tthree", 99, "one  two three");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        check("abcdef", 4, "abc…");
        check("äöüß", 4, "äöüß");
        check("abc", 0, "…");
    }
}
