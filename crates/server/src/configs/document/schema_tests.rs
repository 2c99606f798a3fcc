//! What a schema of a bot may be, and what it finds wrong with documents.

use botops_contract::FieldRole;
use serde_json::{Value, json};

use super::paperbot_config::{default_document, paperbot_schema};
use super::schema::ConfigSchema;

#[track_caller]
fn finds(change: impl FnOnce(&mut Value), pointer: &str, rule: &str) {
    let mut document = default_document();
    change(&mut document);
    let findings = paperbot_schema().check(&document);
    assert!(
        findings.iter().any(|finding| finding.pointer == pointer && finding.rule == rule),
        "{findings:?}"
    );
}

#[test]
fn the_default_document_is_valid() {
    assert_eq!(paperbot_schema().check(&default_document()), vec![]);
}

#[test]
fn every_kind_of_mistake_is_found_at_its_place() {
    let risk = "/risk_management";
    finds(
        |d| d["risk_management"]["risk_per_trade"] = json!(0.5),
        &format!("{risk}/risk_per_trade"),
        "maximum",
    );
    finds(
        |d| d["risk_management"]["risk_per_trade"] = json!("0.02"),
        &format!("{risk}/risk_per_trade"),
        "type",
    );
    let loss = json!("-0.50");
    finds(
        |d| d["risk_management"]["daily_loss_limit"] = loss,
        &format!("{risk}/daily_loss_limit"),
        "maximum",
    );
    finds(|d| d["risk_managment"] = json!({}), "/risk_managment", "additionalProperties");
    finds(|d| drop(d.as_object_mut().unwrap().remove("trading")), "/trading", "required");
}

#[test]
fn an_unknown_field_is_named_with_a_near_one_and_without_its_value() {
    let mut document = default_document();
    document["trading"]["max_trades_per_dya"] = json!("hunter2");
    let findings = paperbot_schema().check(&document);
    assert!(findings[0].fix.contains("max_trades_per_day"), "{findings:?}");
    assert!(!format!("{findings:?}").contains("hunter2"));
}

#[test]
fn every_mistake_says_what_to_write_instead() {
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["a"], "properties": {
        "a": {"type": "number", "minimum": 1, "maximum": 2},
        "b": {"type": "string", "enum": ["x", "y"]},
        "c": {"type": "integer", "description": "How many."},
        "d": {"type": "boolean"}, "e": {"type": "number", "x-help": ""}}});
    let schema = ConfigSchema::compile(&schema.to_string()).unwrap();
    for document in [
        json!({}),
        json!({"a": 3}),
        json!({"a": "x"}),
        json!({"a": 1, "b": "z"}),
        json!({"a": 1, "c": 1.5}),
        json!({"a": 1, "d": 1}),
        json!({"a": 1, "e": null}),
        json!({"a": 1, "f": 1}),
        json!([]),
    ] {
        let findings = schema.check(&document);
        assert!(!findings.is_empty(), "{document}");
        for finding in findings {
            let is_told = finding.fix.starts_with("Write ") || finding.fix.contains("emove it");
            assert!((is_told || finding.fix.starts_with("Add ")) && finding.fix.len() > 8, "{finding:?}");
        }
    }
}

#[test]
fn without_a_schema_there_is_one_for_reads() {
    for any in [true, false] {
        let findings = ConfigSchema::without_fields(any).check(&json!({"a": 1}));
        assert_eq!(findings.is_empty(), any);
    }
}

#[test]
fn roles_lead_to_their_fields() {
    let schema = paperbot_schema();
    let pointer = |role| schema.pointer_of(role);
    assert_eq!(pointer(FieldRole::DailyLossLimit), Some("/risk_management/daily_loss_limit"));
    assert_eq!(pointer(FieldRole::EquityLossLimit), Some("/circuit_breaker_thresholds/daily_loss"));
    assert_eq!(pointer(FieldRole::Targets), Some("/targets"));
}

/// A schema that cannot be used, the place of what is wrong, and a part of what is said.
#[track_caller]
fn refuses(schema: &Value, pointer: &str, what: &str) {
    let fault = ConfigSchema::compile(&schema.to_string()).unwrap_err();
    assert!(fault.pointer == pointer && fault.to_string().contains(what), "{fault:?}");
}

/// An object with one field.
fn one_field(field: &Value) -> Value {
    json!({"type": "object", "properties": {"a": field}})
}

#[test]
fn what_cannot_be_worked_with_is_named_with_its_place() {
    refuses(&json!([]), "", "an object or a boolean");
    refuses(&json!({"type": "array"}), "/type", "not an object");
    refuses(&one_field(&json!({"maximun": 1})), "/properties/a/maximun", "`maximum`");
    for (word, place, said) in [
        (json!("numbr"), "", "`\"number\"`"),
        (json!("float"), "", "`float` is no type of JSON Schema, which has `string`, `number`,"),
        (json!("float"), "", "`\"number\"`, which is most likely meant"),
        (json!("Int"), "", "`\"integer\"`"),
        (json!(["string", "none"]), "/1", "`\"null\"`"),
        (json!({"anyOf": []}), "", "an object"),
        (json!("whatever"), "", "Write one of them"),
        (json!(3), "", "`3` is no type"),
        (json!([]), "", "a list"),
    ] {
        refuses(&one_field(&json!({ "type": word })), &format!("/properties/a/type{place}"), said);
    }
    // Also where it is no field of its own.
    let alternative = json!({"anyOf": [{"type": "bool"}, {"type": "null"}]});
    refuses(&one_field(&alternative), "/properties/a/anyOf/0/type", "`\"boolean\"`");
    refuses(&one_field(&json!({"x-apply": "later"})), "/properties/a/x-apply", "`restart`");
    refuses(&one_field(&json!({"x-risk": {"direction": "up"}})), "/properties/a/x-risk", "`class`");
    refuses(&one_field(&json!({"pattern": "(?=a)"})), "/properties/a/pattern", "look-around");
    refuses(&one_field(&json!({"$id": "urn:x"})), "/properties/a/$id", "root");
    let hidden = json!({"anyOf": [{"type": "string", "x-secret": true}, {"type": "null"}]});
    refuses(&one_field(&hidden), "/properties/a/anyOf/0/x-secret", "where it is not read");
    refuses(&one_field(&json!({"x-secret": true, "enum": ["hunter2"]})), "/properties/a", "listed");
    let beside = json!({"$ref": "#/$defs/b", "properties": {"c": {}}});
    refuses(&one_field(&beside), "/properties/a", "beside a reference");
    let twice = json!({"type": "object", "properties":
        {"a": {"x-role": "targets"}, "b": {"x-role": "targets"}}});
    refuses(&twice, "/properties/b/x-role", "already");
}

#[test]
fn a_hostile_schema_is_refused_before_it_can_do_harm() {
    for reference in
        ["http://127.0.0.1:1/x", "file:///etc/passwd", "#", "#/properties/a", "other.json", "#/$defs/%61"]
    {
        refuses(&one_field(&json!({"$ref": reference})), "/properties/a/$ref", "nothing is fetched");
    }
    let looped = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}},
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}});
    refuses(&looped, "/$defs/a/$ref", "itself");
    let mut definitions = serde_json::Map::new();
    for level in 0..14 {
        let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
        definitions.insert(format!("l{level}"), json!({"properties": {"a": next, "b": next}}));
    }
    definitions.insert("l14".to_owned(), json!({"type": "number"}));
    let doubled =
        json!({"type": "object", "$defs": definitions, "properties": {"a": {"$ref": "#/$defs/l0"}}});
    assert!(ConfigSchema::compile(&doubled.to_string()).unwrap_err().what.contains("5000"));
    let deep = |levels: usize| {
        format!("{}{{}}{}", "{\"type\":\"object\",\"properties\":{\"a\":".repeat(levels), "}}".repeat(levels))
    };
    assert!(ConfigSchema::compile(&deep(40)).unwrap_err().what.contains("32 levels"));
    assert!(ConfigSchema::compile(&deep(20_000)).is_err());
    let large = format!("{{\"type\": \"object\", \"title\": \"{}\"}}", "x".repeat(5_000_000));
    assert!(ConfigSchema::compile(&large).unwrap_err().what.contains("bytes"));
    refuses(&one_field(&json!({"pattern": "(((a{1000}){1000}){1000})"})), "/properties/a/pattern", "memory");
}

#[test]
fn a_pattern_that_would_blow_up_takes_no_longer_than_its_text() {
    let schema = one_field(&json!({"type": "string", "pattern": "^(a+)+$"}));
    let schema = ConfigSchema::compile(&schema.to_string()).unwrap();
    assert_eq!(schema.check(&json!({"a": format!("{}!", "a".repeat(200_000))})).len(), 1);
}

#[test]
fn what_a_reference_names_is_said_of_the_field() {
    let schema = json!({"type": "object", "properties": {
        "key": {"$ref": "#/$defs/key", "x-unit": "text", "x-secret": false}},
        "$defs": {"key": {"type": "string", "minLength": 3, "x-secret": true, "x-unit": "none"}},
        "default": {"key": "hunter2"}});
    let schema = ConfigSchema::compile(&schema.to_string()).unwrap();
    assert_eq!(schema.at("/key").unwrap()["x-unit"], "text");
    assert!(!schema.served.contains("hunter2"), "{}", schema.served);
    let findings = schema.check(&json!({"key": "hu"}));
    assert_eq!((findings[0].rule.as_str(), findings[0].got.as_str()), ("minLength", Some("*****")));
}
