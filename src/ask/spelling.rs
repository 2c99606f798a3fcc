//! Splits a text into pieces and reduces words to their stems; knows nothing of their meaning.

use std::borrow::Cow;
use std::ops::Range;

/// Contractions and common misspellings, with their full forms.
const CONTRACTIONS: &[(&str, &str)] = &[
    ("can't", "can not"),
    ("won't", "will not"),
    ("n't", " not"),
    ("what's", "what is"),
    ("what're", "what are"),
    ("how's", "how is"),
    ("where's", "where is"),
    ("who's", "who is"),
    ("how'd", "how did"),
    ("why'd", "why did"),
    ("what'd", "what did"),
    ("who'd", "who did"),
    ("when'd", "when did"),
    ("where'd", "where did"),
    ("what'll", "what will"),
    ("i've", "i have"),
    ("how're", "how are"),
    ("gonna", "going to"),
    ("wanna", "want to"),
    ("lemme", "let me"),
    ("howd", "how did"),
    ("whens", "when is"),
    ("wheres", "where is"),
    ("whos", "who is"),
    ("it's", "it is"),
    ("let's", "let us"),
    ("i'm", "i am"),
    ("we're", "we are"),
    ("that's", "that is"),
    ("there's", "there is"),
    ("why's", "why is"),
    ("we've", "we have"),
    ("'s", " "),
    ("cannot", "can not"),
    ("isnt", "is not"),
    ("didnt", "did not"),
    ("doesnt", "does not"),
    ("wasnt", "was not"),
    ("arent", "are not"),
    ("dont", "do not"),
    ("hasnt", "has not"),
    ("whats", "what is"),
    ("hows", "how is"),
    ("tl;dr", "tldr"),
    ("2day", "today"),
    ("todays", "today"),
    ("yesterdays", "yesterday"),
];

/// Splits a text into words and other pieces, as they are written.
pub(super) fn split_pieces(text: &str) -> Vec<String> {
    let mut text = text.replace(['\u{2018}', '\u{2019}', '`'], "'").replace('\u{2212}', "-");
    for (short, long) in CONTRACTIONS {
        text = replace_caseless(&text, short, long);
    }
    let mut pieces = Vec::new();
    for part in text.split(|c: char| {
        c.is_whitespace() || matches!(c, '?' | '!' | ';' | '(' | ')' | '"' | '[' | ']' | '{' | '}')
    }) {
        let part = part.trim_matches(|c: char| matches!(c, ',' | '.' | ':' | '\'' | '…'));
        // A dash between words is no part of them; before a digit it is the sign of a number.
        let is_negative =
            part.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let part = part.trim_end_matches('-');
        let part = if is_negative { part } else { part.trim_start_matches('-') };
        let part = without_thousands(part);
        for piece in part.split(',') {
            let piece = piece.trim_matches(|c: char| matches!(c, '.' | ':' | '\''));
            if !piece.is_empty() {
                pieces.push(piece.to_owned());
            }
        }
    }
    spoken_numbers(&pieces)
}

const UNITS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const TEENS: [&str; 10] = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// The number that one word up to twenty names, in small letters.
pub(super) fn small_number(word: &str) -> Option<usize> {
    let place = |names: &[&str]| names.iter().position(|name| *name == word);
    place(&UNITS).or_else(|| place(&TEENS).map(|teen| teen + 10)).or((word == "twenty").then_some(20))
}

/// Numbers as they are spoken, in digits: `22` for "twenty two", `207` for "two oh seven", `8:30` for "half past eight",
/// `BRK_002` for "b r k underscore zero zero two".
fn spoken_numbers(pieces: &[String]) -> Vec<String> {
    let lower: Vec<String> = pieces.iter().map(|piece| piece.to_lowercase()).collect();
    let word = |at: usize| lower.get(at).map_or("", String::as_str);
    let place = |names: &[&str], at: usize| names.iter().position(|name| *name == word(at));
    let digit = |at: usize| place(&UNITS, at).or((word(at) == "oh").then_some(0));
    let mut found: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        let digits: Vec<usize> = (at..lower.len()).map_while(digit).collect();
        if word(at) == "underscore" && digit(at + 1).is_some() {
            let letters: Vec<String> = take_letters(&mut found);
            let number: String =
                (at + 1..lower.len()).map_while(digit).map(|digit| digit.to_string()).collect();
            at += 1 + number.len();
            found.push(format!("{}_{number}", letters.concat()));
            continue;
        }
        // "One point five".
        let whole = place(&UNITS, at)
            .map(|unit| unit.to_string())
            .or_else(|| word(at).parse::<u32>().ok().map(|number| number.to_string()));
        let behind: String =
            (at + 2..lower.len()).map_while(|at| place(&UNITS, at)).map(|unit| unit.to_string()).collect();
        if let Some(whole) = whole.filter(|_| word(at + 1) == "point" && !behind.is_empty()) {
            at += 2 + behind.len();
            found.push(format!("{whole}.{behind}"));
            continue;
        }
        // "Two three" is no number, but "two oh seven" is.
        if digits.len() >= 3 && place(&UNITS, at).is_some() {
            found.push(digits.iter().map(usize::to_string).collect());
            at += digits.len();
            continue;
        }
        // "Version eleven", "run three".
        let is_named = at > 0
            && matches!(word(at - 1), "version" | "revision" | "run" | "alert" | "incident" | "config");
        let small = small_number(word(at));
        if let Some(number) =
            small.filter(|number| is_named && *number > 0 && place(&UNITS, at + 1).is_none())
        {
            found.push(number.to_string());
            at += 1;
            continue;
        }
        if let (Some(tens), Some(unit)) = (place(&TENS, at), place(&UNITS, at + 1).filter(|unit| *unit > 0)) {
            found.push(((tens + 2) * 10 + unit).to_string());
            at += 2;
            continue;
        }
        let minutes = match (word(at), word(at + 1)) {
            ("half", "past") => Some((30, false)),
            ("quarter", "past") => Some((15, false)),
            ("quarter", "to") => Some((45, true)),
            _ => None,
        };
        let hour = place(&UNITS, at + 2).or_else(|| match word(at + 2) {
            "ten" => Some(10),
            "eleven" => Some(11),
            "twelve" => Some(12),
            word => word.parse::<usize>().ok().filter(|hour| *hour < 24),
        });
        if let (Some((minutes, is_before)), Some(hour)) = (minutes, hour) {
            let hour = if is_before { (hour + 23) % 24 } else { hour };
            found.push(format!("{hour:02}:{minutes}"));
            at += 3;
            continue;
        }
        found.push(piece.clone());
        at += 1;
    }
    found
}

/// The single letters at the end of the pieces, or the one word there.
fn take_letters(pieces: &mut Vec<String>) -> Vec<String> {
    let singles = pieces.iter().rev().take_while(|piece| piece.len() == 1).count().max(1).min(pieces.len());
    pieces.split_off(pieces.len() - singles)
}

/// A number without the commas between its thousands: `5000` for `5,000`.
fn without_thousands(part: &str) -> Cow<'_, str> {
    let digits = part.trim_start_matches(['$', '-', '+']);
    let mut groups = digits.split(',');
    let is_group = |group: &str| group.len() == 3 && group.chars().all(|c| c.is_ascii_digit());
    let opens = groups
        .next()
        .is_some_and(|first| (1..=3).contains(&first.len()) && first.chars().all(|c| c.is_ascii_digit()));
    let groups: Vec<&str> = groups.collect();
    let is_number = opens && !groups.is_empty() && groups.iter().all(|group| is_group(group));
    if is_number { Cow::Owned(part.replace(',', "")) } else { Cow::Borrowed(part) }
}

/// Splits a text, with a piece of its own for each of these places: it is no word.
pub(super) fn split_pieces_around(
    text: &str,
    places: impl Iterator<Item = (Range<usize>, String)>,
) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for (place, piece) in places {
        pieces.extend(split_pieces(text.get(from..place.start).unwrap_or_default()));
        pieces.push(piece);
        from = place.end;
    }
    pieces.extend(split_pieces(text.get(from..).unwrap_or_default()));
    pieces
}

fn replace_caseless(text: &str, from: &str, to: &str) -> String {
    // Lower-casing ASCII alone changes no lengths, so byte offsets agree with `text`.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower.get(at..).and_then(|rest| rest.find(from)) {
        let start = at + found;
        let end = start + from.len();
        let whole_word =
            from.starts_with('\'') || from.starts_with("n't") || is_whole_word(&lower, start, end);
        out.push_str(text.get(at..start).unwrap_or_default());
        out.push_str(if whole_word { to } else { text.get(start..end).unwrap_or_default() });
        at = end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

fn is_whole_word(text: &str, start: usize, end: usize) -> bool {
    let before = text.get(..start).and_then(|head| head.chars().next_back());
    let after = text.get(end..).and_then(|tail| tail.chars().next());
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

/// A word without its ending. A crude rule is enough, since the vocabulary goes through the same function.
pub(super) fn stem(word: &str) -> String {
    let mut stem = word.to_owned();
    if let Some(rest) = stem.strip_suffix("ies").filter(|rest| rest.len() >= 3) {
        stem = format!("{rest}y");
    } else if !["ss", "us", "is"].iter().any(|ending| stem.ends_with(ending))
        && let Some(rest) = stem.strip_suffix('s').filter(|rest| rest.len() >= 3)
    {
        stem = rest.to_owned();
    }
    for ending in ["ing", "ed"] {
        if let Some(rest) = stem.strip_suffix(ending).filter(|rest| rest.len() >= 4) {
            let mut rest = rest.to_owned();
            let doubled = rest.chars().rev().take(2).collect::<Vec<_>>();
            if let [a, b] = doubled.as_slice()
                && a == b
                && !matches!(a, 'l' | 's' | 'e' | 'o')
            {
                rest.pop();
            }
            stem = rest;
            break;
        }
    }
    if stem.len() >= 4
        && let Some(rest) = stem.strip_suffix('e')
    {
        stem = rest.to_owned();
    }
    stem
}

/// Whether two stems are the same word; one typing error is tolerated from five letters on.
pub(super) fn is_same_word(given: &str, wanted: &str) -> bool {
    given == wanted || (wanted.len() >= 5 && given.len() >= 5 && strsim::osa_distance(given, wanted) <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contractions_are_taken_apart() {
        assert_eq!(split_pieces("one point five percent"), ["1.5", "percent"]);
        assert_eq!(split_pieces("run two oh seven"), ["run", "207"]);
        assert_eq!(split_pieces("version twenty two, or eleven"), ["version", "22", "or", "eleven"]);
        assert_eq!(split_pieces("b r k underscore zero zero two"), ["brk_002"]);
        assert_eq!(split_pieces("half past eight"), ["08:30"]);
        assert_eq!(
            split_pieces("What's wrong, why isn't it?"),
            ["what", "is", "wrong", "why", "is", "not", "it"]
        );
    }
}
