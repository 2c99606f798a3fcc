//! The bot's schema, and what it says of single fields under `x-…`.

use std::borrow::Cow;

use botops_contract::{Amount, CheckVerdict, ConfigViolation};
use botops_core::exact_number::whole_number;
use serde_json::{Map, Value};

use super::json_values::{changed_pointers, child_pointer, pointer_parts, put_at};
use super::schema_mistakes::check_schema;
use super::schema_parts::{DEEPEST, SchemaParts};
use super::schema_violations::{schema_violations, violation};

/// A schema that holds.
#[derive(Debug)]
pub(super) struct ConfigSchema {
    text: String,
    parts: SchemaParts,
}

impl ConfigSchema {
    /// Takes a schema. A mistake in it is found here, and not in the middle of a change.
    ///
    /// # Errors
    /// One sentence that names what is wrong with it.
    pub(super) fn new(schema: Value) -> Result<Self, String> {
        if !schema.get("properties").is_some_and(Value::is_object) {
            return Err("a config schema is a JSON Schema with `properties`".to_owned());
        }
        check_schema(&schema)?;
        Ok(Self { text: schema.to_string(), parts: SchemaParts::new(schema)? })
    }

    /// The schema as it is served.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Every reason of the schema against a document.
    pub(super) fn violations(&self, document: &Value) -> Vec<ConfigViolation> {
        schema_violations(&self.parts, document)
    }

    /// The answer to a check of a document that was assessed: what would change, and when that takes effect.
    pub(super) fn verdict(
        &self,
        running: &Value,
        document: &Value,
        (mut violations, warnings): (Vec<ConfigViolation>, Vec<ConfigViolation>),
    ) -> CheckVerdict {
        let changes = if document.is_object() { changed_pointers(running, document) } else { Vec::new() };
        let (mut hot, mut restart) = (Vec::new(), Vec::new());
        for pointer in changes {
            match self.mark(&pointer, "x-apply").as_ref().and_then(Value::as_str) {
                Some("restart") => restart.push(pointer),
                Some("never") => {
                    violations.push(violation(&pointer, "not_changeable", "this field cannot be changed"));
                }
                _ => hot.push(pointer),
            }
        }
        if violations.is_empty() {
            return CheckVerdict { ok: true, violations, warnings, hot, restart };
        }
        CheckVerdict { violations, warnings, ..CheckVerdict::default() }
    }

    /// The changed fields that are read at the start alone.
    pub(super) fn restart_pointers(&self, booted: &Value, other: &Value) -> Vec<String> {
        let mut changed = changed_pointers(booted, other);
        changed.retain(|pointer| self.mark(pointer, "x-apply").is_some_and(|when| when == "restart"));
        changed
    }

    /// The values of a document for this process: fields that are read at the start alone keep the value of the start, and
    /// a whole number is one however it is written.
    pub(super) fn effective_values(&self, booted: &Value, document: &Value) -> Map<String, Value> {
        let mut fitted = document.clone();
        for pointer in self.restart_pointers(booted, document) {
            put_at(&mut fitted, &pointer, booted.pointer(&pointer));
        }
        self.write_integers(&self.parts.root, &mut fitted, 0);
        match fitted {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// The loss of a day at which the bot stops, where a field has that role; at most 0, however it is written.
    pub(super) fn daily_loss_limit(&self, document: &Value) -> Option<Amount> {
        let pointer = self.pointer_of_role(&self.parts.root, "", "daily_loss_limit", 0)?;
        if self.mark(&pointer, "x-secret").is_some_and(|secret| secret == true) {
            return None;
        }
        let written = match document.pointer(&pointer)? {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.trim().to_owned(),
            _ => return None,
        };
        let size = written.trim_start_matches(['-', '+']);
        format!("-{size}").parse().ok()
    }

    /// What the schema says of a field: the innermost part on its path that says something.
    fn mark(&self, pointer: &str, name: &str) -> Option<Value> {
        let mut part = self.parts.resolve(&self.parts.root).into_owned();
        let mut found = part.get(name).cloned();
        for step in pointer_parts(pointer) {
            let is_place = !step.is_empty() && step.bytes().all(|digit| digit.is_ascii_digit());
            let others = if is_place { "items" } else { "additionalProperties" };
            let named = part.get("properties").and_then(|properties| properties.get(&step));
            let Some(inner) = named.or_else(|| part.get(others)).filter(|inner| inner.is_object()) else {
                return found;
            };
            part = self.parts.resolve(inner).into_owned();
            found = part.get(name).cloned().or(found);
        }
        found
    }

    fn pointer_of_role(&self, part: &Value, at: &str, role: &str, depth: usize) -> Option<String> {
        let part = self.parts.resolve(part);
        let Some(properties) = part.get("properties").and_then(Value::as_object).filter(|_| depth < DEEPEST)
        else {
            return (part.get("x-role")? == role).then(|| at.to_owned());
        };
        let mut inner = properties.iter();
        inner.find_map(|(name, inner)| self.pointer_of_role(inner, &child_pointer(at, name), role, depth + 1))
    }

    /// Writes `10.0` as `10` where the schema wants an integer: what reads the values wants one as well.
    fn write_integers(&self, part: &Value, value: &mut Value, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        let part: Cow<'_, Value> = self.parts.resolve(part);
        match value {
            Value::Number(number) if part["type"] == "integer" => {
                if let Some(whole) = whole_number(number) {
                    *value = whole.into();
                }
            }
            Value::Array(items) => {
                items.iter_mut().for_each(|item| self.write_integers(&part["items"], item, depth + 1));
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.write_integers(&part["properties"][name], member, depth + 1);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> ConfigSchema {
        ConfigSchema::new(json!({
            "type": "object",
            "properties": {
                "risk": {"type": "number"},
                "loop": {"type": "object", "x-apply": "restart", "properties": {
                    "interval": {"type": "integer"}, "name": {"type": "string", "x-apply": "hot"}}},
                "exchange": {"type": "string", "x-apply": "never"},
                "limits": {"$ref": "#/$defs/limits"},
            },
            "$defs": {"limits": {"type": "object", "properties": {"day": {"x-role": "daily_loss_limit"}}}},
        }))
        .unwrap()
    }

    #[test]
    fn a_change_says_when_it_takes_effect() {
        let old = json!({"risk": 1, "loop": {"interval": 5, "name": "a"}, "exchange": "x"});
        let new = json!({"risk": 2, "loop": {"interval": 6, "name": "b"}, "exchange": "x"});
        let verdict = schema().verdict(&old, &new, Default::default());
        assert_eq!(
            (verdict.ok, verdict.hot, verdict.restart),
            (true, vec!["/loop/name".to_owned(), "/risk".to_owned()], vec!["/loop/interval".to_owned()])
        );
        let values = schema().effective_values(&old, &new);
        assert_eq!(
            Value::Object(values),
            json!({"risk": 2, "loop": {"interval": 5, "name": "b"}, "exchange": "x"})
        );
        let moved = schema().verdict(&old, &json!({"exchange": "y"}), Default::default());
        assert_eq!((moved.ok, moved.violations[0].code.as_str()), (false, "not_changeable"));
    }

    #[test]
    fn a_limit_of_the_day_is_a_loss_however_it_is_written() {
        for (written, told) in [(json!("500.00"), "-500.00"), (json!(-500), "-500"), (json!("-0.5"), "-0.5")]
        {
            let document = json!({"limits": {"day": written}});
            let limit = schema().daily_loss_limit(&document).unwrap();
            assert_eq!(serde_json::to_value(&limit).unwrap(), told);
        }
        assert_eq!(schema().daily_loss_limit(&json!({"limits": {"day": "soon"}})), None);
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let start = json!({"loop": {"interval": 5}});
        let values = schema().effective_values(&start, &json!({"loop": {"interval": 5.0}, "risk": 1.0}));
        assert_eq!(values["loop"]["interval"].as_u64(), Some(5));
        assert_eq!(values["risk"].to_string(), "1.0");
    }
}
