//! Changes that a text gives relative to what a field has now: which way a verb goes, and by what it multiplies.

use rust_decimal::Decimal;

use super::periods::read_number;
use crate::ask::word::AskWord;
use crate::ask::word_lists::WordList;

/// A factor that a text gives, and the places of its words.
pub(super) struct FoundFactors {
    /// More than one where the text does not say which way it goes.
    pub(super) factors: Vec<Decimal>,
    pub(super) places: Vec<usize>,
}

/// `true` where the text makes something larger, `false` where it makes it smaller: the first word that says so. "Loosen"
/// and "widen" are larger, for a stop as for a limit; "tighten" is smaller.
pub(super) fn direction(words: &[AskWord]) -> Option<bool> {
    words.iter().find_map(|word| direction_of(&word.lower))
}

fn direction_of(lower: &str) -> Option<bool> {
    if WordList::RaiseVerbs.contains(lower) || WordList::MoreWords.contains(lower) {
        return Some(true);
    }
    (WordList::LowerVerbs.contains(lower) || WordList::LessWords.contains(lower)).then_some(false)
}

/// "50 % wider", "5 more": the way that the word behind an amount goes. The words before it have a "no more than" in them.
pub(super) fn direction_behind(words: &[AskWord], at: usize) -> Option<bool> {
    let lower = &words.get(at)?.lower;
    if WordList::MoreWords.contains(lower) {
        return Some(true);
    }
    WordList::LessWords.contains(lower).then_some(false)
}

/// A factor: "double", "by half", "to a third", "half as wide", "by a factor of two", "a quarter more".
pub(super) fn find_factors(words: &[AskWord]) -> Option<FoundFactors> {
    (0..words.len()).find_map(|at| whole_factor(words, at).or_else(|| fraction_factor(words, at)))
}

fn lower(words: &[AskWord], at: usize) -> &str {
    words.get(at).map_or("", |word| word.lower.as_str())
}

fn before(words: &[AskWord], at: usize, back: usize) -> &str {
    at.checked_sub(back).map_or("", |at| lower(words, at))
}

/// "Double", "three times", "3x", "by a factor of 3".
fn whole_factor(words: &[AskWord], at: usize) -> Option<FoundFactors> {
    let text = |ahead: usize| lower(words, at + ahead);
    let (factor, length) = match text(0) {
        "double" | "twice" | "twofold" | "doubled" => (Decimal::TWO, 1),
        "triple" | "treble" | "thrice" | "threefold" => (Decimal::from(3), 1),
        "quadruple" | "fourfold" => (Decimal::from(4), 1),
        "halve" | "halved" => (Decimal::new(5, 1), 1),
        "factor" if text(1) == "of" => (number_of(text(2))?, 3),
        // "Three times a day" is how often.
        _ if text(1) == "times" && matches!(text(2), "a" | "an" | "per" | "each" | "every") => return None,
        word if matches!(text(1), "times" | "fold") => (number_of(word)?, 2),
        word => (number_of(word.strip_suffix('x')?)?, 1),
    };
    if factor <= Decimal::ZERO {
        return None;
    }
    let inverse = || Decimal::ONE.checked_div(factor);
    // "Lower it by a factor of two" is half of it; "raise it to double" says the same twice.
    let factor = match (text(0), direction(words)) {
        ("factor", Some(false)) => inverse()?,
        ("factor", None) => {
            return Some(FoundFactors {
                factors: vec![factor, inverse()?],
                places: (at..at + length).collect(),
            });
        }
        _ => factor,
    };
    Some(agreeing(words, factor, (at..at + length).collect()))
}

/// "Half", "a third", "two thirds", "a quarter more".
fn fraction_factor(words: &[AskWord], at: usize) -> Option<FoundFactors> {
    let (written, part) = match lower(words, at) {
        "half" => (None, 2),
        "third" | "thirds" => (None, 3),
        "quarter" | "quarters" => (None, 4),
        "fifth" | "fifths" => (None, 5),
        "tenth" | "tenths" => (None, 10),
        word => {
            let (count, part) = word.split_once('/')?;
            (Some(count.parse::<u32>().ok()?), part.parse::<u32>().ok()?)
        }
    };
    // "Half a percent" and "a quarter of an hour" are amounts.
    let is_amount = matches!(lower(words, at + 1), "a" | "an")
        || lower(words, at + 1) == "of" && matches!(lower(words, at + 2), "a" | "an");
    if is_amount {
        return None;
    }
    let counted = match before(words, at, 1) {
        _ if written.is_some() => None,
        "one" | "a" | "an" => Some(1),
        word => read_number(word).filter(|count| *count < part),
    };
    let first = if counted.is_some() { at.checked_sub(1)? } else { at };
    let fraction = Decimal::from(written.or(counted).unwrap_or(1)).checked_div(Decimal::from(part))?;
    if fraction <= Decimal::ZERO || fraction >= Decimal::ONE {
        return None;
    }
    let places: Vec<usize> = (first..=at).collect();
    let opener = before(words, first, 1);
    let more = |fraction: Decimal| Decimal::ONE.checked_add(fraction);
    let less = |fraction: Decimal| Decimal::ONE.checked_sub(fraction);
    // "Half again as much" is more than all of it.
    let behind = match lower(words, at + 1) {
        "again" => Some(true),
        _ => direction_behind(words, at + 1),
    };
    if let Some(is_more) = behind {
        let factor = if is_more { more(fraction)? } else { less(fraction)? };
        let places = places.into_iter().chain([at + 1]).collect();
        return Some(FoundFactors { factors: vec![factor], places });
    }
    let is_rest = matches!(opener, "to" | "in" | "into" | "at" | "only")
        || matches!(lower(words, at + 1), "as" | "of" | "the" | "that" | "what" | "our" | "my" | "its");
    if is_rest {
        return Some(agreeing(words, fraction, places));
    }
    match (direction(words), opener == "by" || before(words, first, 2) == "by") {
        (Some(true), _) => Some(FoundFactors { factors: vec![more(fraction)?], places }),
        (Some(false), _) => Some(FoundFactors { factors: vec![less(fraction)?], places }),
        (None, true) => Some(FoundFactors { factors: vec![more(fraction)?, less(fraction)?], places }),
        (None, false) => Some(FoundFactors { factors: vec![fraction], places }),
    }
}

/// A factor, with its inverse beside it where the verb goes the other way: "reduce it to double" is open.
fn agreeing(words: &[AskWord], factor: Decimal, places: Vec<usize>) -> FoundFactors {
    let is_more = factor > Decimal::ONE;
    let other = direction(words).filter(|wanted| *wanted != is_more && factor != Decimal::ONE);
    let inverse = other.and_then(|_| Decimal::ONE.checked_div(factor));
    FoundFactors { factors: std::iter::once(factor).chain(inverse).collect(), places }
}

fn number_of(word: &str) -> Option<Decimal> {
    match word.parse::<Decimal>() {
        Ok(number) => Some(number),
        Err(_) => read_number(word).filter(|_| !matches!(word, "a" | "an")).map(Decimal::from),
    }
}
