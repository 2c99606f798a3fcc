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

/// Most characters of a symbol.
pub const SYMBOL_MAX: usize = 64;

/// Whether a text can be the symbol of an instrument: `SPY`, `BTC/USDT:USDT-261225`, `^GSPC`, `AAPL  251219C00150000`.
///
/// Any text of 1 to 64 characters, of whatever script, that nothing is taken from when it is made harmless; without a
/// space at either end.
pub fn is_symbol(text: &str) -> bool {
    (1..=SYMBOL_MAX).contains(&text.chars().count()) && text.trim() == text && !text.chars().any(is_hidden)
}

/// The text percent-encoded, so that it cannot leave its path segment or query value.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b',') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What [`percent_encode`] made of a text; `None` for a text that no encoding gives.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
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
    fn a_symbol_is_any_text_that_stays_whole() {
        let longest = "é".repeat(64);
        for symbol in [
            "SPY",
            "BTC/USDT:USDT-261225",
            "ES=F",
            "^GSPC",
            "AAPL  251219C00150000",
            "7203.T",
            "株式",
            &longest,
        ] {
            assert!(is_symbol(symbol), "{symbol}");
            assert_eq!(clean(symbol, SYMBOL_MAX), symbol);
        }
        let too_long = "é".repeat(65);
        for text in [
            "",
            " ",
            " SPY",
            "SPY ",
            "S\nY",
            "S\tY",
            "S\u{2028}Y",
            "S\u{202e}Y",
            "S\0",
            "\u{a0}SPY",
            &too_long,
        ] {
            assert!(!is_symbol(text), "{text:?}");
        }
    }

    #[test]
    fn an_encoded_text_stays_in_its_place() {
        assert_eq!(percent_encode("BTC/USDT:A&b=é "), "BTC%2FUSDT%3AA%26b%3D%C3%A9%20");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        check("abcdef", 4, "abc…");
        check("äöüß", 4, "äöüß");
        check("abc", 0, "…");
    }
}
