//! What is left to a person: why recovery does not act, and who must do what.

use std::fmt;

use crate::bots::{HoldReason, UnaskedRestart};
use crate::health::units::time;

/// Why recovery does not act, and what a person must do: a sentence or more each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonMust {
    /// Why recovery does not act; may be empty.
    pub why: String,
    /// What a person must do.
    pub remedy: String,
}

impl PersonMust {
    fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for PersonMust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.why.is_empty() { "" } else { " " };
        write!(f, "{}{space}{}", self.why, self.remedy)
    }
}

/// The attempts of the incident, or of the hour, are used up.
pub(super) const EXHAUSTED: &str = "attempts_used_up";

/// What a person must do about a workflow that does not run.
pub(super) fn person_must(component: &str, hindrance: &str) -> PersonMust {
    PersonMust::new(
        format!("Recovery of {component} makes no attempt, because {hindrance}:"),
        format!("put {component} right by hand."),
    )
}

/// What a person must do about a bot that is not proven dead; `None` while it is watched, or restarted already.
pub(super) fn leave_living_bot(
    component: &str,
    restart: &UnaskedRestart,
) -> Option<(&'static str, PersonMust)> {
    let reason = restart.verdict.err()?;
    if restart.needs_person() {
        return Some((reason.as_str(), PersonMust::new("", restart.sentence.clone())));
    }
    let answers = || {
        PersonMust::new(
            format!(
                "Recovery of {component} would restart the bot, and nothing that answers is restarted unasked."
            ),
            format!("A person must put {component} right."),
        )
    };
    (reason == HoldReason::Answers).then(|| (reason.as_str(), answers()))
}

/// What a person must do after attempts that did not help. `next` is when one more is made, in milliseconds since 1970.
pub(super) fn attempts_used_up(component: &str, attempts: u32, next: i64) -> PersonMust {
    let next = time(next).format("%H:%M UTC");
    PersonMust::new(
        format!(
            "Recovery of {component} made {attempts} attempts, and none helped; the next one is at {next}."
        ),
        format!("A person must put {component} right."),
    )
}
