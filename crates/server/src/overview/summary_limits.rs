//! How much the summary may hold: rows of limits, and the texts cut to them.

use chrono::SubsecRound;

use super::model::{IncidentBrief, NotGreen};
use super::tokens;
use super::warning::Warning;

/// The longest code that is never cut, in characters of ASCII: those of a catalogue are shorter.
const WHOLE_CODE: usize = 40;

/// Components of the health have the id of their alert at once where their texts may have so many tokens.
const ROOM_FOR_IDS: usize = 24;

/// Next calls at most, and where other texts may have fewer tokens than [`ROOM_FOR_CALLS`].
const NEXT_CALLS: usize = 2;
const NEXT_CALLS_IN_SHORT: usize = 1;
const ROOM_FOR_CALLS: usize = 28;

/// What was tried stands in an incident where its texts may have so many tokens: what a person must do matters more.
const ROOM_FOR_ATTEMPTS: usize = 12;

/// How much the summary may hold. Later rows are tried when earlier ones come out too large.
#[derive(Debug, Clone, Copy)]
pub(super) struct SummaryLimits {
    pub(super) positions: usize,
    pub(super) errors: usize,
    /// Components that are not HEALTHY.
    pub(super) health: usize,
    pub(super) incidents: usize,
    /// Tokens for each text of a component and of an incident: who reads on finds it whole.
    pub(super) brief: usize,
    /// Tokens for each text of an error.
    pub(super) error_text: usize,
    pub(super) warnings: usize,
    /// Tokens for every other text.
    pub(super) text: usize,
    /// Tokens for a code of a failure. It is what a reader looks up, so it is whole as long as anything else is: no sign
    /// of ASCII costs more than one.
    pub(super) code: usize,
    /// Whether a component has the id of its alert.
    pub(super) ids: bool,
}

impl SummaryLimits {
    /// The same with the ids of alerts; `None` where they are there already.
    pub(super) fn with_ids(self) -> Option<Self> {
        (!self.ids).then_some(Self { ids: true, ..self })
    }

    /// Next calls at most. One always stays.
    pub(super) fn calls(&self) -> usize {
        if self.text >= ROOM_FOR_CALLS { NEXT_CALLS } else { NEXT_CALLS_IN_SHORT }
    }

    /// Whether a text that stands in several places is whole in one of them alone, and the others name it.
    pub(super) fn says_once(&self) -> bool {
        self.text < ROOMY_TEXT
    }
}

const fn row(
    [positions, errors, health, incidents, brief, error_text, warnings, text, code]: [usize; 9],
) -> SummaryLimits {
    let ids = brief >= ROOM_FOR_IDS;
    SummaryLimits { positions, errors, health, incidents, brief, error_text, warnings, text, code, ids }
}

/// Texts may repeat each other where each may have so many tokens.
const ROOMY_TEXT: usize = 60;

// Whole entries leave before every text is cut short: what is left out is counted, and a remedy cut in half is none. What is
// wrong now stays longer than what failed before, and both longer than the positions. The worst component and the worst
// incident are never left out: an empty list says that there is none.
#[rustfmt::skip]
pub(super) const LIMITS: [SummaryLimits; 15] = [
    // positions, errors, health, incidents, brief, error text, warnings, text, code
    row([5, 2, 3, 2, 40, 45, 8, ROOMY_TEXT, WHOLE_CODE]),
    row([3, 2, 3, 2, 32, 45, 8, 56, WHOLE_CODE]),
    row([3, 2, 2, 1, 24, 40, 8, 48, WHOLE_CODE]),
    row([2, 2, 2, 1, 24, 36, 6, 48, WHOLE_CODE]),
    row([1, 2, 2, 1, 20, 30, 5, 40, WHOLE_CODE]),
    row([1, 1, 1, 1, 20, 30, 4, 40, WHOLE_CODE]),
    row([0, 1, 2, 1, 16, 24, 4, 36, WHOLE_CODE]),
    row([0, 1, 1, 1, 16, 24, 4, 32, WHOLE_CODE]),
    row([0, 1, 1, 1, 12, 16, 3, 28, WHOLE_CODE]),
    row([0, 1, 1, 1, 10, 14, 2, 20, WHOLE_CODE]),
    row([0, 1, 1, 1, 8, 8, 2, 12, WHOLE_CODE]),
    row([0, 1, 1, 1, 8, 8, 1, 12, WHOLE_CODE]),
    row([0, 1, 1, 1, 8, 8, 2, 10, 8]),
    row([0, 1, 1, 1, 6, 6, 1, 8, 8]),
    row([0, 0, 1, 1, 6, 0, 1, 6, 8]),
];

/// Clips texts and counts how many it had to.
pub(super) struct TextClipper {
    pub(super) tokens: usize,
    pub(super) cut: usize,
}

impl TextClipper {
    pub(super) fn clip(&mut self, text: &str) -> String {
        let clipped = tokens::clip(text, self.tokens);
        self.cut += usize::from(clipped.len() != text.len());
        clipped
    }

    /// Cuts what is wrong, and not what to do.
    pub(super) fn clip_warning(&mut self, warning: &Warning) -> String {
        let clipped = warning.clip(self.tokens);
        self.cut += usize::from(clipped.len() != warning.len());
        clipped
    }

    pub(super) fn clip_component(&mut self, one: &NotGreen, with_id: bool) -> NotGreen {
        NotGreen {
            component_id: self.clip(&one.component_id),
            since: one.since.trunc_subsecs(0),
            reason: one.reason.as_deref().map(|reason| self.clip(reason)),
            // An id costs more than the rest: where there is no room, `GET health/alerts` has it.
            alert_id: one.alert_id.clone().filter(|_| with_id),
            ..one.clone()
        }
    }

    pub(super) fn clip_incident(&mut self, one: &IncidentBrief) -> IncidentBrief {
        IncidentBrief {
            began_at: one.began_at.trunc_subsecs(0),
            ended_at: one.ended_at.map(|at| at.trunc_subsecs(0)),
            cause: self.clip(&one.cause),
            tried: one
                .tried
                .as_deref()
                .filter(|_| self.tokens >= ROOM_FOR_ATTEMPTS)
                .map(|tried| self.clip(tried)),
            person_must: one.person_must.as_deref().map(|must| self.clip(must)),
            ..one.clone()
        }
    }
}
