//! The words of `type` in a schema, and those of programming languages that are written in their place.

use serde_json::Value;

/// Every type of JSON Schema.
const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];

/// What other languages call them.
const MEANT: [(&str, &[&str]); 7] = [
    ("number", &["float", "double", "decimal", "real", "numeric", "f32", "f64"]),
    ("integer", &["int", "long", "short", "uint", "whole", "i32", "i64", "u32", "u64"]),
    ("string", &["str", "text", "char", "varchar", "date", "datetime", "time"]),
    ("boolean", &["bool", "flag"]),
    ("object", &["dict", "dictionary", "map", "record", "struct", "mapping"]),
    ("array", &["list", "tuple", "set", "vec", "sequence"]),
    ("null", &["none", "nil", "undefined"]),
];

/// A word is taken for a misspelling of one that is this much alike (1 is equal).
const ALIKE: f64 = 0.8;

/// Characters of a word that are shown.
const SHOWN: usize = 60;

/// A word that is no type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeMistake {
    /// Its place in a list of words, as the end of a pointer; empty for the only word.
    pub place: String,
    /// What is wrong, with the words that there are.
    pub what: String,
    /// What is most likely meant.
    pub remedy: String,
}

/// What is wrong with the value of `type`, which is one word or a list of words.
pub(super) fn find_type_mistake(value: &Value) -> Option<TypeMistake> {
    match value {
        Value::Array(words) if !words.is_empty() => {
            let mut words = words.iter().enumerate();
            words.find_map(|(index, word)| mistake_in(word, format!("/{index}")))
        }
        word => mistake_in(word, String::new()),
    }
}

fn mistake_in(word: &Value, place: String) -> Option<TypeMistake> {
    let shown = match word {
        Value::String(text) if TYPES.contains(&text.as_str()) => return None,
        Value::String(text) => botops_core::text::clean(text, SHOWN),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    let what = format!("`{shown}` is no type of JSON Schema, which has `{}`", TYPES.join("`, `"));
    let remedy = match word.as_str().and_then(meant_by) {
        Some(meant) => format!("Write `\"{meant}\"`, which is most likely meant"),
        None => "Write one of them, or a list of them".to_owned(),
    };
    Some(TypeMistake { place, what, remedy })
}

/// The type that is most likely meant by a word that is none.
fn meant_by(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let known = MEANT.iter().find(|(_, others)| others.contains(&word.as_str()));
    let near = || {
        let likeness = TYPES.iter().map(|one| (strsim::jaro_winkler(one, &word), *one));
        let closest = likeness.max_by(|one, two| one.0.total_cmp(&two.0));
        closest.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, one)| one)
    };
    known.map(|(meant, _)| *meant).or_else(near)
}
