//! References of a workflow file, and the values they stand for during a run.
//!
//! A reference stands for a whole value and is never inserted into a text, so nothing that a caller sends can become
//! part of a command, a path or another reference.

use std::collections::BTreeMap;

use serde_json::Value;

/// A reference: `$params.x.y` or `$steps.id.a.b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ValueReference {
    Params(Vec<String>),
    Step(String, Vec<String>),
}

impl ValueReference {
    /// Parses a text; `None` when it is a literal (`$$` stands for a literal `$`).
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let body = text.strip_prefix('$').filter(|body| !body.starts_with('$'))?;
        let mut parts = body.split('.').map(str::to_owned);
        let root = parts.next().unwrap_or_default();
        let rest: Vec<String> = parts.collect();
        let plain = |part: &String| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        };
        let parsed = match root.as_str() {
            "params" if rest.iter().all(plain) && !rest.is_empty() => Ok(Self::Params(rest)),
            "steps" if rest.iter().all(plain) && !rest.is_empty() => {
                let mut rest = rest.into_iter();
                let id = rest.next().unwrap_or_default();
                Ok(Self::Step(id, rest.collect()))
            }
            _ => Err(format!(
                "`{}` is no reference; write $params.name, $steps.id.field, or $$ for a text that begins with $",
                botops_core::text::clean(text, 80)
            )),
        };
        Some(parsed)
    }
}

/// Whether the value contains a reference at any depth.
pub(crate) fn has_reference(value: &Value) -> bool {
    match value {
        Value::String(text) => ValueReference::parse(text).is_some(),
        Value::Array(items) => items.iter().any(has_reference),
        Value::Object(members) => members.values().any(has_reference),
        _ => false,
    }
}

/// The value of a literal, with `$$` read as `$`.
pub(crate) fn unescape_literal(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            Value::String(text.strip_prefix("$$").map_or_else(|| text.clone(), |rest| format!("${rest}")))
        }
        Value::Array(items) => Value::Array(items.iter().map(unescape_literal).collect()),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, member)| (name.clone(), unescape_literal(member))).collect(),
        ),
        other => other.clone(),
    }
}

/// The segments of a pointer such as `/a/b`.
pub(crate) fn parse_pointer(text: &str) -> Option<Vec<String>> {
    let rest = text.strip_prefix('/')?;
    Some(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

/// The values that references of one run stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunValues {
    pub(crate) params: Value,
    pub(crate) outputs: BTreeMap<String, Value>,
}

impl RunValues {
    /// The template with every reference replaced by its value; a missing value becomes `null`.
    pub(crate) fn resolve(&self, template: &Value) -> Value {
        match template {
            Value::String(text) => match ValueReference::parse(text) {
                Some(Ok(reference)) => self.resolve_reference(&reference),
                Some(Err(_)) => Value::Null,
                None => unescape_literal(template),
            },
            Value::Array(items) => Value::Array(items.iter().map(|item| self.resolve(item)).collect()),
            Value::Object(members) => Value::Object(
                members.iter().map(|(name, member)| (name.clone(), self.resolve(member))).collect(),
            ),
            other => other.clone(),
        }
    }

    /// An action's input: members that became `null` are left out.
    pub(crate) fn resolve_input(&self, with: &serde_json::Map<String, Value>) -> Value {
        let resolved = with.iter().map(|(name, template)| (name.clone(), self.resolve(template)));
        Value::Object(resolved.filter(|(_, value)| !value.is_null()).collect())
    }

    /// Whether every reference in the template leads to parameters or to a step whose output is known, that member of it
    /// included: a foreseen output lacks those that nobody can foresee.
    pub(crate) fn knows(&self, template: &Value) -> bool {
        match template {
            Value::String(text) => match ValueReference::parse(text) {
                Some(Ok(ValueReference::Step(id, path))) => self.outputs.get(&id).is_some_and(|output| {
                    let member = path.first().zip(output.as_object());
                    member.is_none_or(|(name, members)| members.contains_key(name))
                }),
                _ => true,
            },
            Value::Array(items) => items.iter().all(|item| self.knows(item)),
            Value::Object(members) => members.values().all(|member| self.knows(member)),
            _ => true,
        }
    }

    fn resolve_reference(&self, reference: &ValueReference) -> Value {
        let (root, path) = match reference {
            ValueReference::Params(path) => (Some(&self.params), path),
            ValueReference::Step(id, path) => (self.outputs.get(id), path),
        };
        root.and_then(|root| value_at(root, path)).cloned().unwrap_or_default()
    }
}

/// The member of `root` at `path`, if there is one.
pub(crate) fn value_at<'a>(root: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(root, |value, part| match value {
        Value::Object(members) => members.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_is_a_whole_value_and_nothing_else() {
        let values =
            RunValues { params: json!({"x": "$steps.y", "n": {"m": [7]}}), outputs: BTreeMap::new() };
        assert_eq!(values.resolve(&json!("$params.n.m.0")), json!(7));
        // A parameter whose text looks like a reference stays a text.
        assert_eq!(values.resolve(&json!("$params.x")), json!("$steps.y"));
        assert_eq!(values.resolve(&json!("a $params.x b")), json!("a $params.x b"));
        assert_eq!(values.resolve(&json!("$$params.x")), json!("$params.x"));
        assert!(ValueReference::parse("$params.a/../b").unwrap().is_err());
        assert!(ValueReference::parse("$env.HOME").unwrap().is_err());
    }
}
