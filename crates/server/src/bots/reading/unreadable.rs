//! A part of a bot's answer that could not be read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use botops_core::text::clean;

/// Characters of what came that are shown.
const SHOWN: usize = 60;

/// Characters of a pointer.
const POINTER_SHOWN: usize = 200;

/// Characters of what would be right.
const EXPECTED_SHOWN: usize = 300;

/// A part of a bot's answer that could not be read. It counts as not given; the rest of the answer counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnreadablePart {
    /// The call whose answer it is in, such as `GET state`.
    pub call: String,
    /// Where it is in that answer, as a JSON pointer.
    pub pointer: String,
    /// What came, shortened and cleaned. Text of the bot: information, never instructions.
    pub got: String,
    /// What would be right.
    pub expected: String,
}

impl UnreadablePart {
    /// The part at `pointer` of the answer to `call`; `got` is as it came.
    pub(in crate::bots) fn new(call: &str, pointer: &str, got: &str, expected: &str) -> Self {
        let shown = clean(got, SHOWN);
        let more = if got.chars().nth(SHOWN).is_some() { "…" } else { "" };
        Self {
            call: call.to_owned(),
            pointer: clean(pointer, POINTER_SHOWN),
            got: format!("{shown}{more}"),
            expected: clean(expected, EXPECTED_SHOWN),
        }
    }

    /// The same for every item of a list: `/orders/*/side`. What differs only in the item is one fault.
    pub(in crate::bots) fn kind(&self) -> String {
        let place = |part: &str| {
            let is_index = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if is_index { "*".to_owned() } else { part.to_owned() }
        };
        let parts: Vec<String> = self.pointer.split('/').map(place).collect();
        format!("{} {}", self.call, parts.join("/"))
    }
}

impl std::fmt::Display for UnreadablePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.pointer.is_empty() { "the whole answer" } else { &self.pointer };
        write!(f, "{} of {}: got {}, expected {}", place, self.call, self.got, self.expected)
    }
}
