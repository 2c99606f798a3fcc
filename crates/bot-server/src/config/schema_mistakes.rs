//! What is wrong with a schema itself, said by keyword and field with what would be right.
//!
//! A validator passes over a `maximun` in silence, and of `"type": "float"` it says that each value is wrong: both would
//! cost the bot a limit or its author an evening. botops refuses the same keywords once it reads the schema.

use serde_json::{Map, Value};

use super::json_values::exact_number;
use super::schema_parts::{compile_pattern, walk_schema};

/// Mistakes that are told at once; whoever has more mends these first.
const MOST_TOLD: usize = 5;
/// How alike two words are, from 0 to 1, before one is taken for a slip of the other.
const ALIKE: f64 = 0.7;
/// Characters of a wrong type that are told.
const SHOWN: usize = 40;

const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];
/// What other languages and libraries call a type.
const OTHER_TYPES: [(&str, &[&str]); 7] = [
    ("number", &["float", "double", "decimal", "numeric", "real", "f32", "f64"]),
    ("integer", &["int", "long", "i32", "i64", "u32", "u64", "usize"]),
    ("string", &["str", "text", "date", "datetime"]),
    ("boolean", &["bool"]),
    ("array", &["list", "tuple", "set", "vec"]),
    ("object", &["dict", "map", "mapping", "struct"]),
    ("null", &["none", "nil", "nonetype", "option"]),
];
/// Keywords of other libraries and of older drafts.
const OTHER_KEYWORDS: [(&str, &str); 21] = [
    ("min", "`minimum` (of a number), `minLength` (of a text) or `minItems` (of a list)"),
    ("max", "`maximum` (of a number), `maxLength` (of a text) or `maxItems` (of a list)"),
    ("gt", "`exclusiveMinimum`"),
    ("ge", "`minimum`"),
    ("lt", "`exclusiveMaximum`"),
    ("le", "`maximum`"),
    ("choices", "`enum`"),
    ("options", "`enum`"),
    ("values", "`enum`"),
    ("regex", "`pattern`"),
    ("fields", "`properties`"),
    ("help", "`x-help`"),
    ("unit", "`x-unit`"),
    ("optional", "nothing: what `required` does not name is optional"),
    ("nullable", "`\"type\": [\"number\", \"null\"]`, with its own type"),
    ("definitions", "`$defs`"),
    ("prefixItems", "`items`: each item has the same schema"),
    ("unevaluatedProperties", "`additionalProperties`"),
    ("dependentSchemas", "`if` and `then`"),
    ("dependencies", "`dependentRequired`"),
    ("$dynamicRef", "`$ref`"),
];

/// What the value of a keyword has to be.
#[derive(Debug, Clone, Copy)]
enum KeywordForm {
    Anything,
    Number,
    NumberItself,
    PositiveNumber,
    Size,
    Text,
    Flag,
    Schema,
    SchemaList,
    Fields,
    ValueList,
    Names,
    NamesByName,
    List,
    Apply,
    Risk,
}

const KEYWORDS: [(KeywordForm, &[&str]); 16] = [
    (KeywordForm::Number, &["minimum", "maximum", "x-warn-above", "x-warn-below"]),
    (KeywordForm::NumberItself, &["exclusiveMinimum", "exclusiveMaximum"]),
    (KeywordForm::PositiveNumber, &["multipleOf"]),
    (
        KeywordForm::Size,
        &[
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "minContains",
            "maxContains",
        ],
    ),
    (
        KeywordForm::Text,
        &[
            "pattern",
            "format",
            "$ref",
            "$schema",
            "$id",
            "$comment",
            "title",
            "description",
            "x-role",
            "x-unit",
            "x-help",
            "x-list-key",
        ],
    ),
    (KeywordForm::Flag, &["uniqueItems", "deprecated", "readOnly", "writeOnly", "x-secret"]),
    (
        KeywordForm::Schema,
        &["items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"],
    ),
    (KeywordForm::SchemaList, &["allOf", "anyOf", "oneOf"]),
    (KeywordForm::Fields, &["properties", "patternProperties", "$defs"]),
    (KeywordForm::ValueList, &["enum"]),
    (KeywordForm::Names, &["required"]),
    (KeywordForm::NamesByName, &["dependentRequired"]),
    (KeywordForm::List, &["examples"]),
    (KeywordForm::Anything, &["const", "default"]),
    (KeywordForm::Apply, &["x-apply"]),
    (KeywordForm::Risk, &["x-risk"]),
];

/// Says that a schema holds.
///
/// # Errors
/// One sentence, which names each keyword that is none or has no value for it, its field, and what would be right.
pub(super) fn check_schema(root: &Value) -> Result<(), String> {
    let mut found = Vec::new();
    walk_schema(root, &mut |at, part| {
        let place = if at.is_empty() { "of the whole config".to_owned() } else { format!("of `{at}`") };
        found.extend(mistakes_of(part).map(|(name, wrong)| format!("`{name}` {place} {wrong}")));
    });
    if found.is_empty() {
        return Ok(());
    }
    let further = found.len().saturating_sub(MOST_TOLD);
    let more = if further > 0 { format!("; and {further} more") } else { String::new() };
    found.truncate(MOST_TOLD);
    Err(format!("the config schema is not JSON Schema 2020-12: {}{more}", found.join("; ")))
}

fn mistakes_of(part: &Map<String, Value>) -> impl Iterator<Item = (&String, String)> {
    part.iter().flat_map(|(name, value)| {
        let wrong = if name == "type" {
            mistakes_of_type(value)
        } else {
            mistake_of_keyword(name, value).into_iter().collect()
        };
        wrong.into_iter().map(move |wrong| (name, wrong))
    })
}

fn mistake_of_keyword(name: &str, value: &Value) -> Option<String> {
    let form = KEYWORDS.iter().find(|(_, names)| names.contains(&name)).map(|(form, _)| *form);
    let Some(form) = form else {
        let is_own = name.starts_with("x-");
        return (!is_own).then(|| format!("is no keyword of a config schema: {}", right_keyword(name)));
    };
    if !form.fits(value) {
        return Some(format!("has no value for it: write {}", form.wanted()));
    }
    let patterns: Vec<&str> = match name {
        "pattern" => value.as_str().into_iter().collect(),
        "patternProperties" => {
            value.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect()
        }
        _ => Vec::new(),
    };
    let wrong = patterns.into_iter().find_map(|pattern| compile_pattern(pattern).err());
    wrong.map(|error| format!("is no regular expression: {error}"))
}

impl KeywordForm {
    fn fits(self, value: &Value) -> bool {
        let is_text_list =
            |value: &Value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
        match self {
            Self::Anything => true,
            Self::Number | Self::NumberItself => value.is_number(),
            Self::PositiveNumber => exact_number(value).is_some_and(|one| one > Default::default()),
            Self::Size => {
                value.as_u64().is_some() || value.as_f64().is_some_and(|one| one >= 0.0 && one.fract() == 0.0)
            }
            Self::Text => value.is_string(),
            Self::Flag => value.is_boolean(),
            Self::Schema => is_schema(value),
            Self::SchemaList => {
                value.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(is_schema))
            }
            Self::Fields => value.as_object().is_some_and(|fields| fields.values().all(is_schema)),
            Self::ValueList => value.as_array().is_some_and(|all| !all.is_empty()),
            Self::Names => is_text_list(value),
            Self::NamesByName => value.as_object().is_some_and(|named| named.values().all(is_text_list)),
            Self::List => value.is_array(),
            Self::Apply => matches!(value.as_str(), Some("hot" | "restart" | "never")),
            Self::Risk => value.is_object(),
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Anything => "any value",
            Self::Number => "a number, not in quotes",
            Self::NumberItself => "a number, which the value itself must not be (true or false was draft 4)",
            Self::PositiveNumber => "a number above 0",
            Self::Size => "a whole number, not in quotes",
            Self::Text => "a text",
            Self::Flag => "true or false",
            Self::Schema => "a schema: an object, true or false",
            Self::SchemaList => "a list of schemas",
            Self::Fields => "an object that names each field with its schema",
            Self::ValueList => "a list of the allowed values",
            Self::Names => "a list of names in the object that has the fields, beside its `properties`",
            Self::NamesByName => "an object of lists of names",
            Self::List => "a list",
            Self::Apply => "one of \"hot\", \"restart\", \"never\"",
            Self::Risk => "an object such as {\"direction\": \"up\", \"class\": \"high\"}",
        }
    }
}

fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

fn mistakes_of_type(value: &Value) -> Vec<String> {
    let types = match value.as_array() {
        Some(types) if !types.is_empty() => types.as_slice(),
        _ => std::slice::from_ref(value),
    };
    let wrong = types.iter().filter(|one| !one.as_str().is_some_and(|name| TYPES.contains(&name)));
    let told = wrong.map(|one| {
        let (named, near) = one.as_str().map_or(("not even a text", None), |name| (name, right_type(name)));
        let all = TYPES.join(", ");
        let wanted = near.map_or_else(
            || format!("write one of {all}"),
            |near| format!("write \"{near}\" (the types are {all})"),
        );
        let named: String = named.chars().take(SHOWN).collect();
        format!("is \"{named}\", which is no type of JSON: {wanted}")
    });
    told.collect()
}

fn right_type(name: &str) -> Option<&'static str> {
    let word = name.trim().to_lowercase();
    let exact = TYPES.into_iter().find(|one| *one == word);
    let other = OTHER_TYPES.iter().find(|(_, names)| names.contains(&word.as_str())).map(|(right, _)| *right);
    exact.or(other).or_else(|| nearest(&word, TYPES.into_iter()))
}

fn right_keyword(name: &str) -> String {
    if let Some((_, right)) = OTHER_KEYWORDS.iter().find(|(other, _)| *other == name) {
        return format!("write {right}");
    }
    let known = KEYWORDS.iter().flat_map(|(_, names)| names.iter().copied());
    match nearest(name, known.chain(["type"])) {
        Some(near) => format!("write `{near}`, or leave it out"),
        None => "leave it out; a keyword of your own begins with `x-`".to_owned(),
    }
}

/// The word that is most like this one, if it is like it at all.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = known.map(|one| (strsim::normalized_damerau_levenshtein(word, one), one));
    let best = alike.max_by(|one, two| one.0.total_cmp(&two.0));
    best.filter(|(alike, _)| *alike >= ALIKE).map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn said(schema: &Value, parts: &[&str]) {
        let said = check_schema(schema).unwrap_err();
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    fn with_field(keywords: &Value) -> Value {
        json!({"type": "object", "properties": {"risk": keywords}})
    }

    #[test]
    fn a_type_that_is_none_is_named_with_its_field_and_the_right_one() {
        for (wrong, right) in [
            ("float", "number"),
            ("f64", "number"),
            ("int", "integer"),
            ("str", "string"),
            ("bool", "boolean"),
            ("dict", "object"),
            ("list", "array"),
            ("Number", "number"),
            ("nubmer", "number"),
            ("None", "null"),
        ] {
            let told =
                format!("`type` of `/risk` is \"{wrong}\", which is no type of JSON: write \"{right}\"");
            said(&with_field(&json!({"type": wrong})), &[&told]);
        }
        said(&with_field(&json!({"type": ["float", "null"]})), &["write \"number\""]);
        for none in [json!("money"), json!([])] {
            said(&with_field(&json!({"type": none})), &["write one of string, number"]);
        }
    }

    #[test]
    fn a_keyword_that_is_none_is_named_with_the_right_one() {
        for (wrong, right) in [
            ("maximun", "`maximum`"),
            ("min", "`minimum` (of a number)"),
            ("choices", "`enum`"),
            ("regex", "`pattern`"),
            ("nullable", "\"null\""),
            ("wording", "leave it out"),
        ] {
            let told = format!("`{wrong}` of `/risk` is no keyword of a config schema");
            said(&with_field(&json!({"type": "number", wrong: true})), &[&told, right]);
        }
    }

    #[test]
    fn a_keyword_without_a_value_for_it_is_named() {
        for (keyword, value, right) in [
            ("minimum", json!("5"), "a number"),
            ("minimum", json!(true), "a number"),
            ("exclusiveMinimum", json!(true), "draft 4"),
            ("required", json!(true), "a list of names"),
            ("enum", json!("a"), "a list"),
            ("minLength", json!(-1), "a whole number"),
            ("additionalProperties", json!("no"), "true or false"),
            ("items", json!([{}]), "a schema"),
            ("x-apply", json!("Hot"), "\"hot\""),
            ("x-secret", json!("yes"), "true or false"),
            ("pattern", json!("("), "regular expression"),
            ("multipleOf", json!(0), "above 0"),
            ("properties", json!([]), "names each field"),
            ("anyOf", json!({}), "a list of schemas"),
        ] {
            said(&with_field(&json!({keyword: value})), &[&format!("`{keyword}` of `/risk`"), right]);
        }
    }

    #[test]
    fn a_mistake_in_the_depth_has_its_place_and_many_are_counted() {
        let inner = json!({"type": "object", "properties": {"size": {"type": "float"}}});
        let schema = json!({
            "properties": {"targets": {"type": "array", "items": inner}, "more": {"anyOf": [inner]}},
            "$defs": {"one": inner},
        });
        said(&schema, &["/targets/items/size", "/more/anyOf/0/size", "/$defs/one/size"]);
        let fields: Map<String, Value> =
            (0..9).map(|at| (format!("f{at}"), json!({"type": "float"}))).collect();
        said(&json!({"properties": fields}), &["and 4 more"]);
    }

    #[test]
    fn what_is_a_value_or_a_name_is_no_keyword() {
        let schema = json!({"properties": {
            "type": {"type": "string"},
            "min": {"type": "number", "x-own": {"type": "float"}},
            "o": {"default": {"type": "float", "pattern": "("}, "enum": [{"type": "float"}],
                  "examples": [{"min": 1}], "const": {"choices": 1}},
        }});
        check_schema(&schema).unwrap();
    }
}
