//! Symbols of instruments.

use std::cmp::Reverse;
use std::ops::Range;

use super::values::SlotValues;
use crate::ask::concept::WordConcept;
use crate::ask::context::AskContext;
use crate::ask::vocabulary::is_common_word;
use crate::ask::word::{AskWord, SlotKind, mark_slot};
use crate::ask::word_lists::WordList;
use botops_core::text::is_symbol;

/// Signs that no word has and many symbols do: `BTC/USDT:USDT`, `ES=F`, `^GSPC`.
const SIGNS: [char; 4] = ['/', ':', '=', '^'];

/// A symbol that the text names in a form that no word has, with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedSymbol {
    pub(crate) place: Range<usize>,
    /// As the bot writes it, where the bot has it.
    pub(crate) symbol: String,
}

/// Finds known symbols that are more than a word of letters, and quoted ones, before the text is split into words.
///
/// The longest counts, and only as a whole: a part of a longer text may be another instrument.
pub(crate) fn find_named_symbols(text: &str, context: &AskContext) -> Vec<NamedSymbol> {
    let mut known: Vec<&String> =
        context.symbols.iter().filter(|symbol| !symbol.is_empty() && !is_word(symbol)).collect();
    known.sort_by_key(|symbol| Reverse(symbol.len()));
    let mut named = Vec::new();
    let mut from = 0;
    while let Some(rest) = text.get(from..).filter(|rest| !rest.is_empty()) {
        let opens = begins_here(text.get(..from).unwrap_or_default());
        let found = opens.then(|| known_at(rest, &known)).flatten().or_else(|| quoted_at(text, from));
        match found.filter(|(length, _)| *length > 0) {
            Some((length, symbol)) => {
                named.push(NamedSymbol { place: from..from + length, symbol });
                from += length;
            }
            None => from += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    named
}

/// Marks the words that [`find_named_symbols`] found.
pub(super) fn read_named_symbols(words: &mut [AskWord], named: &[NamedSymbol], slots: &mut SlotValues) {
    for at in 0..words.len() {
        let found = named.iter().find(|named| words.get(at).is_some_and(|word| word.raw == named.symbol));
        if let Some(found) = found {
            slots.symbols.push(found.symbol.clone());
            mark_slot(words, at, SlotKind::Symbol);
        }
    }
}

pub(super) fn read_symbols(words: &mut [AskWord], context: &AskContext, slots: &mut SlotValues) {
    for at in 0..words.len() {
        let Some(word) = words.get(at) else { continue };
        if word.slot.is_some() || word.raw.contains(' ') {
            continue;
        }
        let bare = word.raw.trim_start_matches('$').trim_end_matches("'s");
        let is_after_hint =
            at > 0 && words.get(at - 1).is_some_and(|word| WordList::BeforeSymbol.contains(&word.lower));
        let is_about_trading = words.iter().any(|word| {
            word.is(WordConcept::Position)
                || word.is(WordConcept::Order)
                || word.is(WordConcept::Performance)
                || word.is(WordConcept::Trade)
        }) || asks_how_it_did(words);
        if let Some(pair) = small_pair(bare).filter(|_| word.concepts.is_empty()) {
            let known = context.symbols.iter().find(|symbol| symbol.eq_ignore_ascii_case(&pair));
            slots.symbols.push(known.cloned().unwrap_or(pair));
            mark_slot(words, at, SlotKind::Symbol);
            continue;
        }
        if has_signs(bare) && word.concepts.is_empty() && (is_after_hint || is_about_trading || is_pair(bare))
        {
            slots.symbols.push(bare.to_owned());
            mark_slot(words, at, SlotKind::Symbol);
            continue;
        }
        let is_long_name = (7..=12).contains(&bare.len()) && bare.chars().all(|c| c.is_ascii_alphabetic());
        if !is_word(bare) && !is_long_name {
            continue;
        }
        let lower = bare.to_lowercase();
        let named = WordList::SymbolNames.phrases().iter().filter_map(|entry| entry.split_once('='));
        let called =
            named.into_iter().find(|(name, _)| *name == lower || lower.strip_suffix('s') == Some(name));
        let upper = called.map_or_else(|| bare.to_uppercase(), |(_, symbol)| symbol.to_owned());
        let bare = if called.is_some() { upper.as_str() } else { bare };
        let is_ticker = called.is_some() || WordList::KnownTickers.contains(&lower);
        let is_word_too = WordList::WordTickers.contains(&lower) && word.raw == lower;
        let known = context.symbols.iter().find(|symbol| *symbol == bare);
        let known = known.or_else(|| context.symbols.iter().find(|symbol| symbol.eq_ignore_ascii_case(bare)));
        let known = known.or_else(|| only_pair_of(bare, &context.symbols));
        let letters = bare.replace(['.', '-'], "");
        let is_capital = bare == upper
            && letters.len() >= 2
            && letters.len() <= 5
            && !WordList::NoSymbols.contains(&upper);
        let shouted =
            words.iter().filter(|word| word.raw.len() > 1).all(|word| word.raw == word.raw.to_uppercase());
        let has_dollar = word.raw.starts_with('$');
        // "The last ten nvda trades": an unknown word before what is traded.
        let is_before_noun = words.get(at + 1).is_some_and(|next| {
            [WordConcept::Position, WordConcept::Order, WordConcept::Trade, WordConcept::Fill]
                .iter()
                .any(|noun| next.is(*noun))
        });
        let before_noun = word.concepts.is_empty()
            && is_before_noun
            && (2..=5).contains(&letters.len())
            && !is_common_word(&lower)
            && !WordList::NoSymbols.contains(&upper);
        let next_is_unknown = words
            .get(at + 1)
            .is_some_and(|next| next.slot.is_none() && next.concepts.is_empty() && next.weight > 0.3);
        let is_after_hint = is_after_hint && !next_is_unknown && !is_common_word(&lower);
        // "The risk" and "my host" are no symbols, whatever they are.
        let needs_more = at > 0
            && words.get(at - 1).is_some_and(|word| {
                matches!(
                    word.lower.as_str(),
                    "the" | "my" | "our" | "about" | "with" | "from" | "any" | "is" | "did"
                )
            });
        let after_hint = before_noun
            || word.concepts.is_empty()
                && (2..=5).contains(&letters.len())
                && is_after_hint
                && is_about_trading
                && (is_ticker || !needs_more);
        let knows = known.is_some() && (word.concepts.is_empty() || bare == upper);
        // "The orders of Reliance": better a name that nobody has than the orders of all.
        let is_name = at > 0
            && word.raw.starts_with(|c: char| c.is_ascii_uppercase())
            && bare.len() >= 3
            && bare.len() <= 12
            && is_about_trading
            && word.concepts.is_empty()
            && !is_common_word(&lower)
            && !WordList::NoSymbols.contains(&upper)
            && words
                .get(at - 1)
                .is_some_and(|before| matches!(before.lower.as_str(), "of" | "for" | "in" | "on"));
        if knows
            || is_name
            || is_ticker
                && !is_word_too
                && (word.concepts.is_empty() || word.certainty < 1.0 || called.is_some())
            || has_dollar
            || (is_capital
                && !shouted
                && (word.concepts.is_empty() || word.concepts == [WordConcept::Filler]))
            || after_hint
        {
            slots.symbols.push(known.cloned().unwrap_or(upper));
            mark_slot(words, at, SlotKind::Symbol);
        }
    }
}

/// `ETH/USD` for "eth/usd" and "eth-usdt": a known coin and what it is counted in.
fn small_pair(word: &str) -> Option<String> {
    let lower = word.to_lowercase();
    let (base, quote) = lower.split_once(['/', '-'])?;
    let is_quote = matches!(quote, "usd" | "usdt" | "usdc" | "eur" | "btc" | "eth" | "gbp" | "busd" | "dai");
    (WordList::KnownTickers.contains(base) && is_quote && word == lower)
        .then(|| format!("{}/{}", base.to_uppercase(), quote.to_uppercase()))
}

/// The one pair that is of this coin: `BTC/USDT` for `BTC`. Of two nobody says which is meant.
fn only_pair_of<'s>(coin: &str, symbols: &'s [String]) -> Option<&'s String> {
    let is_of =
        |symbol: &&String| symbol.split_once('/').is_some_and(|(base, _)| base.eq_ignore_ascii_case(coin));
    let mut pairs = symbols.iter().filter(is_of);
    pairs.next().filter(|_| pairs.next().is_none())
}

/// "How did … do": what stands between is what the question is about.
fn asks_how_it_did(words: &[AskWord]) -> bool {
    let mut rest = words.iter().map(|word| word.lower.as_str());
    rest.next() == Some("how") && matches!(rest.next(), Some("did" | "does" | "has" | "is"))
}

/// Whether a symbol looks like a word, so that it is read as one: `SPY`, `BRK.B`.
fn is_word(symbol: &str) -> bool {
    let letters = symbol.replace(['.', '-'], "");
    (1..=6).contains(&letters.len()) && letters.chars().all(|c| c.is_ascii_alphabetic())
}

/// Whether a word that nobody knows has the form of a symbol: signs of its own and no small letters.
fn has_signs(word: &str) -> bool {
    is_symbol(word)
        && word.contains(SIGNS)
        && !word.starts_with('/')
        && !word.contains("://")
        && word.chars().any(char::is_alphabetic)
        && !word.chars().any(char::is_lowercase)
        && !WordList::NoSymbols.contains(word)
}

/// Whether a word is a pair of two instruments, which nothing else looks like: `SOL/USDT`.
fn is_pair(word: &str) -> bool {
    let is_side = |side: &str| (2..=6).contains(&side.len()) && side.chars().all(|c| c.is_ascii_uppercase());
    word.split_once('/')
        .is_some_and(|(base, quote)| is_side(base) && is_side(quote.split(':').next().unwrap_or(quote)))
}

/// The longest known symbol with which the text begins, with its length in the text; one in the same case first.
fn known_at(text: &str, known: &[&String]) -> Option<(usize, String)> {
    let exact = known.iter().find(|symbol| text.starts_with(symbol.as_str()) && ends_at(text, symbol.len()));
    if let Some(symbol) = exact {
        return Some((symbol.len(), (*symbol).clone()));
    }
    known.iter().find_map(|symbol| {
        let length = length_of_match(text, symbol).filter(|length| ends_at(text, *length))?;
        Some((length, (*symbol).clone()))
    })
}

/// How many bytes of the text spell this symbol, in whatever case and with whatever number of spaces.
fn length_of_match(text: &str, symbol: &str) -> Option<usize> {
    let mut rest = text;
    let mut wanted = symbol.chars().peekable();
    while let Some(sign) = wanted.next() {
        if sign.is_whitespace() {
            while wanted.next_if(|next| next.is_whitespace()).is_some() {}
            let after = rest.trim_start();
            if after.len() == rest.len() {
                return None;
            }
            rest = after;
            continue;
        }
        let given = rest.chars().next().filter(|given| given.to_lowercase().eq(sign.to_lowercase()))?;
        rest = rest.get(given.len_utf8()..)?;
    }
    Some(text.len() - rest.len())
}

/// A quoted text after a word such as "for" that can be nothing but a symbol, with the length of both quotes.
fn quoted_at(text: &str, from: usize) -> Option<(usize, String)> {
    let (before, rest) = (text.get(..from)?, text.get(from..)?.strip_prefix('"')?);
    let (symbol, _) = rest.split_once('"')?;
    let hint = before.split_whitespace().next_back()?.to_lowercase();
    let is_named = WordList::BeforeSymbol.contains(&hint) && is_symbol(symbol);
    is_named.then(|| (symbol.len() + 2, symbol.to_owned()))
}

/// Whether a symbol may begin after this text.
fn begins_here(before: &str) -> bool {
    before.chars().next_back().is_none_or(|c| c.is_whitespace() || matches!(c, '$' | '"' | '\'' | '(' | '['))
}

/// Whether a symbol that ends here is whole: up to the next space there is nothing but the end of a sentence.
fn ends_at(text: &str, end: usize) -> bool {
    let tail = text.get(end..).unwrap_or_default().split(char::is_whitespace).next().unwrap_or_default();
    let tail = tail.strip_prefix("'s").or_else(|| tail.strip_prefix("\u{2019}s")).unwrap_or(tail);
    tail.chars().all(|c| matches!(c, '?' | '!' | ',' | '.' | ';' | ':' | '\'' | '"' | ')' | ']' | '…'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_that_is_empty_is_found_nowhere() {
        let context = AskContext { symbols: vec![String::new(), "ES=F".to_owned()], ..AskContext::default() };
        let found = find_named_symbols("how  is - the bot ? and ES=F", &context);
        assert_eq!(found.iter().map(|one| one.symbol.as_str()).collect::<Vec<_>>(), ["ES=F"]);
    }
}
