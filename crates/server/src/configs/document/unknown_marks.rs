//! Words of botops in a schema (`x-…`) that are misspelt. Nothing refuses them: a keyword with `x-` may be the bot's own, and
//! a role may be that of a later botops.

use botops_contract::FieldRole;
use serde_json::{Map, Value};

use super::nodes::child_pointer;
use crate::bots::conformance::SchemaComplaint;

/// What botops reads beside the keywords of JSON Schema, without their `x-`.
const MARKS: [&str; 10] =
    ["apply", "risk", "distance", "secret", "list-key", "unit", "help", "role", "warn-above", "warn-below"];

/// From how much of a word is right on it is taken for a misspelt one: `x-rolle` is, `x-rule` is a word of the bot's own.
const MOST_LIKELY: f64 = 0.78;

/// From how much of a role is right on it is named as the one that is meant.
const LIKELY_ROLE: f64 = 0.6;

/// Levels that are gone through; a schema that can be used has fewer.
const DEEPEST: usize = 64;

/// What the schema, as the bot sent it, says in words that are nearly those of botops.
pub(super) fn unknown_marks(schema: &Value) -> Vec<SchemaComplaint> {
    let mut found = Vec::new();
    collect(schema, "", 0, &mut found);
    found
}

fn collect(node: &Value, at: &str, depth: usize, found: &mut Vec<SchemaComplaint>) {
    let Some(members) = node.as_object().filter(|_| depth < DEEPEST) else { return };
    for (keyword, value) in members {
        let place = child_pointer(at, keyword);
        if let Some(said) = mistake_of(keyword, value) {
            found.push(SchemaComplaint { pointer: place, said });
            continue;
        }
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "$defs", Value::Object(named)) => {
                collect_named(named, &place, depth, found);
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(several)) => {
                for (index, part) in several.iter().enumerate() {
                    collect(part, &format!("{place}/{index}"), depth + 1, found);
                }
            }
            ("items" | "additionalProperties" | "not" | "if" | "then" | "else" | "contains", part) => {
                collect(part, &place, depth + 1, found);
            }
            _ => {}
        }
    }
}

fn collect_named(named: &Map<String, Value>, at: &str, depth: usize, found: &mut Vec<SchemaComplaint>) {
    for (name, part) in named {
        collect(part, &child_pointer(at, name), depth + 1, found);
    }
}

fn mistake_of(keyword: &str, value: &Value) -> Option<String> {
    let written = keyword.strip_prefix("x-")?;
    if written == "role" {
        return value.as_str().and_then(mistake_of_role);
    }
    if MARKS.contains(&written) {
        return None;
    }
    let word = written.to_lowercase().replace('_', "-");
    let near = MARKS.iter().find(|mark| letters_of(mark) == letters_of(&word));
    let near = near.or_else(|| nearest(&word, &MARKS, MOST_LIKELY))?;
    let shown = botops_core::text::clean(keyword, 64);
    Some(format!("`{shown}` is no keyword of botops, which passes over it. Did you mean `x-{near}`?"))
}

fn mistake_of_role(role: &str) -> Option<String> {
    if serde_json::from_value::<FieldRole>(Value::from(role)).is_ok() {
        return None;
    }
    let near = nearest(&role.trim().to_lowercase().replace('-', "_"), FieldRole::WORDS, LIKELY_ROLE);
    let meant = near.map_or_else(|| "Leave it out".to_owned(), |near| format!("Did you mean `{near}`"));
    let end = if near.is_some() { "?" } else { "." };
    let shown = botops_core::text::clean(role, 64);
    let words = FieldRole::WORDS.join("`, `");
    Some(format!(
        "There is no role `{shown}`, and botops passes over it. {meant}{end} The roles are `{words}`."
    ))
}

fn nearest<'a>(word: &str, known: &'a [&'a str], at_least: f64) -> Option<&'a &'a str> {
    let near = known.iter().map(|one| (strsim::normalized_damerau_levenshtein(one, word), one));
    near.filter(|(likeness, _)| *likeness >= at_least).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, one)| one)
}

/// The letters of a word in the order of the alphabet: of one whose letters changed places they are the same.
fn letters_of(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn misspelt_words_are_named_with_their_place_and_those_of_the_bot_are_left_alone() {
        let schema = json!({"properties": {
            "loss": {"x-rolle": "targets", "x-aply": "hot", "x-list_key": "a", "x-rsik": {}, "x-rule": 1, "x-group": 1},
            "a/b": {"x-role": "daily_los_limit", "x-role-note": "free"},
            "right": {"x-role": "targets", "x-apply": "hot", "default": {"x-rolle": 1}},
            "list": {"items": {"anyOf": [{"x-secrte": true}]}}},
            "$defs": {"one": {"x-role": "whatever"}}});
        let found = unknown_marks(&schema);
        let mut places: Vec<&str> = found.iter().map(|one| one.pointer.as_str()).collect();
        places.sort_unstable();
        assert_eq!(
            places,
            [
                "/$defs/one/x-role",
                "/properties/a~1b/x-role",
                "/properties/list/items/anyOf/0/x-secrte",
                "/properties/loss/x-aply",
                "/properties/loss/x-list_key",
                "/properties/loss/x-rolle",
                "/properties/loss/x-rsik",
            ]
        );
        let said = |end: &str| &found.iter().find(|one| one.pointer.ends_with(end)).unwrap().said;
        assert!(said("x-rolle").contains("Did you mean `x-role`?"), "{}", said("x-rolle"));
        assert!(said("a~1b/x-role").contains("Did you mean `daily_loss_limit`?"), "{}", said("a~1b/x-role"));
        assert!(said("one/x-role").contains("Leave it out. The roles are"), "{}", said("one/x-role"));
    }
}
