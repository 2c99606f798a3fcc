//! Who paused the bot, when, and what ends it.

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::moment::StateMoment;
use super::wording::without_full_stop;
use botops_contract::{BotPhase, Verb};

/// A pause that holds now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PauseView {
    /// Name of the key that gave it through botops; `null` when that is not known: it was given elsewhere, or a moment ago.
    pub by: Option<String>,
    /// When it was given (UTC), to the second; `null` as `by` is.
    pub at: Option<DateTime<Utc>>,
    /// The reason that was given with it; `null` as `by` is.
    pub reason: Option<String>,
    /// The call that ends it; `null` when the bot takes none.
    pub ended_by: Option<String>,
}

impl PauseView {
    /// The pause, while the bot says that it is paused.
    pub(super) fn of(moment: &StateMoment<'_>) -> Option<Self> {
        moment.present_report().filter(|report| report.phase == BotPhase::Paused)?;
        let known = moment.snapshot.operator.pause.as_ref();
        let hello = moment.snapshot.hello.as_deref();
        let may_resume = hello.is_none_or(|hello| hello.offers(Verb::Resume.as_str()));
        Some(Self {
            by: known.map(|pause| pause.actor.clone()),
            at: known.map(|pause| pause.given_at.trunc_subsecs(0)),
            reason: known.map(|pause| pause.reason.clone()),
            ended_by: may_resume.then(|| "POST /api/v1/control/resume".to_owned()),
        })
    }

    /// The same in a sentence.
    pub(super) fn sentence(&self) -> String {
        let given = match (&self.by, self.at) {
            (Some(by), Some(at)) => {
                let why = self.reason.as_deref().map(without_full_stop).unwrap_or_default();
                format!("{by} paused it at {} ({why})", at.format("%F %H:%M:%S UTC"))
            }
            _ => "Who paused it, and when, is not known here".to_owned(),
        };
        let ended = self.ended_by.as_deref().map(|call| format!("; {call} ends that"));
        format!("{given}{}.", ended.unwrap_or_default())
    }
}
