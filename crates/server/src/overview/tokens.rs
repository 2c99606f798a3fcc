//! How many tokens a text costs at most, without a tokenizer.
//!
//! The summary promises to stay under a number of o200k tokens for any state. Carrying the real vocabulary would cost
//! eight megabytes, so this counts an upper bound instead: the text is cut where o200k cuts it first (words with one
//! sign before them, three digits, runs of signs), a piece that stands in `data/o200k-costs.txt` has its cost there,
//! and any other piece costs its bytes, which no tokenizer of bytes can exceed. Prose is counted a little too high,
//! hostile text at its worst case.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Pieces that are frequent in what bots and botops say, and what each costs in o200k; a test checks each cost.
///
/// In the file those of one token come first, after an empty line those of two, then those of three.
static COSTS: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    let sections = include_str!("data/o200k-costs.txt").split("\n\n").zip(1..);
    sections.flat_map(|(section, cost)| section.lines().map(move |word| (word, cost))).collect()
});

/// No text of these bytes has more o200k tokens than this.
pub(super) fn max_tokens(text: &str) -> usize {
    pieces(text).map(|piece| piece.cost).sum()
}

/// The text as far as it stays within `budget` tokens once it stands in JSON; a cut ends in `…`.
pub(super) fn clip(text: &str, budget: usize) -> String {
    let mut spent = 0;
    let mut end = 0;
    for piece in pieces(text) {
        let escapes = piece.text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
        // A whole long piece may not fit where its beginning does.
        let cost = piece.cost + escapes;
        if spent + cost > budget {
            let room = budget.saturating_sub(spent);
            let whole = piece.text.char_indices().map(|(at, c)| at + c.len_utf8());
            let kept = whole.take_while(|bytes| bytes + escapes <= room).last().unwrap_or(0);
            return format!("{}…", text.get(..end + kept).unwrap_or_default().trim_end());
        }
        spent += cost;
        end += piece.text.len();
    }
    text.to_owned()
}

/// A part of the text that is tokenized by itself, and what it costs at most.
struct TextPiece<'a> {
    text: &'a str,
    cost: usize,
}

fn pieces(text: &str) -> impl Iterator<Item = TextPiece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let length = piece_length(rest.as_bytes())?;
        // Pieces end between ASCII characters, or take all of what is not ASCII.
        let (text, tail) = rest.split_at_checked(length)?;
        rest = tail;
        Some(TextPiece { text, cost: cost(text) })
    })
}

/// Bytes of the first piece; none at the end of the text.
fn piece_length(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    if first.is_ascii_digit() {
        return Some(run(bytes, u8::is_ascii_digit).min(3));
    }
    if !first.is_ascii() {
        return Some(run(bytes, |byte| !byte.is_ascii()));
    }
    let letters = |from: usize| bytes.get(from..).map_or(0, word);
    if first.is_ascii_alphabetic() {
        return Some(letters(0));
    }
    match letters(1) {
        0 if first.is_ascii_punctuation() => Some(run(bytes, u8::is_ascii_punctuation)),
        0 => Some(1),
        word => Some(1 + word),
    }
}

/// Length of the word at the start: capitals, then small letters.
fn word(bytes: &[u8]) -> usize {
    let capitals = run(bytes, u8::is_ascii_uppercase);
    capitals + bytes.get(capitals..).map_or(0, |rest| run(rest, u8::is_ascii_lowercase))
}

fn run(bytes: &[u8], belongs: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| belongs(byte)).count()
}

fn cost(piece: &str) -> usize {
    let digits = piece.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if digits {
        return 1;
    }
    if let Some(cost) = COSTS.get(piece) {
        return *cost;
    }
    // A sign before a word at worst stays a token of its own.
    let bare = piece.strip_prefix(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric());
    bare.and_then(|word| COSTS.get(word)).map_or(piece.len(), |cost| cost + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn exact(text: &str) -> usize {
        tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len()
    }

    /// The list as it should be: every piece of it under its real cost. One of more than three tokens is left out.
    ///
    /// To add pieces, write them at the end of the file and run this test with `UPDATE_DOCUMENTS=1`.
    fn costs_file() -> String {
        let mut by_cost: [BTreeSet<&str>; 3] = Default::default();
        for piece in COSTS.keys() {
            if let Some(pieces) = exact(piece).checked_sub(1).and_then(|index| by_cost.get_mut(index)) {
                pieces.insert(piece);
            }
        }
        let sections = by_cost.map(|pieces| pieces.into_iter().collect::<Vec<_>>().join("\n"));
        format!("{}\n", sections.join("\n\n"))
    }

    #[test]
    fn every_listed_piece_costs_what_the_list_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/overview/data/o200k-costs.txt");
        let costs = costs_file();
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            std::fs::write(file, &costs).unwrap();
        }
        assert!(std::fs::read_to_string(file).unwrap() == costs, "run it with UPDATE_DOCUMENTS=1");
    }

    #[test]
    fn prose_comes_out_less_than_half_too_dear() {
        let text = "The order was refused because the buying power of the account does not cover it. Wait for a \
                    resting order to fill, or cancel one with `POST /api/v1/control/cancel-orders`, then try again.";
        let (bound, real) = (max_tokens(text), exact(text));
        assert!(bound >= real && bound < real * 3 / 2, "{bound} for {real}");
    }

    #[test]
    fn a_clipped_text_keeps_to_its_budget() {
        for text in
            ["a\"\"\"\"\"\"\"\"\"\"", "zqxjkvzqxjkvzqxjkv", "漢字漢字漢字", "plain words go on and on and on"]
        {
            let json = serde_json::to_string(&clip(text, 8)).unwrap();
            assert!(exact(&json) <= 8 + 5, "{json}");
        }
        assert_eq!(clip("short", 8), "short");
    }

    proptest! {
        #[test]
        fn no_text_costs_more_than_the_bound(text in prop_oneof![
            any::<String>(),
            "[ -~]{0,200}",
            "[a-z ]{0,200}",
            "[A-Za-z0-9_/+=]{0,200}",
            "[\\{\\}\\[\\]:,\"'. ]{0,200}",
            "[\\p{L}\\p{M}\\p{N}\\p{S}]{0,80}",
            "([\"_ (/.-]?[a-zA-Z]{1,6}[0-9\r\n\t ]?){0,40}",
        ]) {
            prop_assert!(max_tokens(&text) >= exact(&text), "{} < {}", max_tokens(&text), exact(&text));
        }
    }
}
