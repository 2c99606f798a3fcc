//! What an answer says beside what botops takes from it: words that no list has, members that nobody reads, digits
//! that look like those of a binary fraction.
//!
//! It compares the answer as it came with the same answer as botops read it; nothing is parsed a second time by other
//! rules.

use serde_json::{Map, Value};

use super::findings::ConformanceFinding;

/// A member is taken for a misspelling of one that is this much alike (1 is equal).
const ALIKE: f64 = 0.7;

/// A number with this many significant digits was most likely a binary fraction that was meant to have fewer.
const NOISE_DIGITS: usize = 16;

/// Compares an answer as it came with what was read of it.
pub(super) fn notes_on_form(call: &str, came: &Value, read: &Value) -> Vec<ConformanceFinding> {
    let mut notes = FormNotes { call, found: Vec::new() };
    notes.compare(came, read, "");
    notes.found
}

struct FormNotes<'c> {
    call: &'c str,
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
                    self.found.push(self.word_in_no_list(name, word, shown, &place));
                }
                (Some(shown), _) => self.compare(value, shown, &place),
                (None, _) if value.is_null() || name.ends_with("_raw") => {}
                (None, _) => self.found.push(self.unknown_member(name, came, read, &place)),
            }
        }
    }

    fn word_in_no_list(&self, name: &str, word: &Value, shown: &Value, place: &str) -> ConformanceFinding {
        let (word, shown) = (word.as_str().unwrap_or_default(), shown.as_str().unwrap_or_default());
        let place_of_raw = format!("{name}_raw");
        if name == "mode" {
            let remedy = "Whether real money is at risk is not known by this word: write `paper`, `live` or `backtest`.";
            return ConformanceFinding::fault("mode_unknown", self.call, remedy).at(place).got(word);
        }
        let remedy = format!(
            "No list of the contract has this word: botops takes `{shown}` and shows yours in `{place_of_raw}`. Use one of the list where it fits."
        );
        ConformanceFinding::warning("word_in_no_list", self.call, &remedy).at(place).got(word)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bots::reading::read_parts;
    use botops_contract::BotReport;

    #[track_caller]
    fn notes(came: &Value) -> Vec<(&'static str, String)> {
        let read = read_parts::<BotReport>("GET state", came.to_string().as_bytes(), &[]).unwrap();
        let read = serde_json::to_value(read.value).unwrap();
        notes_on_form("GET state", came, &read).into_iter().map(|found| (found.rule, found.pointer)).collect()
    }

    #[test]
    fn what_is_right_gives_no_note() {
        let right = json!({"seq": 1, "as_of": "2026-03-02T15:00:00+01:00", "mode": "paper", "phase": "running",
            "account": {"account_balance": 12.5, "account_id": 7}, "market": null, "phase_raw": null,
            "orders": [{"id": 1, "side": "OTHER", "side_raw": "SHORT", "quantity": 3}]});
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
