//! The schema as its parts: each with the field that it is about, its references followed, its patterns compiled.

use std::borrow::Cow;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// How deep a schema is followed.
pub(super) const DEEPEST: usize = 64;
/// What a pattern may take in memory; botops has the same limit.
const PATTERN_BYTES: usize = 1 << 20;

/// Keywords whose value is one schema.
const ONE: [&str; 8] =
    ["items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"];
/// Keywords whose value is a list of schemas.
const SEVERAL: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value names schemas.
const NAMED: [&str; 3] = ["properties", "patternProperties", "$defs"];

/// A schema with what is looked up in it.
#[derive(Debug)]
pub(super) struct SchemaParts {
    pub(super) root: Value,
    patterns: HashMap<String, Regex>,
}

impl SchemaParts {
    /// Takes a schema apart whose keywords hold already.
    ///
    /// # Errors
    /// One sentence: a reference leads nowhere.
    pub(super) fn new(root: Value) -> Result<Self, String> {
        let mut patterns = HashMap::new();
        let mut references = Vec::new();
        walk_schema(&root, &mut |at, part| {
            if let Some(reference) = part.get("$ref").and_then(Value::as_str) {
                references.push((at.to_owned(), reference.to_owned()));
            }
            let named = part.get("patternProperties").and_then(Value::as_object);
            let keys = named.into_iter().flat_map(Map::keys).map(String::as_str);
            for pattern in keys.chain(part.get("pattern").and_then(Value::as_str)) {
                if let Ok(compiled) = compile_pattern(pattern) {
                    patterns.insert(pattern.to_owned(), compiled);
                }
            }
        });
        for (at, reference) in references {
            let Some(inside) = reference.strip_prefix('#') else {
                return Err(format!("only references within the schema are followed, not {reference}"));
            };
            if root.pointer(inside).is_none() {
                return Err(format!(
                    "`$ref` of `{at}` in the config schema leads nowhere: there is no `{reference}`"
                ));
            }
        }
        Ok(Self { root, patterns })
    }

    /// The part with what it refers to; its own keywords come before those.
    pub(super) fn resolve<'a>(&'a self, part: &'a Value) -> Cow<'a, Value> {
        let mut found = Cow::Borrowed(part);
        for _ in 0..DEEPEST {
            let Some(reference) = found.get("$ref").and_then(Value::as_str) else { break };
            let target = reference.strip_prefix('#').and_then(|inside| self.root.pointer(inside));
            let Some(target) = target else { break };
            let Some(own) = found.as_object().filter(|own| own.len() > 1) else {
                found = Cow::Borrowed(target);
                continue;
            };
            let mut merged = target.as_object().cloned().unwrap_or_default();
            let own = own.iter().filter(|(name, _)| *name != "$ref");
            merged.extend(own.map(|(name, value)| (name.clone(), value.clone())));
            found = Cow::Owned(Value::Object(merged));
        }
        found
    }

    /// Whether a text has the form of a pattern of this schema.
    pub(super) fn matches(&self, pattern: &str, text: &str) -> bool {
        self.patterns.get(pattern).is_some_and(|pattern| pattern.is_match(text))
    }
}

/// A pattern as botops takes it: it needs time in proportion to the text.
///
/// # Errors
/// What is wrong with it.
pub(super) fn compile_pattern(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
    built.map_err(|error| {
        let said = error.to_string();
        // The last line says why; those before it draw where.
        said.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
    })
}

/// Visits every schema in a schema, with the field that it is about. What is a value in it, as of `default`, is none.
pub(super) fn walk_schema(root: &Value, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    walk_part(root, "", 0, visit);
}

fn walk_part(part: &Value, at: &str, depth: usize, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    let Some(members) = part.as_object().filter(|_| depth <= DEEPEST) else { return };
    visit(at, members);
    for keyword in NAMED {
        for (name, inner) in members.get(keyword).and_then(Value::as_object).into_iter().flatten() {
            let at = if keyword == "properties" {
                format!("{at}/{name}")
            } else {
                format!("{at}/{keyword}/{name}")
            };
            walk_part(inner, &at, depth + 1, visit);
        }
    }
    for keyword in SEVERAL {
        let several = members.get(keyword).and_then(Value::as_array).into_iter().flatten();
        for (index, inner) in several.enumerate() {
            walk_part(inner, &format!("{at}/{keyword}/{index}"), depth + 1, visit);
        }
    }
    for keyword in ONE {
        if let Some(inner) = members.get(keyword) {
            walk_part(inner, &format!("{at}/{keyword}"), depth + 1, visit);
        }
    }
}
