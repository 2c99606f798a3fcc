//! What an answer says beside what botops takes from it: words that no list has, members that nobody reads, digits
//! that look like those of a binary fraction.
//!
//! It compares the answer as it came with the same answer as botops read it; nothing is parsed a second time by other
//! rules.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::findings::ConformanceFinding;
use crate::bots::reading::UnreadablePart;

/// A member is taken for a misspelling of one that is this much alike (1 is equal).
const ALIKE: f64 = 0.7;

/// A number with this many significant digits was most likely a binary fraction that was meant to have fewer.
const NOISE_DIGITS: usize = 16;

/// The words that the contract has at a place of an answer, as one text; `None` where it has no list.
pub(super) type AllowedWords = fn(&str) -> Option<String>;

/// Compares an answer as it came with what was read of it.
pub(super) fn notes_on_form(
    call: &str,
    came: &Value,
    read: &Value,
    allowed: AllowedWords,
) -> Vec<ConformanceFinding> {
    let mut notes = FormNotes { call, allowed, lists: BTreeMap::new(), found: Vec::new() };
    notes.compare(came, read, "");
    notes.found
}

/// The same, of words alone: for answers with parts of which only the words are looked at.
pub(super) fn notes_on_words(
    call: &str,
    came: &Value,
    read: &Value,
    allowed: AllowedWords,
) -> Vec<ConformanceFinding> {
    let mut found = notes_on_form(call, came, read, allowed);
    found.retain(|finding| matches!(finding.rule, "own_word" | "word_in_no_list"));
    found
}

struct FormNotes<'c> {
    call: &'c str,
    allowed: AllowedWords,
    /// The words of each kind of place that was looked up: the items of a list are alike.
    lists: BTreeMap<String, Option<String>>,
    found: Vec<ConformanceFinding>,
}

impl FormNotes<'_> {
    fn compare(&mut self, came: &Value, read: &Value, pointer: &str) {
        match (came, read) {
            (Value::Object(came), Value::Object(read)) => self.compare_members(came, read, pointer),
            // Items that could not be read are left out: what is left would be compared with another.
            (Value::Array(came), Value::Array(read)) if came.len() == read.len() => {
                for (index, (came, read)) in came.iter().zip(read).enumerate() {
                    self.compare(came, read, &format!("{pointer}/{index}"));
                }
            }
            (Value::Number(number), Value::String(_)) => self.compare_digits(&number.to_string(), pointer),
            (Value::String(came), Value::String(read))
                if came != read && came.eq_ignore_ascii_case(read) && !read.contains(':') =>
            {
                let remedy = format!("Read as {read}: upper and lower case are the same here.");
                let hint = ConformanceFinding::hint("word_case", self.call, &remedy);
                self.found.push(hint.at(pointer).got(came).expected(read));
            }
            _ => {}
        }
    }

    fn compare_members(&mut self, came: &Map<String, Value>, read: &Map<String, Value>, pointer: &str) {
        for (name, value) in came {
            let place = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            let own_word = read.get(&format!("{name}_raw")).filter(|word| word.is_string());
            match (read.get(name), own_word) {
                (Some(shown), Some(word)) if came.get(&format!("{name}_raw")).is_none_or(Value::is_null) => {
                    let finding = self.word_in_no_list(name, word, shown, &place);
                    self.found.push(finding);
                }
                // The bot, or its SDK, says itself that the word is its own. Why a field is not known is a sentence.
                (Some(shown), Some(word))
                    if is_word_for_unknown(shown) && !place.starts_with("/unknown/") =>
                {
                    let finding = self.own_word(name, word, shown, &place);
                    self.found.extend(finding);
                }
                (Some(shown), _) => self.compare(value, shown, &place),
                (None, _) if value.is_null() || name.ends_with("_raw") => {}
                (None, _) => self.found.push(self.unknown_member(name, came, read, &place)),
            }
        }
    }

    /// `None` at a place that has no list: there the members are the bot's own.
    fn own_word(
        &mut self,
        name: &str,
        word: &Value,
        shown: &Value,
        place: &str,
    ) -> Option<ConformanceFinding> {
        let words = self.allowed_at(place)?;
        let (word, shown) = (word.as_str().unwrap_or_default(), shown.as_str().unwrap_or_default());
        let remedy = format!(
            "A word of the bot's own, which is allowed: botops tells `{name}` as `{shown}` and shows the word in `{name}_raw`. Nothing is decided by it: use a word of the list where one fits."
        );
        let hint = ConformanceFinding::hint("own_word", self.call, &remedy).at(place);
        Some(hint.got(word).expected(&words))
    }

    fn allowed_at(&mut self, place: &str) -> Option<String> {
        let kind = UnreadablePart::new(self.call, place, "", "").kind();
        self.lists.entry(kind).or_insert_with(|| (self.allowed)(place)).clone()
    }

    fn word_in_no_list(
        &mut self,
        name: &str,
        word: &Value,
        shown: &Value,
        place: &str,
    ) -> ConformanceFinding {
        let (word, shown) = (word.as_str().unwrap_or_default(), shown.as_str().unwrap_or_default());
        let place_of_raw = format!("{name}_raw");
        let words = self.allowed_at(place).unwrap_or_default();
        if name == "mode" {
            let remedy = "Whether real money is at risk is not known by this word: write `paper`, `live` or `backtest`.";
            let fault = ConformanceFinding::fault("mode_unknown", self.call, remedy).at(place).got(word);
            return fault.expected(&words);
        }
        let remedy = format!(
            "No list of the contract has this word: botops takes `{shown}` and shows yours in `{place_of_raw}`. Use one of the list where it fits."
        );
        let warning = ConformanceFinding::warning("word_in_no_list", self.call, &remedy).at(place).got(word);
        warning.expected(&words)
    }

    fn unknown_member(
        &self,
        name: &str,
        came: &Map<String, Value>,
        read: &Map<String, Value>,
        place: &str,
    ) -> ConformanceFinding {
        let alike = read
            .keys()
            .filter(|known| !came.contains_key(*known))
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness >= ALIKE)
            .max_by(|one, two| one.0.total_cmp(&two.0));
        match alike {
            Some((_, known)) => {
                let remedy = format!("Nobody reads `{name}`. Is `{known}` meant?");
                ConformanceFinding::warning("member_misspelt", self.call, &remedy).at(place)
            }
            None => {
                let remedy =
                    format!("`{name}` is not of the contract: it does no harm, and botops does not show it.");
                ConformanceFinding::hint("member_unknown", self.call, &remedy).at(place)
            }
        }
    }

    fn compare_digits(&mut self, number: &str, pointer: &str) {
        let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        if !mantissa.contains('.') || digits.trim_start_matches('0').len() < NOISE_DIGITS {
            return;
        }
        let remedy = "These digits look like those of a binary fraction: write amounts as texts, from a decimal type or rounded to what is meant.";
        self.found.push(ConformanceFinding::hint("binary_digits", self.call, remedy).at(pointer).got(number));
    }
}

/// Whether this is a word that sets of the contract have for what is not in them.
fn is_word_for_unknown(shown: &Value) -> bool {
    shown.as_str().is_some_and(|word| ["OTHER", "other", "UNKNOWN", "unknown"].contains(&word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bots::reading::{allowed_words, read_parts};
    use botops_contract::BotReport;

    #[track_caller]
    fn notes(came: &Value) -> Vec<(&'static str, String)> {
        let read = read_parts::<BotReport>("GET state", came.to_string().as_bytes(), &[]).unwrap();
        let read = serde_json::to_value(read.value).unwrap();
        let notes = notes_on_form("GET state", came, &read, allowed_words::<BotReport>);
        notes.into_iter().map(|found| (found.rule, found.pointer)).collect()
    }

    #[test]
    fn each_own_word_is_named_with_the_words_of_its_place() {
        let order = |side: &str, word: &str| json!({"id": 1, "side": side, "side_raw": word, "quantity": 3});
        let came = json!({"seq": 1, "mode": "paper", "phase": "other", "phase_raw": "warming up",
            "orders": [order("OTHER", "SHORT"), order("BUY", "")]});
        let read = read_parts::<BotReport>("GET state", came.to_string().as_bytes(), &[]).unwrap();
        let read = serde_json::to_value(read.value).unwrap();
        let found = notes_on_form("GET state", &came, &read, allowed_words::<BotReport>);
        let told: Vec<_> =
            found.iter().map(|one| (one.rule, one.pointer.as_str(), one.got.as_str())).collect();
        let wanted = [("own_word", "/orders/0/side", "SHORT"), ("own_word", "/phase", "warming up")];
        assert!(wanted.iter().all(|one| told.contains(one)) && told.len() == 2, "{told:?}");
        for (pointer, word) in [("/orders/0/side", "`SELL`"), ("/phase", "`degraded`")] {
            let finding = found.iter().find(|one| one.pointer == pointer).unwrap();
            assert!(finding.expected.contains(word), "{finding:?}");
        }
    }

    #[test]
    fn what_is_right_gives_no_note() {
        let right = json!({"seq": 1, "as_of": "2026-03-02T15:00:00+01:00", "mode": "paper", "phase": "running",
            "account": {"account_balance": 12.5, "account_id": 7}, "market": null, "phase_raw": null,
            "orders": [{"id": 1, "side": "BUY", "side_raw": null, "quantity": 3}]});
        assert_eq!(notes(&right), []);
    }

    #[test]
    fn misspellings_own_words_and_binary_digits_are_noted() {
        let came = json!({"seq": 1, "mode": "demo", "phase": "Running", "trading_enable": true, "weather": "fair",
            "account": {"account_balance": 0.300_000_000_000_000_04},
            "orders": [{"id": "1", "side": "buy", "order_type": "ICEBERG"}]});
        let mut found = notes(&came);
        found.sort_unstable();
        let place = |rule, pointer: &str| (rule, pointer.to_owned());
        assert_eq!(
            found,
            [
                place("binary_digits", "/account/account_balance"),
                place("member_misspelt", "/trading_enable"),
                place("member_unknown", "/weather"),
                place("mode_unknown", "/mode"),
                place("word_case", "/orders/0/side"),
                place("word_case", "/phase"),
                place("word_in_no_list", "/orders/0/order_type"),
            ]
        );
    }
}
