//! Why somebody changes something: one rule for every call that wants a reason.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::error::{Code, Error};
use crate::text::clean;

/// How many characters a reason has. Two say nothing, and nobody reads more than 500 in a record.
pub const REASON_LENGTH: RangeInclusive<usize> = 3..=500;

/// What would be right, for the one who gave none.
const EXPECTED: &str = "3 to 500 characters that say why, for the record";

/// The reason of a request, made harmless.
///
/// # Errors
/// `code` when it is missing, too short or too long, with the place `/reason`.
pub fn checked_reason(text: &str, code: Code) -> Result<String, Error> {
    let cleaned = clean(text.trim(), REASON_LENGTH.end() + 1);
    if REASON_LENGTH.contains(&cleaned.chars().count()) {
        return Ok(cleaned);
    }
    // Readers of bodies give an empty text for a reason that was not sent.
    let got = if text.is_empty() { Value::Null } else { clean(text, 40).into() };
    Err(Error::new(code).detail("it needs a reason of 3 to 500 characters").field("/reason", got, EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_rule_are_in_its_texts() {
        for end in [REASON_LENGTH.start(), REASON_LENGTH.end()] {
            assert!(EXPECTED.contains(&end.to_string()), "{EXPECTED}");
        }
        assert_eq!(checked_reason(" new \n", Code::ArgumentInvalid).unwrap(), "new");
        assert_eq!(checked_reason(&"é".repeat(500), Code::ArgumentInvalid).unwrap().chars().count(), 500);
        for refused in ["", "  no  ", "\u{200b}\u{200b}\u{200b}", &"x".repeat(501)] {
            let error = checked_reason(refused, Code::ControlReasonMissing).unwrap_err();
            assert_eq!(error.code(), Code::ControlReasonMissing, "{refused:?}");
        }
    }
}
