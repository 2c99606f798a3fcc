//! Values at run time: references are looked up as whole values, conditions are judged.
//!
//! There is no text in which a value could be placed, so nothing that a caller sends can become part of a command,
//! a path or another reference.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::definition::{Operator, Predicate, Weight};

/// Longest pattern, and the memory a compiled one may take.
const PATTERN_MAX: usize = 512;

/// `$params.x.y` or `$steps.id.a.b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reference {
    Params(Vec<String>),
    Step(String, Vec<String>),
}

impl Reference {
    /// `None` when the text is a literal (`$$` stands for a literal `$`).
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
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

/// Whether a reference stands anywhere in the value.
pub(super) fn has_reference(value: &Value) -> bool {
    match value {
        Value::String(text) => Reference::parse(text).is_some(),
        Value::Array(items) => items.iter().any(has_reference),
        Value::Object(members) => members.values().any(has_reference),
        _ => false,
    }
}

/// A value without references, with `$$` read as `$`.
pub(super) fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            Value::String(text.strip_prefix("$$").map_or_else(|| text.clone(), |rest| format!("${rest}")))
        }
        Value::Array(items) => Value::Array(items.iter().map(literal).collect()),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, member)| (name.clone(), literal(member))).collect())
        }
        other => other.clone(),
    }
}

/// `/a/b` as a path.
pub(super) fn pointer(text: &str) -> Option<Vec<String>> {
    let rest = text.strip_prefix('/')?;
    Some(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

/// A pattern that cannot run for ever.
pub(super) fn pattern(text: &str) -> Result<regex::Regex, String> {
    if text.len() > PATTERN_MAX {
        return Err(format!("a pattern may have {PATTERN_MAX} bytes"));
    }
    let built = regex::RegexBuilder::new(text).size_limit(1 << 20).build();
    built.map_err(|_| "this is no pattern that is taken (no look-around, no back-references)".to_owned())
}

/// What references of one run resolve to.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    pub params: Value,
    pub outputs: BTreeMap<String, Value>,
}

impl Values {
    /// The template with every reference replaced by its whole value; what is not there is `null`.
    pub fn resolve(&self, template: &Value) -> Value {
        match template {
            Value::String(text) => match Reference::parse(text) {
                Some(Ok(reference)) => self.look_up(&reference),
                Some(Err(_)) => Value::Null,
                None => literal(template),
            },
            Value::Array(items) => Value::Array(items.iter().map(|item| self.resolve(item)).collect()),
            Value::Object(members) => Value::Object(
                members.iter().map(|(name, member)| (name.clone(), self.resolve(member))).collect(),
            ),
            other => other.clone(),
        }
    }

    /// An action's input: members that came to `null` are left out.
    pub fn input(&self, with: &serde_json::Map<String, Value>) -> Value {
        let resolved = with.iter().map(|(name, template)| (name.clone(), self.resolve(template)));
        Value::Object(resolved.filter(|(_, value)| !value.is_null()).collect())
    }

    fn look_up(&self, reference: &Reference) -> Value {
        let (root, path) = match reference {
            Reference::Params(path) => (Some(&self.params), path),
            Reference::Step(id, path) => (self.outputs.get(id), path),
        };
        root.and_then(|root| walk(root, path)).cloned().unwrap_or_default()
    }

    /// Judges all conditions; `output` is what pointers look into.
    pub fn judge(&self, predicates: &[Predicate], output: &Value) -> Vec<Criterion> {
        predicates.iter().map(|predicate| self.judge_one(predicate, output)).collect()
    }

    fn judge_one(&self, predicate: &Predicate, output: &Value) -> Criterion {
        let actual = if predicate.that.starts_with('$') {
            self.resolve(&Value::String(predicate.that.clone()))
        } else {
            pointer(&predicate.that).and_then(|path| walk(output, &path).cloned()).unwrap_or_default()
        };
        let expected = predicate.value.as_ref().map(|value| self.resolve(value)).unwrap_or_default();
        let met = holds(predicate.is, &actual, &expected, predicate.tolerance.unwrap_or_default());
        Criterion {
            that: predicate.that.clone(),
            is: predicate.is,
            expected,
            actual,
            met,
            hard: predicate.severity == Weight::Hard,
        }
    }
}

/// One expectation with what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = WorkflowCriterion)]
pub struct Criterion {
    /// What was looked at.
    pub that: String,
    /// How it was compared.
    pub is: Operator,
    /// With what.
    pub expected: Value,
    /// What was there; `null` when nothing was.
    pub actual: Value,
    /// Whether it holds.
    pub met: bool,
    /// Whether the step fails when it does not.
    pub hard: bool,
}

/// True when every hard criterion is met.
pub(super) fn all_met(criteria: &[Criterion]) -> bool {
    criteria.iter().all(|criterion| criterion.met || !criterion.hard)
}

fn walk<'a>(root: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(root, |value, part| match value {
        Value::Object(members) => members.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Types must match: a text is never compared with a number.
fn holds(is: Operator, actual: &Value, expected: &Value, tolerance: f64) -> bool {
    let numbers = || Some((actual.as_f64()?, expected.as_f64()?));
    match is {
        Operator::Exists => !actual.is_null(),
        Operator::Absent => actual.is_null(),
        Operator::Eq => match numbers() {
            Some((a, b)) => (a - b).abs() <= tolerance.max(0.0),
            None => actual == expected,
        },
        Operator::Ne => !actual.is_null() && !same(actual, expected),
        Operator::Lt => numbers().is_some_and(|(a, b)| a < b),
        Operator::Le => numbers().is_some_and(|(a, b)| a <= b + tolerance),
        Operator::Gt => numbers().is_some_and(|(a, b)| a > b),
        Operator::Ge => numbers().is_some_and(|(a, b)| a >= b - tolerance),
        Operator::OneOf => expected.as_array().is_some_and(|list| list.iter().any(|item| same(item, actual))),
        Operator::NoneOf => {
            !actual.is_null()
                && expected.as_array().is_some_and(|list| !list.iter().any(|item| same(item, actual)))
        }
        Operator::Matches => match (actual.as_str(), expected.as_str().map(pattern)) {
            (Some(text), Some(Ok(pattern))) => pattern.is_match(text),
            _ => false,
        },
    }
}

/// Equal, with 1 and 1.0 the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 0.0,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(that: &Value, is: Operator, value: &Value, met: bool) {
        assert_eq!(holds(is, that, value, 0.0), met, "{that} {is:?} {value}");
    }

    #[test]
    fn types_must_match() {
        check(&json!(1), Operator::Eq, &json!(1.0), true);
        check(&json!("1"), Operator::Eq, &json!(1), false);
        check(&json!("1"), Operator::Lt, &json!(2), false);
        check(&json!(null), Operator::Ne, &json!(2), false);
        check(&json!(null), Operator::Lt, &json!(2), false);
        check(&json!("ok"), Operator::OneOf, &json!(["ok", "warn"]), true);
        check(&json!(null), Operator::NoneOf, &json!(["ok"]), false);
        check(&json!("ab1"), Operator::Matches, &json!("^[a-z]+[0-9]$"), true);
    }

    #[test]
    fn a_reference_is_a_whole_value_and_nothing_else() {
        let values = Values { params: json!({"x": "$steps.y", "n": {"m": [7]}}), outputs: BTreeMap::new() };
        assert_eq!(values.resolve(&json!("$params.n.m.0")), json!(7));
        // A parameter that looks like a reference stays a text.
        assert_eq!(values.resolve(&json!("$params.x")), json!("$steps.y"));
        assert_eq!(values.resolve(&json!("a $params.x b")), json!("a $params.x b"));
        assert_eq!(values.resolve(&json!("$$params.x")), json!("$params.x"));
        assert!(Reference::parse("$params.a/../b").unwrap().is_err());
        assert!(Reference::parse("$env.HOME").unwrap().is_err());
    }
}
