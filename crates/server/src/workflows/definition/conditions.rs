//! Conditions of steps: an actual value compared with an expected one.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::file::{ConditionOperator, ConditionSeverity, StepCondition};
use super::references::{RunValues, parse_pointer, value_at};

/// Bytes of the longest pattern; the size of the compiled one is limited as well.
const PATTERN_MAX: usize = 512;

/// An expectation and the value that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowCriterion {
    /// The reference to the value that was compared.
    pub that: String,
    /// The operator of the comparison.
    pub is: ConditionOperator,
    /// The value it was compared with.
    pub expected: Value,
    /// The value that was found; `null` when there was none.
    pub actual: Value,
    /// Whether the expectation holds.
    pub met: bool,
    /// Whether the step fails when the expectation is not met.
    pub hard: bool,
}

/// Evaluates each condition; pointers refer to `output`.
pub(crate) fn evaluate_conditions(
    conditions: &[StepCondition],
    values: &RunValues,
    output: &Value,
) -> Vec<WorkflowCriterion> {
    conditions.iter().map(|condition| evaluate_condition(condition, values, output)).collect()
}

/// How the conditions of a step will turn out, as far as that can be told beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConditionOutlook {
    Holds,
    Fails,
    /// It depends on what is not known yet.
    Open,
}

/// Foresees `when` conditions; references to outputs that are not known yet leave them open.
pub(crate) fn foresee_conditions(conditions: &[StepCondition], values: &RunValues) -> ConditionOutlook {
    let is_known = |condition: &&StepCondition| {
        values.knows(&Value::String(condition.that.clone()))
            && condition.value.as_ref().is_none_or(|value| values.knows(value))
    };
    let known: Vec<StepCondition> = conditions.iter().filter(is_known).cloned().collect();
    if !all_met(&evaluate_conditions(&known, values, &Value::Null)) {
        ConditionOutlook::Fails
    } else if known.len() < conditions.len() {
        ConditionOutlook::Open
    } else {
        ConditionOutlook::Holds
    }
}

/// Whether every hard criterion is met.
pub(crate) fn all_met(criteria: &[WorkflowCriterion]) -> bool {
    criteria.iter().all(|criterion| criterion.met || !criterion.hard)
}

fn evaluate_condition(condition: &StepCondition, values: &RunValues, output: &Value) -> WorkflowCriterion {
    let actual = if condition.that.starts_with('$') {
        values.resolve(&Value::String(condition.that.clone()))
    } else {
        parse_pointer(&condition.that).and_then(|path| value_at(output, &path).cloned()).unwrap_or_default()
    };
    let expected = condition.value.as_ref().map(|value| values.resolve(value)).unwrap_or_default();
    let met = is_met(condition.is, &actual, &expected, condition.tolerance.unwrap_or_default());
    WorkflowCriterion {
        that: condition.that.clone(),
        is: condition.is,
        expected,
        actual,
        met,
        hard: condition.severity == ConditionSeverity::Hard,
    }
}

/// Types must match: a text is never compared with a number.
fn is_met(is: ConditionOperator, actual: &Value, expected: &Value, tolerance: f64) -> bool {
    let numbers = || Some((actual.as_f64()?, expected.as_f64()?));
    match is {
        ConditionOperator::Exists => !actual.is_null(),
        ConditionOperator::Absent => actual.is_null(),
        ConditionOperator::Eq => match numbers() {
            Some((a, b)) => (a - b).abs() <= tolerance.max(0.0),
            None => actual == expected,
        },
        ConditionOperator::Ne => !actual.is_null() && !is_same(actual, expected),
        ConditionOperator::Lt => numbers().is_some_and(|(a, b)| a < b),
        ConditionOperator::Le => numbers().is_some_and(|(a, b)| a <= b + tolerance),
        ConditionOperator::Gt => numbers().is_some_and(|(a, b)| a > b),
        ConditionOperator::Ge => numbers().is_some_and(|(a, b)| a >= b - tolerance),
        ConditionOperator::OneOf => {
            expected.as_array().is_some_and(|list| list.iter().any(|item| is_same(item, actual)))
        }
        ConditionOperator::NoneOf => {
            !actual.is_null()
                && expected.as_array().is_some_and(|list| !list.iter().any(|item| is_same(item, actual)))
        }
        ConditionOperator::Matches => match (actual.as_str(), expected.as_str().map(compile_pattern)) {
            (Some(text), Some(Ok(pattern))) => pattern.is_match(text),
            _ => false,
        },
    }
}

/// Equality in which 1 and 1.0 are the same number.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 0.0,
        _ => a == b,
    }
}

/// Compiles a pattern with limits on its length and its memory, which bounds its running time.
pub(crate) fn compile_pattern(text: &str) -> Result<regex::Regex, String> {
    if text.len() > PATTERN_MAX {
        return Err(format!("a pattern may have {PATTERN_MAX} bytes"));
    }
    let built = regex::RegexBuilder::new(text).size_limit(1 << 20).build();
    built.map_err(|_| "this is no pattern that is taken (no look-around, no back-references)".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(that: &Value, is: ConditionOperator, value: &Value, met: bool) {
        assert_eq!(is_met(is, that, value, 0.0), met, "{that} {is:?} {value}");
    }

    #[test]
    fn types_must_match() {
        check(&json!(1), ConditionOperator::Eq, &json!(1.0), true);
        check(&json!("1"), ConditionOperator::Eq, &json!(1), false);
        check(&json!("1"), ConditionOperator::Lt, &json!(2), false);
        check(&json!(null), ConditionOperator::Ne, &json!(2), false);
        check(&json!(null), ConditionOperator::Lt, &json!(2), false);
        check(&json!("ok"), ConditionOperator::OneOf, &json!(["ok", "warn"]), true);
        check(&json!(null), ConditionOperator::NoneOf, &json!(["ok"]), false);
        check(&json!("ab1"), ConditionOperator::Matches, &json!("^[a-z]+[0-9]$"), true);
    }
}
