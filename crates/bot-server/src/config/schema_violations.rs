//! JSON Schema 2020-12, as far as a bot's config needs it.
//!
//! Numbers are compared by all their digits. No message quotes a value: it may be a secret.

use std::str::FromStr;

use botops_contract::ConfigViolation;
use botops_core::exact_number::ExactNumber;
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::json_values::{child_pointer, exact_number, has_repeated, is_same};
use super::schema_parts::{DEEPEST, SchemaParts};

/// Reasons against one document that are told.
const MOST_VIOLATIONS: usize = 100;
/// Allowed values that a reason lists.
const MOST_LISTED: usize = 20;

/// A reason against a document.
pub(super) fn violation(path: &str, code: &str, message: &str) -> ConfigViolation {
    ConfigViolation { path: path.to_owned(), code: code.to_owned(), message: message.to_owned(), fix: None }
}

/// Every reason of the schema against a document.
pub(super) fn schema_violations(schema: &SchemaParts, document: &Value) -> Vec<ConfigViolation> {
    let mut found = Violations { schema, found: Vec::new() };
    found.check(&schema.root, document, "", 0);
    found.found.truncate(MOST_VIOLATIONS);
    found.found
}

struct Violations<'a> {
    schema: &'a SchemaParts,
    found: Vec<ConfigViolation>,
}

impl Violations<'_> {
    fn add(&mut self, at: &str, code: &str, message: &str) {
        self.found.push(violation(at, code, message));
    }

    fn add_with_fix(&mut self, at: &str, code: &str, message: &str, fix: String) {
        self.found.push(ConfigViolation { fix: Some(fix), ..violation(at, code, message) });
    }

    fn check(&mut self, part: &Value, value: &Value, at: &str, depth: usize) {
        if depth > DEEPEST || self.found.len() >= MOST_VIOLATIONS {
            return;
        }
        if part == false {
            return self.add_with_fix(at, "not_allowed", "there is no such field", "leave it out".to_owned());
        }
        let schema = self.schema;
        let part = schema.resolve(part);
        let Some(part) = part.as_object() else { return };
        let kinds = types_of(part);
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_of(kind, value)) {
            return self.add(at, "wrong_type", &format!("expected {}", kinds.join(" or ")));
        }
        self.check_allowed(part, value, at);
        self.check_number(part, value, at);
        match value {
            Value::String(text) => self.check_text(part, text, at),
            Value::Array(items) => self.check_list(part, items, at, depth),
            Value::Object(members) => self.check_object(part, members, at, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        self.check_combined(part, value, at, depth);
    }

    fn check_allowed(&mut self, part: &Map<String, Value>, value: &Value, at: &str) {
        if let Some(allowed) = part.get("enum").and_then(Value::as_array)
            && !allowed.iter().any(|one| is_same(one, value))
        {
            let listed: Vec<String> = allowed.iter().take(MOST_LISTED).map(Value::to_string).collect();
            let fix = format!("use one of {}", listed.join(", "));
            self.add_with_fix(at, "not_one_of", "the value is none of the allowed ones", fix);
        }
        if let Some(only) = part.get("const")
            && !is_same(only, value)
        {
            self.add_with_fix(at, "not_one_of", "only one value is allowed", format!("use {only}"));
        }
    }

    fn check_number(&mut self, part: &Map<String, Value>, value: &Value, at: &str) {
        let Some(number) = bounded_number(part, value) else { return };
        for (name, words, holds) in LIMITS {
            let Some((written, limit)) =
                part.get(*name).and_then(|limit| exact_number(limit).map(|exact| (limit, exact)))
            else {
                continue;
            };
            if !holds(&number, &limit) {
                let message = format!("the value must be {words} {written}");
                self.add_with_fix(at, "out_of_range", &message, format!("use {words} {written}"));
            }
        }
    }

    fn check_text(&mut self, part: &Map<String, Value>, text: &str, at: &str) {
        let length = text.chars().count();
        if !is_within(part, "minLength", "maxLength", length) {
            return self.add(at, "wrong_length", "the text is too short or too long");
        }
        if let Some(pattern) = part.get("pattern").and_then(Value::as_str)
            && !self.schema.matches(pattern, text)
        {
            self.add(at, "wrong_form", "the text does not have the form that is wanted");
        }
    }

    fn check_list(&mut self, part: &Map<String, Value>, items: &[Value], at: &str, depth: usize) {
        if !is_within(part, "minItems", "maxItems", items.len()) {
            return self.add(at, "wrong_length", "the list has too few or too many items");
        }
        if part.get("uniqueItems") == Some(&Value::Bool(true)) && has_repeated(items) {
            self.add(at, "repeated", "an item is there twice");
        }
        if let Some(wanted) = part.get("contains") {
            let fitting = items.iter().filter(|item| self.fits(wanted, item, depth)).count();
            let is_enough = part.get("minContains").is_some() || fitting > 0;
            if !is_enough || !is_within(part, "minContains", "maxContains", fitting) {
                self.add(
                    at,
                    "wrong_length",
                    "the list has too few or too many items of the form that is wanted",
                );
            }
        }
        if let Some(inner) = part.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.check(inner, item, &format!("{at}/{index}"), depth + 1);
            }
        }
    }

    fn check_object(
        &mut self,
        part: &Map<String, Value>,
        members: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) {
        let required = part.get("required").into_iter();
        let dependent = part.get("dependentRequired").and_then(Value::as_object).into_iter().flatten();
        let dependent = dependent.filter(|(name, _)| members.contains_key(*name)).map(|(_, names)| names);
        for name in required.chain(dependent).filter_map(Value::as_array).flatten().filter_map(Value::as_str)
        {
            if !members.contains_key(name) {
                self.add(&child_pointer(at, name), "missing", "this field is required");
            }
        }
        if !is_within(part, "minProperties", "maxProperties", members.len()) {
            self.add(at, "wrong_length", "too few or too many members");
        }
        let schema = self.schema;
        let properties = part.get("properties").and_then(Value::as_object);
        let patterns = part.get("patternProperties").and_then(Value::as_object);
        for (name, member) in members {
            let at = child_pointer(at, name);
            let named = properties.and_then(|properties| properties.get(name)).into_iter();
            let fitting = patterns.into_iter().flatten();
            let fitting =
                fitting.filter(|(pattern, _)| schema.matches(pattern, name)).map(|(_, inner)| inner);
            let mut inner: Vec<&Value> = named.chain(fitting).collect();
            if inner.is_empty() {
                inner.extend(part.get("additionalProperties"));
            }
            if let Some(names) = part.get("propertyNames")
                && !self.fits(names, &Value::from(name.as_str()), depth)
            {
                self.add(&at, "not_allowed", "the name of this field does not have the form that is wanted");
            }
            for inner in inner {
                self.check(inner, member, &at, depth + 1);
            }
        }
    }

    fn check_combined(&mut self, part: &Map<String, Value>, value: &Value, at: &str, depth: usize) {
        let several = |name: &str| part.get(name).and_then(Value::as_array);
        for inner in several("allOf").into_iter().flatten() {
            self.check(inner, value, at, depth + 1);
        }
        if several("anyOf").is_some_and(|any| !any.iter().any(|inner| self.fits(inner, value, depth))) {
            self.add(at, "no_alternative", "it fits none of the allowed forms");
        }
        if let Some(one) = several("oneOf")
            && one.iter().filter(|inner| self.fits(inner, value, depth)).count() != 1
        {
            self.add(at, "no_alternative", "it does not fit exactly one of the allowed forms");
        }
        if part.get("not").is_some_and(|inner| self.fits(inner, value, depth)) {
            self.add(at, "not_allowed", "it has a form that is not allowed");
        }
        if let Some(condition) = part.get("if") {
            let branch = if self.fits(condition, value, depth) { "then" } else { "else" };
            if let Some(inner) = part.get(branch) {
                self.check(inner, value, at, depth + 1);
            }
        }
    }

    fn fits(&self, part: &Value, value: &Value, depth: usize) -> bool {
        let mut own = Violations { schema: self.schema, found: Vec::new() };
        own.check(part, value, "", depth + 1);
        own.found.is_empty()
    }
}

/// A limit of a number: its keyword, how it is said, and whether a value holds it.
type NumberLimit = (&'static str, &'static str, fn(&ExactNumber, &ExactNumber) -> bool);

const LIMITS: &[NumberLimit] = &[
    ("minimum", "at least", |number, limit| number >= limit),
    ("maximum", "at most", |number, limit| number <= limit),
    ("exclusiveMinimum", "more than", |number, limit| number > limit),
    ("exclusiveMaximum", "less than", |number, limit| number < limit),
    ("multipleOf", "a multiple of", is_multiple),
];

/// What has more than 28 digits is no multiple that could be proven.
fn is_multiple(number: &ExactNumber, of: &ExactNumber) -> bool {
    let decimal = |number: &ExactNumber| Decimal::from_str(&number.to_string()).ok();
    let rest = decimal(number).zip(decimal(of)).and_then(|(number, of)| number.checked_rem(of));
    rest.is_some_and(|rest| rest.is_zero())
}

/// The number that the limits are about. An amount may be written as a text; its limits hold all the same.
fn bounded_number(part: &Map<String, Value>, value: &Value) -> Option<ExactNumber> {
    let may_be_text = part
        .get("type")
        .is_some_and(|kinds| kinds.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "number")));
    match value {
        Value::Number(_) => exact_number(value),
        Value::String(text) if may_be_text => ExactNumber::parse(text),
        _ => None,
    }
}

fn types_of(part: &Map<String, Value>) -> Vec<&str> {
    match part.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|float| float.fract() == 0.0)
        }
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn is_within(part: &Map<String, Value>, least: &str, most: &str, length: usize) -> bool {
    let length = ExactNumber::parse(&length.to_string());
    let limit = |name: &str| part.get(name).and_then(exact_number);
    limit(least).is_none_or(|least| length.as_ref() >= Some(&least))
        && limit(most).is_none_or(|most| length.as_ref() <= Some(&most))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn codes(schema: &Value, document: &Value) -> Vec<(String, String)> {
        let schema = SchemaParts::new(schema.clone()).unwrap();
        let found = schema_violations(&schema, document);
        found.into_iter().map(|one| (one.path, one.code)).collect()
    }

    #[track_caller]
    fn check(field: &Value, takes: &[Value], refuses: &[(Value, &str)]) {
        let schema = json!({"properties": {"a": field}});
        for value in takes {
            assert_eq!(codes(&schema, &json!({"a": value})), [], "{field} takes {value}");
        }
        for (value, code) in refuses {
            let found = codes(&schema, &json!({"a": value}));
            assert_eq!(found, [("/a".to_owned(), (*code).to_owned())], "{field} refuses {value}");
        }
    }

    #[test]
    fn values_are_compared_by_what_they_are_worth() {
        check(
            &json!({"type": "integer"}),
            &[json!(7), json!(7.0)],
            &[(json!(0.5), "wrong_type"), (json!("7"), "wrong_type")],
        );
        check(
            &json!({"enum": [1, "b"]}),
            &[json!(1.0), json!("b")],
            &[(json!(true), "not_one_of"), (json!("1"), "not_one_of")],
        );
        check(&json!({"const": 0.10}), &[json!(0.1)], &[(json!(0.2), "not_one_of")]);
        check(
            &json!({"minimum": 0.001, "maximum": 0.05}),
            &[json!(0.05), json!("text")],
            &[(json!(0.051), "out_of_range")],
        );
        check(&json!({"exclusiveMinimum": 1}), &[json!(1.01)], &[(json!(1), "out_of_range")]);
        check(&json!({"multipleOf": 0.1}), &[json!(0.3), json!(1.2e3)], &[(json!(0.35), "out_of_range")]);
        let amount = json!({"type": ["string", "number"], "maximum": -1});
        check(
            &amount,
            &[json!("-500.00"), json!(-500)],
            &[(json!("500"), "out_of_range"), (json!(0), "out_of_range")],
        );
    }

    #[test]
    fn texts_and_lists_have_their_lengths_and_forms() {
        check(
            &json!({"minLength": 2, "maxLength": 3}),
            &[json!("äö"), json!(1)],
            &[(json!("a"), "wrong_length")],
        );
        let slow = json!({"type": "string", "maxLength": 10, "pattern": "^(a+)+$"});
        check(
            &slow,
            &[json!("aaa")],
            &[(json!("aab"), "wrong_form"), (json!("a".repeat(100)), "wrong_length")],
        );
        check(
            &json!({"maxItems": 1, "uniqueItems": true}),
            &[json!([1])],
            &[(json!([1, 1]), "wrong_length")],
        );
        check(&json!({"uniqueItems": true}), &[json!([1, true])], &[(json!([1, 1.0]), "repeated")]);
        let contains = json!({"contains": {"const": 1}});
        check(&contains, &[json!([2, 1])], &[(json!([2]), "wrong_length"), (json!([]), "wrong_length")]);
        check(
            &json!({"contains": {"const": 1}, "minContains": 0, "maxContains": 1}),
            &[json!([])],
            &[(json!([1, 1]), "wrong_length")],
        );
    }

    #[test]
    fn forms_are_combined() {
        check(
            &json!({"anyOf": [{"type": "string"}, {"minimum": 3}]}),
            &[json!("a"), json!(3)],
            &[(json!(2), "no_alternative")],
        );
        check(
            &json!({"oneOf": [{"minimum": 1}, {"minimum": 3}]}),
            &[json!(2)],
            &[(json!(3), "no_alternative")],
        );
        check(&json!({"not": {"type": "null"}}), &[json!(1)], &[(json!(null), "not_allowed")]);
        let branches = json!({"if": {"type": "number"}, "then": {"minimum": 1}, "else": {"minLength": 1}});
        check(&branches, &[json!(1), json!("a")], &[(json!(0), "out_of_range"), (json!(""), "wrong_length")]);
    }

    #[test]
    fn members_are_looked_at_by_name_pattern_and_reference() {
        let schema = json!({
            "required": ["a", "b/c"],
            "dependentRequired": {"x_1": ["y"]},
            "propertyNames": {"maxLength": 4},
            "additionalProperties": false,
            "properties": {"a": {"$ref": "#/$defs/size", "maximum": 9}},
            "patternProperties": {"^x_": {"type": "integer"}},
            "$defs": {"size": {"type": "number", "maximum": 5}},
        });
        let found = codes(&schema, &json!({"a": 10, "x_1": "no", "more!": 1}));
        let expected = [
            ("/b~1c", "missing"),
            ("/y", "missing"),
            ("/a", "out_of_range"),
            ("/more!", "not_allowed"),
            ("/more!", "not_allowed"),
            ("/x_1", "wrong_type"),
        ];
        let mut found: Vec<(&str, &str)> =
            found.iter().map(|(path, code)| (path.as_str(), code.as_str())).collect();
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert!(SchemaParts::new(json!({"properties": {"a": {"$ref": "#/$defs/none"}}})).is_err());
    }

    #[test]
    fn a_schema_that_refers_to_itself_and_a_long_list_of_reasons_end() {
        assert_eq!(codes(&json!({"$ref": "#"}), &json!({"a": 1})), []);
        let tree = json!({"type": "object", "additionalProperties": {"$ref": "#"}});
        assert_eq!(codes(&tree, &json!({"a": {"b": 1}})), [("/a/b".to_owned(), "wrong_type".to_owned())]);
        let texts = json!({"properties": {"all": {"items": {"type": "string"}}}});
        assert_eq!(codes(&texts, &json!({"all": vec![1; 10_000]})).len(), MOST_VIOLATIONS);
    }
}
