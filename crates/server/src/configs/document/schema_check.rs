//! Whether a schema that a bot brought can be worked with: what it may hold, how large and how deep it may be.
//!
//! A schema is text from outside. Nothing of it is fetched, nothing in it may refer to itself, and what validation by
//! it can cost is bounded before it is compiled. A keyword that nobody knows is refused, since a validator would pass
//! over a `maximun` in silence; so is an annotation at a place where it would not be read, since it may be a secret.

use botops_contract::FieldRole;
use serde_json::{Map, Value};

use super::type_words::find_type_mistake;

/// The longest schema, in bytes; paperbot's has 14 KiB.
pub(crate) const MOST_SCHEMA_BYTES: usize = 256 * 1024;

/// Levels of schemas in each other, references followed.
const DEEPEST: usize = 32;

/// Schemas in a schema, references followed each time they are met.
const MOST_NODES: usize = 5_000;

/// Of them, those that are applied to the same value as another one: they multiply what a check costs.
const MOST_ALTERNATIVES: usize = 500;

/// Patterns of one schema; each is compiled.
const MOST_PATTERNS: usize = 64;

/// The longest pattern, in characters.
const LONGEST_PATTERN: usize = 1_000;

/// The longest name of a field, in characters.
const LONGEST_NAME: usize = 100;

/// The longest text for people, in characters; a longer one is cut.
const LONGEST_TEXT: usize = 500;

/// Keywords whose texts are for people.
const TEXTS: &[&str] = &["title", "description", "$comment", "x-help", "x-unit"];

/// Why a schema cannot be used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaFault {
    /// JSON pointer into the schema; empty for the whole of it.
    pub pointer: String,
    /// What is wrong there, in one sentence.
    pub what: String,
    /// What the author of the bot can do.
    pub remedy: String,
}

impl SchemaFault {
    pub(crate) fn new(pointer: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let clean = |text: String| botops_core::text::clean(&text, LONGEST_TEXT);
        Self { pointer: clean(pointer.to_owned()), what: clean(what.into()), remedy: clean(remedy.into()) }
    }
}

impl std::fmt::Display for SchemaFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.pointer.is_empty() { "the whole schema" } else { &self.pointer };
        write!(f, "at {place}: {}. {}", self.what, self.remedy)
    }
}

/// How the value of a keyword is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeywordForm {
    /// No schema is in it.
    Plain,
    /// Schemas of the fields of an object, by name.
    Fields,
    /// The schema of a part of the value: an item, a member without a name of its own.
    Part,
    /// A schema for the same value or one that no field of its own describes.
    Other,
    /// Several of those.
    Others,
    Reference,
    Definitions,
    Pattern,
    /// Only at the root.
    OfRoot,
}

/// Every keyword that a schema may have, beside those that begin with `x-`.
const KEYWORDS: &[(&str, KeywordForm)] = {
    use KeywordForm::{Definitions, Fields, OfRoot, Other, Others, Part, Pattern, Plain, Reference};
    &[
        ("$schema", OfRoot),
        ("$id", OfRoot),
        ("$defs", Definitions),
        ("$ref", Reference),
        ("properties", Fields),
        ("items", Part),
        ("additionalProperties", Part),
        ("allOf", Others),
        ("anyOf", Others),
        ("oneOf", Others),
        ("not", Other),
        ("if", Other),
        ("then", Other),
        ("else", Other),
        ("contains", Other),
        ("propertyNames", Other),
        ("pattern", Pattern),
        ("$comment", Plain),
        ("title", Plain),
        ("description", Plain),
        ("default", Plain),
        ("examples", Plain),
        ("deprecated", Plain),
        ("readOnly", Plain),
        ("writeOnly", Plain),
        ("type", Plain),
        ("enum", Plain),
        ("const", Plain),
        ("format", Plain),
        ("required", Plain),
        ("dependentRequired", Plain),
        ("minProperties", Plain),
        ("maxProperties", Plain),
        ("minItems", Plain),
        ("maxItems", Plain),
        ("uniqueItems", Plain),
        ("minContains", Plain),
        ("maxContains", Plain),
        ("minimum", Plain),
        ("maximum", Plain),
        ("exclusiveMinimum", Plain),
        ("exclusiveMaximum", Plain),
        ("multipleOf", Plain),
        ("minLength", Plain),
        ("maxLength", Plain),
    ]
};

/// Whether this is the name of a rule of a schema, and not of a bot's own.
pub(super) fn is_keyword(rule: &str) -> bool {
    KEYWORDS.iter().any(|(keyword, _)| *keyword == rule)
}

/// Checks a schema, and returns it as the fields are described: references replaced by what they name.
pub(super) fn expand_schema(schema: &Value) -> Result<Value, SchemaFault> {
    let none = Map::new();
    let definitions = schema["$defs"].as_object().unwrap_or(&none);
    let mut walk = SchemaWalk { definitions, ..SchemaWalk::new(&none) };
    for (name, definition) in definitions {
        // Also one that nothing refers to: what is never looked at must not hold anything either.
        walk.expand(definition, &format!("/$defs/{}", escaped(name)), 1, true)?;
    }
    walk.expand(schema, "", 0, true)
}

/// Takes values out of a schema that may have secrets of the bot in them: defaults and examples of a secret, and of
/// whole objects and lists.
pub(super) fn strip_values(schema: &mut Value) {
    if let Some(members) = schema.as_object_mut() {
        let is_secret = members.get("x-secret") == Some(&Value::Bool(true));
        members.retain(|keyword, value| {
            let is_value = matches!(keyword.as_str(), "default" | "examples");
            !is_value || !(is_secret || value.is_object() || value.is_array())
        });
        for (keyword, value) in members {
            match (form_of(keyword, "").ok(), value) {
                (Some(KeywordForm::Fields | KeywordForm::Definitions), Value::Object(named)) => {
                    named.values_mut().for_each(strip_values);
                }
                (Some(KeywordForm::Others), Value::Array(schemas)) => {
                    schemas.iter_mut().for_each(strip_values);
                }
                (Some(KeywordForm::Part | KeywordForm::Other), part) => strip_values(part),
                _ => {}
            }
        }
    }
}

/// The schema as it is served: texts for people made harmless.
pub(super) fn clean_texts(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if TEXTS.contains(&name.as_str()) => {
                        *text = botops_core::text::clean(text, LONGEST_TEXT);
                    }
                    member => clean_texts(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(clean_texts),
        _ => {}
    }
}

struct SchemaWalk<'a> {
    definitions: &'a Map<String, Value>,
    nodes: usize,
    alternatives: usize,
    patterns: usize,
    /// Names of the definitions that are being followed.
    open: Vec<&'a str>,
}

impl<'a> SchemaWalk<'a> {
    fn new(definitions: &'a Map<String, Value>) -> Self {
        Self { definitions, nodes: 0, alternatives: 0, patterns: 0, open: Vec::new() }
    }

    /// One schema at a place; `is_field` where it describes a field that has no other description.
    fn expand(
        &mut self,
        node: &'a Value,
        at: &str,
        depth: usize,
        is_field: bool,
    ) -> Result<Value, SchemaFault> {
        self.count(at, depth, is_field)?;
        let members = match node {
            Value::Object(members) => members,
            Value::Bool(_) => return Ok(node.clone()),
            _ => {
                return Err(SchemaFault::new(
                    at,
                    "a schema is an object or a boolean",
                    "Write one of the two",
                ));
            }
        };
        check_described_once(members, at)?;
        let mut expanded = Map::new();
        for (keyword, value) in members {
            let at = format!("{at}/{}", escaped(keyword));
            if keyword.starts_with("x-") {
                check_annotation(keyword, value, node, &at, is_field)?;
                // What a reference names may be secret although this place says otherwise.
                if keyword != "x-secret" || expanded.get(keyword) != Some(&Value::Bool(true)) {
                    expanded.insert(keyword.clone(), value.clone());
                }
                continue;
            }
            self.expand_keyword(keyword, value, &at, depth, is_field, &mut expanded)?;
        }
        Ok(Value::Object(expanded))
    }

    fn count(&mut self, at: &str, depth: usize, is_field: bool) -> Result<(), SchemaFault> {
        self.nodes += 1;
        self.alternatives += usize::from(!is_field);
        let simpler =
            "Describe fewer things, or describe them in less detail; the bot's own check can say the rest";
        if depth > DEEPEST {
            let what = format!("schemas are nested in more than {DEEPEST} levels");
            return Err(SchemaFault::new(at, what, simpler));
        }
        if self.nodes > MOST_NODES {
            let what = format!("it has more than {MOST_NODES} schemas, each reference followed");
            return Err(SchemaFault::new(at, what, simpler));
        }
        if self.alternatives > MOST_ALTERNATIVES {
            let what = format!("more than {MOST_ALTERNATIVES} schemas are alternatives or conditions");
            return Err(SchemaFault::new(at, what, simpler));
        }
        Ok(())
    }

    fn expand_keyword(
        &mut self,
        keyword: &str,
        value: &'a Value,
        at: &str,
        depth: usize,
        is_field: bool,
        expanded: &mut Map<String, Value>,
    ) -> Result<(), SchemaFault> {
        match form_of(keyword, at)? {
            KeywordForm::Plain => {
                if keyword == "type"
                    && let Some(mistake) = find_type_mistake(value)
                {
                    let at = format!("{at}{}", mistake.place);
                    return Err(SchemaFault::new(&at, mistake.what, mistake.remedy));
                }
                expanded.insert(keyword.to_owned(), value.clone());
            }
            KeywordForm::Fields => {
                let mut fields = Map::new();
                for (name, field) in members_of(value, at)? {
                    check_name(name, at)?;
                    let at = format!("{at}/{}", escaped(name));
                    fields.insert(name.clone(), self.expand(field, &at, depth + 1, is_field)?);
                }
                expanded.insert(keyword.to_owned(), Value::Object(fields));
            }
            KeywordForm::Part => {
                expanded.insert(keyword.to_owned(), self.expand(value, at, depth + 1, is_field)?);
            }
            KeywordForm::Other => drop(self.expand(value, at, depth + 1, false)?),
            KeywordForm::Others => {
                let Value::Array(schemas) = value else {
                    return Err(SchemaFault::new(at, "it is not a list of schemas", "Write a list"));
                };
                for (index, schema) in schemas.iter().enumerate() {
                    self.expand(schema, &format!("{at}/{index}"), depth + 1, false)?;
                }
            }
            KeywordForm::Reference => {
                let named = self.follow(value, at, depth, is_field)?;
                for (name, member) in named.as_object().into_iter().flatten() {
                    // What stands beside the reference says more than what it names; a secret stays one.
                    if name == "x-secret" || !expanded.contains_key(name) {
                        expanded.insert(name.clone(), member.clone());
                    }
                }
            }
            KeywordForm::Definitions | KeywordForm::OfRoot if depth == 0 => {}
            KeywordForm::Definitions | KeywordForm::OfRoot => {
                let what = format!("`{keyword}` stands below the root");
                return Err(SchemaFault::new(
                    at,
                    what,
                    "Write it at the root of the schema, or leave it out",
                ));
            }
            KeywordForm::Pattern => self.check_pattern(value, at)?,
        }
        Ok(())
    }

    fn follow(
        &mut self,
        reference: &Value,
        at: &str,
        depth: usize,
        is_field: bool,
    ) -> Result<Value, SchemaFault> {
        let remedy =
            "Refer to a definition of the same schema, as `#/$defs/name`; nothing is fetched from elsewhere";
        let name = reference.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
        let name = name.filter(|name| !name.contains(['/', '%', '~']));
        let Some(name) = name else {
            return Err(SchemaFault::new(at, "the reference leads outside of `$defs`", remedy));
        };
        let Some((name, definition)) = self.definitions.get_key_value(name) else {
            return Err(SchemaFault::new(at, "the schema has no such definition", remedy));
        };
        if self.open.contains(&name.as_str()) {
            let what = "the definition refers to itself";
            return Err(SchemaFault::new(at, what, "Describe as many levels as the config has"));
        }
        self.open.push(name);
        let expanded = self.expand(definition, &format!("/$defs/{name}"), depth + 1, is_field);
        self.open.pop();
        expanded
    }

    fn check_pattern(&mut self, value: &Value, at: &str) -> Result<(), SchemaFault> {
        self.patterns += 1;
        if self.patterns > MOST_PATTERNS {
            let what = format!("it has more than {MOST_PATTERNS} patterns, each reference followed");
            return Err(SchemaFault::new(
                at,
                what,
                "Say the rest by `enum`, `format` or the bot's own check",
            ));
        }
        let length = value.as_str().map(|pattern| pattern.chars().count());
        if length.is_none_or(|length| length > LONGEST_PATTERN) {
            let what = format!("it is no pattern of at most {LONGEST_PATTERN} characters");
            return Err(SchemaFault::new(
                at,
                what,
                "Write a shorter one; the bot's own check can say the rest",
            ));
        }
        Ok(())
    }
}

fn form_of(keyword: &str, at: &str) -> Result<KeywordForm, SchemaFault> {
    if let Some((_, form)) = KEYWORDS.iter().find(|(known, _)| *known == keyword) {
        return Ok(*form);
    }
    let near = KEYWORDS
        .iter()
        .map(|(known, _)| (strsim::jaro_winkler(known, keyword), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let remedy = match near {
        Some((_, near)) => format!("Did you mean `{near}`? Otherwise leave it out"),
        None => "Leave it out; a keyword of your own begins with `x-`".to_owned(),
    };
    Err(SchemaFault::new(at, format!("`{keyword}` is no keyword that a config schema may have"), remedy))
}

fn members_of<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>, SchemaFault> {
    value
        .as_object()
        .ok_or_else(|| SchemaFault::new(at, "it is not an object", "Name each field with its schema"))
}

/// What a reference names is not described once more beside it: one of the two descriptions would not be read.
fn check_described_once(members: &Map<String, Value>, at: &str) -> Result<(), SchemaFault> {
    let parts = ["properties", "items", "additionalProperties"];
    if members.contains_key("$ref") && parts.iter().any(|part| members.contains_key(*part)) {
        let what = "fields or items are described beside a reference";
        return Err(SchemaFault::new(at, what, "Describe them in the definition, or without the reference"));
    }
    let is_secret = members.get("x-secret") == Some(&Value::Bool(true));
    if is_secret && (members.contains_key("enum") || members.contains_key("const")) {
        let what = "the values of a secret are listed";
        return Err(SchemaFault::new(at, what, "Say what form it has instead, as by `minLength`"));
    }
    Ok(())
}

fn check_name(name: &str, at: &str) -> Result<(), SchemaFault> {
    if botops_core::text::clean(name, LONGEST_NAME) == name && !name.is_empty() {
        return Ok(());
    }
    let what =
        format!("the name of a field is empty, longer than {LONGEST_NAME} characters or not plain text");
    Err(SchemaFault::new(at, what, "Give the field another name"))
}

/// Checks what is said of a field beside its type. A keyword with `x-` that is not known stands for nothing here.
fn check_annotation(
    keyword: &str,
    value: &Value,
    node: &Value,
    at: &str,
    is_field: bool,
) -> Result<(), SchemaFault> {
    let one_of = |value: &Value, words: &[&str]| value.as_str().is_some_and(|word| words.contains(&word));
    let (is_right, wanted) = match keyword {
        "x-apply" => (one_of(value, &["hot", "restart", "never"]), "`hot`, `restart` or `never`"),
        "x-risk" => (
            one_of(&value["direction"], &["up", "down", "both", "none"])
                && one_of(&value["class"], &["low", "high"]),
            "`direction` (`up`, `down`, `both` or `none`) and `class` (`low` or `high`)",
        ),
        "x-secret" => (value.is_boolean(), "true or false"),
        "x-list-key" => (
            value.as_str().is_some_and(|key| !key.is_empty() && node["items"].is_object()),
            "the name of a member that every item of the list has",
        ),
        "x-unit" | "x-help" => (value.is_string(), "a text"),
        "x-role" => (value.is_string(), "one word"),
        "x-warn-above" | "x-warn-below" => (value.is_number(), "a number"),
        _ => return Ok(()),
    };
    if !is_field {
        let what = format!("`{keyword}` stands where it is not read");
        let remedy = "Say it of the field itself, below `properties`, `items`, `additionalProperties` or a \
                      definition that those refer to, and not in an alternative or a condition";
        return Err(SchemaFault::new(at, what, remedy));
    }
    if is_right {
        return Ok(());
    }
    Err(SchemaFault::new(at, format!("`{keyword}` has another form"), format!("Write {wanted}")))
}

/// The fields that have a role, with their pointers in a document. `schema` is expanded.
pub(super) fn find_roles(schema: &Value) -> Result<Vec<(FieldRole, String)>, SchemaFault> {
    let mut found = Vec::new();
    collect_roles(schema, "", "", &mut found)?;
    Ok(found)
}

fn collect_roles(
    node: &Value,
    pointer: &str,
    at: &str,
    found: &mut Vec<(FieldRole, String)>,
) -> Result<(), SchemaFault> {
    // A role that is not known is that of a later botops.
    if let Ok(role) = serde_json::from_value::<FieldRole>(node["x-role"].clone()) {
        if found.iter().any(|(known, _)| *known == role) {
            let what = format!("another field has the role `{role}` already");
            return Err(SchemaFault::new(&format!("{at}/x-role"), what, "Give each role to one field"));
        }
        found.push((role, pointer.to_owned()));
    }
    for (name, field) in node["properties"].as_object().into_iter().flatten() {
        let name = escaped(name);
        collect_roles(field, &format!("{pointer}/{name}"), &format!("{at}/properties/{name}"), found)?;
    }
    Ok(())
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
