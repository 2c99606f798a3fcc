//! Values inside a text: symbols, periods, codes, config keys and their values, ids, durations, versions.
//!
//! A slot is read before any intent is chosen; the words it came from are marked, so that they are not judged as
//! words again. What can be named (workflows, components, config keys, symbols) comes from the running system.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Number, Value, json};

use super::calendar::{read_duration, read_period};
use super::vocabulary::{Concept, Word, stem};

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Symbol,
    Period,
    Code,
    Key,
    Value,
    Workflow,
    Duration,
    Component,
    Id,
    Version,
}

/// What can be named right now: read from the running system before the text is judged.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    /// Ids of the workflows.
    pub workflows: Vec<String>,
    /// The names of each workflow's parameters.
    pub parameters: Vec<(String, Vec<String>)>,
    /// Ids of the health components.
    pub components: Vec<String>,
    /// Every leaf of the config: dotted path and value.
    pub config: Vec<(String, Value)>,
    /// The config's validator, for `If-Match`.
    pub etag: Option<String>,
    /// The clock, for what lasts until some time.
    pub now: DateTime<Utc>,
    /// The live config transaction.
    pub trial: Option<String>,
    /// Symbols the bot holds or orders.
    pub symbols: Vec<String>,
    /// The workflow run in progress.
    pub running: Option<String>,
}

/// A stretch of days, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub from: NaiveDate,
    pub to: NaiveDate,
    /// Hours back from now, when the text spoke of hours.
    pub hours: Option<u32>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    pub symbols: Vec<String>,
    pub period: Option<Period>,
    pub code: Option<String>,
    /// Config paths that fit equally well; one, when the text is clear.
    pub keys: Vec<String>,
    pub value: Option<Value>,
    pub workflow: Option<String>,
    /// Whether the workflow's id stood there letter by letter.
    pub workflow_is_exact: bool,
    pub seconds: Option<u64>,
    pub component: Option<String>,
    pub id: Option<String>,
    pub versions: Vec<String>,
}

/// Reads every slot and marks its words.
pub(super) fn read(words: &mut [Word], world: &World, today: NaiveDate) -> Slots {
    let mut slots = Slots::default();
    read_ids(words, &mut slots);
    read_versions(words, &mut slots);
    read_codes(words, &mut slots);
    read_workflow(words, world, &mut slots);
    read_key(words, world, &mut slots);
    read_period(words, today, &mut slots);
    read_duration(words, &mut slots);
    read_value(words, world, &mut slots);
    read_component(words, world, &mut slots);
    read_symbols(words, world, &mut slots);
    slots
}

pub(super) fn mark(words: &mut [Word], at: usize, slot: Slot) {
    if let Some(word) = words.get_mut(at) {
        word.slot = Some(slot);
        word.weight = 0.6;
        word.certainty = 1.0;
    }
}

fn read_ids(words: &mut [Word], slots: &mut Slots) {
    for at in 0..words.len() {
        let text = words.get(at).map(|word| word.lower.clone()).unwrap_or_default();
        let bare = text.rsplit_once('_').map_or(text.as_str(), |(_, tail)| tail);
        let is_uuid = bare.len() == 36 && uuid::Uuid::parse_str(bare).is_ok();
        let is_hex = bare.len() >= 16 && bare.chars().all(|c| c.is_ascii_hexdigit());
        let is_named = ["run-", "run_", "txn-", "txn_", "alert-", "alr_", "wfr_", "sil_", "alert_"]
            .iter()
            .any(|prefix| {
                text.strip_prefix(prefix).is_some_and(|rest| rest.chars().any(|c| c.is_ascii_digit()))
            });
        if is_uuid || is_hex || is_named {
            slots.id = words.get(at).map(|word| word.raw.clone());
            mark(words, at, Slot::Id);
        }
    }
}

/// `v17`, `version 17`, `v17-3fa9c1d2`, `#17`.
fn read_versions(words: &mut [Word], slots: &mut Slots) {
    for at in 0..words.len() {
        let Some(word) = words.get(at) else { continue };
        let lower = word.lower.trim_start_matches('#').to_owned();
        let after_name = at > 0
            && words.get(at - 1).is_some_and(|before| {
                before.is(Concept::Version) && !before.lower.starts_with('p')
                    || before.slot == Some(Slot::Version)
            });
        let joined = at > 1
            && words
                .get(at - 1)
                .is_some_and(|word| matches!(word.lower.as_str(), "and" | "to" | "with" | "vs" | "versus"))
            && words.get(at - 2).is_some_and(|word| word.slot == Some(Slot::Version));
        let number = lower.strip_prefix('v').unwrap_or(&lower);
        let digits = number.split('-').next().unwrap_or_default();
        let is_number = !digits.is_empty() && digits.len() <= 9 && digits.chars().all(|c| c.is_ascii_digit());
        let is_named = lower.starts_with('v') || word.lower.starts_with('#');
        if is_number && (is_named || after_name || joined) {
            slots.versions.push(format!("v{digits}"));
            mark(words, at, Slot::Version);
        }
    }
}

/// `CFG_012`, `cfg012`, `CFG-012`, `cfg 12`.
fn read_codes(words: &mut [Word], slots: &mut Slots) {
    const AREAS: [&str; 8] = ["auth", "api", "bot", "brk", "cfg", "hlt", "wfl", "srv"];
    for at in 0..words.len() {
        let lower = words.get(at).map(|word| word.lower.clone()).unwrap_or_default();
        let letters: String = lower.chars().take_while(char::is_ascii_alphabetic).collect();
        let rest = lower.get(letters.len()..).unwrap_or_default();
        let is_area = AREAS.contains(&letters.as_str());
        let digits = rest.trim_start_matches(['_', '-']);
        let is_number =
            |text: &str| (1..=3).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit());
        if is_area && is_number(digits) {
            slots.code = Some(format!("{}_{digits:0>3}", letters.to_uppercase()));
            mark(words, at, Slot::Code);
        } else if is_area && rest.is_empty() {
            let next = words.get(at + 1).map(|word| word.lower.clone()).unwrap_or_default();
            // "bot 1" and "api 2" are no codes unless they are written in full.
            let is_full = next.len() == 3 || !matches!(letters.as_str(), "bot" | "api");
            if is_full && is_number(&next) {
                slots.code = Some(format!("{}_{next:0>3}", letters.to_uppercase()));
                mark(words, at, Slot::Code);
                mark(words, at + 1, Slot::Code);
            }
        } else if !letters.is_empty()
            && letters.len() <= 6
            && rest.starts_with('_')
            && digits.len() == 3
            && is_number(digits)
        {
            // An area nobody knows: the catalogue itself says so.
            slots.code = Some(lower.to_uppercase());
            mark(words, at, Slot::Code);
        }
    }
}

/// By its id letter by letter, or by the id's parts in order with small words between: "restart the bot".
fn read_workflow(words: &mut [Word], world: &World, slots: &mut Slots) {
    for at in 0..words.len() {
        let lower = words.get(at).map(|word| word.lower.replace('_', "-")).unwrap_or_default();
        let near = |id: &&String| {
            ***id == lower || (lower.contains('-') && id.len() >= 8 && strsim::osa_distance(id, &lower) <= 2)
        };
        if let Some(id) = world.workflows.iter().find(near) {
            slots.workflow = Some(id.clone());
            slots.workflow_is_exact = true;
            mark(words, at, Slot::Workflow);
            return;
        }
    }
    for id in &world.workflows {
        let parts: Vec<String> = id.split('-').map(stem).collect();
        if let Some(places) = in_order(words, &parts) {
            slots.workflow = Some(id.clone());
            // The words keep their concepts: "check health" may also just mean health.
            for at in places {
                if let Some(word) = words.get_mut(at) {
                    word.slot = Some(Slot::Workflow);
                }
            }
            return;
        }
    }
}

/// Where the parts stand, when they stand in this order with nothing but small words between them.
fn in_order(words: &[Word], parts: &[String]) -> Option<Vec<usize>> {
    let texts: Vec<String> = words.iter().map(|word| stem(&word.lower.replace(' ', "-"))).collect();
    let first = parts.first()?;
    for start in 0..texts.len() {
        if !same(texts.get(start)?, first) {
            continue;
        }
        let mut places = vec![start];
        let mut at = start + 1;
        for part in parts.iter().skip(1) {
            while words.get(at).is_some_and(|word| {
                word.is(Concept::Filler) || word.is(Concept::All) || word.is(Concept::Bot)
            }) && !texts.get(at).is_some_and(|text| same(text, part))
            {
                at += 1;
            }
            if !texts.get(at).is_some_and(|text| same(text, part)) {
                break;
            }
            places.push(at);
            at += 1;
        }
        if places.len() == parts.len() {
            return Some(places);
        }
    }
    None
}

fn same(given: &str, wanted: &str) -> bool {
    given == wanted || (wanted.len() >= 5 && strsim::osa_distance(given, wanted) <= 1)
}

/// Words of units at the end of a key, which nobody says.
const UNITS: &[&str] =
    &["pct", "bps", "seconds", "secs", "sec", "ms", "usd", "shares", "minutes", "count", "s", "percent"];

fn plain_word(word: &str) -> String {
    match word {
        "maximum" | "maximal" | "largest" | "biggest" | "most" => "max".to_owned(),
        "minimum" | "minimal" | "smallest" => "min".to_owned(),
        "percentage" | "percent" => "pct".to_owned(),
        "stoploss" => "stop".to_owned(),
        "ratio" => "ratio".to_owned(),
        other => stem(other),
    }
}

/// A config key by its path, the end of its path, or its words.
fn read_key(words: &mut [Word], world: &World, slots: &mut Slots) {
    for at in 0..words.len() {
        let Some(word) = words.get(at) else { continue };
        let given = word.lower.trim_start_matches('/').replace('/', ".");
        let looks_like_key = given.contains('_')
            || (given.contains('.') && !given.chars().all(|c| c.is_ascii_digit() || c == '.'));
        if word.slot.is_some() || !looks_like_key || world.components.contains(&word.lower) {
            continue;
        }
        let ends = |path: &str| path == given || path.ends_with(&format!(".{given}"));
        let mut found: Vec<String> =
            world.config.iter().filter(|(path, _)| ends(path)).map(|(path, _)| path.clone()).collect();
        if found.is_empty() {
            let near = |path: &str| {
                let leaf = path.rsplit('.').next().unwrap_or(path);
                let limit = if given.len() >= 8 { 2 } else { 1 };
                strsim::osa_distance(path, &given).min(strsim::osa_distance(leaf, &given)) <= limit
            };
            found =
                world.config.iter().filter(|(path, _)| near(path)).map(|(path, _)| path.clone()).collect();
        }
        if found.is_empty() && given.contains('_') {
            // A key nobody knows: the check of the change will say so with the near ones.
            found = vec![given.clone()];
        }
        if !found.is_empty() {
            slots.keys = found;
            mark(words, at, Slot::Key);
            return;
        }
    }
    read_key_by_words(words, world, slots);
}

fn read_key_by_words(words: &mut [Word], world: &World, slots: &mut Slots) {
    let mut given: Vec<(usize, String)> = Vec::new();
    for (at, word) in words.iter().enumerate().filter(|(_, word)| word.slot.is_none()) {
        let parts = word.lower.split([' ', '-']).filter(|part| !part.is_empty());
        given.extend(parts.map(|part| (at, plain_word(part))));
    }
    let mut best: Vec<(usize, String, Vec<usize>)> = Vec::new();
    for (path, _) in &world.config {
        let leaf = path.rsplit('.').next().unwrap_or(path);
        let leaf_words: Vec<String> =
            leaf.split('_').filter(|part| !UNITS.contains(part)).map(plain_word).collect();
        if leaf_words.is_empty() {
            continue;
        }
        let place = |wanted: &String| given.iter().find(|(_, given)| same(given, wanted)).map(|(at, _)| *at);
        let places: Option<Vec<usize>> = leaf_words.iter().map(place).collect();
        let Some(mut places) = places else { continue };
        let parents = path.split('.').rev().skip(1).flat_map(|part| part.split('_')).map(plain_word);
        let more: Vec<usize> = parents.filter_map(|part| place(&part)).collect();
        let score = leaf_words.len() * 2 + more.len().min(1);
        // A single common word names a key only together with its group, or when a change is spoken of.
        let speaks_of_config = words.iter().any(|word| word.is(Concept::Change) || word.is(Concept::Config));
        if leaf_words.len() == 1 && more.is_empty() && !speaks_of_config {
            continue;
        }
        places.extend(more);
        best.push((score, path.clone(), places));
    }
    let Some(top) = best.iter().map(|(score, ..)| *score).max() else { return };
    best.retain(|(score, ..)| *score == top);
    for (_, path, places) in best {
        slots.keys.push(path);
        for at in places {
            mark(words, at, Slot::Key);
        }
    }
}

fn read_value(words: &mut [Word], world: &World, slots: &mut Slots) {
    let Some(key) = slots.keys.first() else { return };
    let current = world.config.iter().find(|(path, _)| path == key).map(|(_, value)| value);
    for at in (0..words.len()).rev() {
        let Some(word) = words.get(at) else { continue };
        let is_taken =
            word.slot.is_some_and(|slot| !matches!(slot, Slot::Duration | Slot::Period | Slot::Symbol));
        let after_by = at > 0 && words.get(at - 1).is_some_and(|before| before.lower == "by");
        if is_taken || after_by {
            continue;
        }
        let after_to = at > 0
            && words.get(at - 1).is_some_and(|before| {
                matches!(before.lower.as_str(), "to" | "=" | "as" | "at" | "with" | "equals")
            });
        if let Some(value) = value(&word.raw, current, after_to) {
            slots.value = Some(value);
            mark(words, at, Slot::Value);
            return;
        }
    }
}

/// The value a word stands for, in the form the current value has.
fn value(raw: &str, current: Option<&Value>, after_to: bool) -> Option<Value> {
    let raw = raw.trim_start_matches('=');
    let lower = raw.to_lowercase();
    let wants_bool = current.is_some_and(Value::is_boolean);
    match lower.as_str() {
        "true" | "on" | "yes" | "enabled" | "enable" if wants_bool || after_to => return Some(json!(true)),
        "false" | "off" | "no" | "disabled" | "disable" if wants_bool || after_to => {
            return Some(json!(false));
        }
        _ => {}
    }
    let bare = lower.trim_start_matches('$').trim_end_matches('%').replace('_', "");
    let (bare, factor) = match bare.strip_suffix('k') {
        Some(rest) => (rest.to_owned(), 1_000_i64),
        None => (bare, 1),
    };
    let is_number = bare.chars().any(|c| c.is_ascii_digit())
        && bare.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'));
    if is_number {
        if let Ok(whole) = bare.parse::<i64>() {
            let whole = whole.checked_mul(factor)?;
            return Some(if current.is_some_and(Value::is_string) {
                json!(whole.to_string())
            } else {
                json!(whole)
            });
        }
        let number: f64 = bare.parse().ok()?;
        if current.is_some_and(Value::is_string) {
            return Some(json!(bare));
        }
        return Number::from_f64(number).map(Value::Number);
    }
    let is_clock = lower.len() == 5 && lower.as_bytes().get(2) == Some(&b':');
    (current.is_some_and(Value::is_string) && (after_to || is_clock)).then(|| json!(raw))
}

/// Components by what people call them.
const CALLED: &[(&str, &str)] = &[
    ("cpu", "system_resources"),
    ("memory", "system_resources"),
    ("ram", "system_resources"),
    ("disk", "system_resources"),
    ("database", "store"),
    ("db", "store"),
];

fn read_component(words: &mut [Word], world: &World, slots: &mut Slots) {
    for at in 0..words.len() {
        let called = CALLED.iter().find(|(name, _)| words.get(at).is_some_and(|word| word.lower == *name));
        if let Some((_, id)) = called.filter(|(_, id)| world.components.iter().any(|known| known == id)) {
            slots.component = Some((*id).to_owned());
            mark(words, at, Slot::Component);
            return;
        }
    }
    for id in &world.components {
        let parts: Vec<String> = id.split(['_', '-', '.', ':']).map(stem).collect();
        let whole = words.iter().position(|word| word.slot.is_none() && word.lower == *id);
        if let Some(at) = whole {
            slots.component = Some(id.clone());
            // "bot" is a component and also just what everybody says.
            if !matches!(id.as_str(), "bot" | "api") {
                mark(words, at, Slot::Component);
            }
            return;
        }
        if parts.len() > 1
            && let Some(places) = in_order(words, &parts)
        {
            slots.component = Some(id.clone());
            for at in places {
                if let Some(word) = words.get_mut(at).filter(|word| word.slot.is_none()) {
                    word.slot = Some(Slot::Component);
                }
            }
            return;
        }
    }
}

/// Capital words that are no symbols.
const NO_SYMBOLS: &[&str] = &[
    "I", "A", "API", "MCP", "CPU", "PNL", "ID", "OK", "US", "UTC", "NY", "WHY", "WHAT", "HOW", "IS", "THE",
    "BOT", "SQL", "HTTP", "URL", "JSON", "YAML", "CSV", "P&L", "PL", "P/L", "ASAP", "FYI", "TLDR", "VS",
    "AND", "OR", "NOT", "ALL", "NYSE", "RAM", "ETA", "KPI", "NO", "YES", "ON", "OFF", "MY", "WE", "AN", "TO",
    "PLEASE", "HELP", "NOW", "STOP", "SHOW",
];

/// Words after which a short unknown word is a symbol.
const BEFORE_SYMBOL: &[&str] = &["in", "of", "for", "on", "our", "my", "the", "about", "ticker", "symbol"];

fn read_symbols(words: &mut [Word], world: &World, slots: &mut Slots) {
    for at in 0..words.len() {
        let Some(word) = words.get(at) else { continue };
        if word.slot.is_some() || word.raw.contains(' ') {
            continue;
        }
        let bare = word.raw.trim_start_matches('$').trim_end_matches("'s");
        let letters = bare.replace(['.', '-'], "");
        let is_short = (1..=6).contains(&letters.len()) && letters.chars().all(|c| c.is_ascii_alphabetic());
        if !is_short {
            continue;
        }
        let upper = bare.to_uppercase();
        let is_known = world.symbols.contains(&upper);
        let is_capital = bare == upper
            && letters.len() >= 2
            && letters.len() <= 5
            && !NO_SYMBOLS.contains(&upper.as_str());
        let shouted =
            words.iter().filter(|word| word.raw.len() > 1).all(|word| word.raw == word.raw.to_uppercase());
        let has_dollar = word.raw.starts_with('$');
        let after_hint = word.concepts.is_empty()
            && letters.len() <= 5
            && (at > 0
                && words.get(at - 1).is_some_and(|before| BEFORE_SYMBOL.contains(&before.lower.as_str())))
            && words.iter().any(|word| {
                word.is(Concept::Position)
                    || word.is(Concept::Order)
                    || word.is(Concept::Performance)
                    || word.is(Concept::Trade)
            });
        let knows = is_known && (word.concepts.is_empty() || bare == upper);
        if knows
            || has_dollar
            || (is_capital && !shouted && (word.concepts.is_empty() || word.concepts == [Concept::Filler]))
            || after_hint
        {
            slots.symbols.push(upper);
            mark(words, at, Slot::Symbol);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::{pieces, words};
    use super::*;

    fn world() -> World {
        World {
            workflows: ["check-health", "export-logs", "restart-bot", "update-targets"]
                .map(str::to_owned)
                .into(),
            components: vec!["broker_session".to_owned()],
            config: vec![
                ("risk_management.max_position_pct".to_owned(), json!(5.0)),
                ("risk_management.max_daily_loss_pct".to_owned(), json!(3.0)),
                ("trading.hours.start_time".to_owned(), json!("09:30")),
            ],
            symbols: vec!["TSLA".to_owned()],
            ..World::default()
        }
    }

    fn slots(text: &str) -> Slots {
        let mut words = words(&pieces(text));
        let wednesday = NaiveDate::from_ymd_opt(2025, 11, 19).unwrap();
        read(&mut words, &world(), wednesday)
    }

    fn days(text: &str) -> (String, String) {
        let period = slots(text).period.unwrap_or_else(|| panic!("no period in {text}"));
        (period.from.to_string(), period.to.to_string())
    }

    #[test]
    fn periods_are_days_of_the_calendar() {
        let check = |text: &str, from: &str, to: &str| {
            assert_eq!(days(text), (from.to_owned(), to.to_owned()), "{text}");
        };
        check("profit today", "2025-11-19", "2025-11-19");
        check("profit yesterday", "2025-11-18", "2025-11-18");
        check("profit this week", "2025-11-17", "2025-11-19");
        check("profit last week", "2025-11-10", "2025-11-16");
        check("profit last month", "2025-10-01", "2025-10-31");
        check("profit over the last 7 days", "2025-11-13", "2025-11-19");
        check("profit on november 3", "2025-11-03", "2025-11-03");
        check("profit since 2025-11-01", "2025-11-01", "2025-11-19");
        check("profit from 2025-11-01 to 2025-11-05", "2025-11-01", "2025-11-05");
        check("profit on monday", "2025-11-17", "2025-11-17");
    }

    #[test]
    fn durations_to_come_are_not_periods() {
        assert_eq!(slots("silence alerts for 2 hours").seconds, Some(7_200));
        assert_eq!(slots("silence alerts for 90min").seconds, Some(5_400));
        assert_eq!(slots("silence alerts for half an hour").seconds, Some(1_800));
        assert!(slots("silence alerts for 2 hours").period.is_none());
    }

    #[test]
    fn keys_and_values_are_found_by_path_and_by_words() {
        for text in [
            "set risk_management.max_position_pct to 4",
            "set max_position_pct to 4",
            "set the maximum position percentage to 4%",
            "lower max position to 4",
        ] {
            let slots = slots(text);
            assert_eq!(slots.keys, ["risk_management.max_position_pct"], "{text}");
            assert_eq!(slots.value, Some(json!(4)), "{text}");
        }
        assert_eq!(slots("change start time to 10:00").value, Some(json!("10:00")));
    }

    #[test]
    fn codes_versions_ids_and_symbols() {
        assert_eq!(slots("what is cfg_12").code.as_deref(), Some("CFG_012"));
        assert_eq!(slots("explain BRK 002").code.as_deref(), Some("BRK_002"));
        assert_eq!(slots("diff v3 and v5").versions, ["v3", "v5"]);
        assert_eq!(slots("roll back to version 17").versions, ["v17"]);
        assert_eq!(slots("positions in tsla").symbols, ["TSLA"]);
        assert_eq!(slots("show the AAPL position").symbols, ["AAPL"]);
        assert_eq!(slots("restart the bot").workflow.as_deref(), Some("restart-bot"));
    }
}
