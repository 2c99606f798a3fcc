//! The words that the contract has at a place of an answer.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::json_text::PathStep;
use super::tolerant::refusal_of;

/// A word that no set has.
const NO_WORD: &str = "botops:no such word";

/// What the contract has at this place of a `T`, as `one of …`; `None` where any text is right.
///
/// It is asked of the type itself: an answer that has nothing but a wrong word at this place is refused with the list.
pub(in crate::bots) fn allowed_words<T: DeserializeOwned>(pointer: &str) -> Option<String> {
    let steps: Vec<PathStep> = pointer.split('/').skip(1).map(step_of).collect();
    let answer = steps.iter().rev().fold(json!(NO_WORD), |inner, step| match step {
        PathStep::Member(name) => json!({ name.as_str(): inner }),
        // Whatever its number is: the items of a list are alike.
        PathStep::Item(_) => json!([inner]),
    });
    let (path, expected) = refusal_of::<T>(&Value::to_string(&answer))?;
    let is_there = path.len() == steps.len();
    // Two words are told without `one of`.
    (is_there && (expected.starts_with("one of") || expected.starts_with('`'))).then_some(expected)
}

fn step_of(part: &str) -> PathStep {
    match part.parse::<usize>() {
        Ok(index) => PathStep::Item(index),
        Err(_) => PathStep::Member(part.replace("~1", "/").replace("~0", "~")),
    }
}
