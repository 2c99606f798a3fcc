//! Whether a pause holds over a restart of the bot, as far as the bot promises it.

use super::snapshot::BotSnapshot;
use botops_contract::{BotPhase, DURABLE_PAUSE};

impl BotSnapshot {
    /// Whether the bot is paused, as it says itself or as botops remembers of one that is away.
    pub fn is_paused(&self) -> bool {
        self.operator.pause.is_some()
            || self.report.as_ref().is_some_and(|report| report.phase == BotPhase::Paused)
    }

    /// Whether the bot promises that the pause which holds now outlives its process: it has the capability, and the pause
    /// was given as a durable one. Any other bot may keep its pause as well, which only its next start shows.
    pub fn keeps_pause_over_restart(&self) -> bool {
        self.offers_durable_pause() && self.operator.pause.as_ref().is_some_and(|pause| pause.is_durable)
    }

    /// What a restart may do to the pause that holds now, and what to do about it; `None` for a bot that is not paused, or
    /// keeps it.
    pub fn pause_in_doubt(&self) -> Option<String> {
        (self.is_paused() && !self.keeps_pause_over_restart()).then(|| {
            format!(
                "NOT PAUSED is how the bot may come back: {}, and {}",
                self.describe_pause(),
                self.describe_missing_promise()
            )
        })
    }

    /// The same of a bot that is away, in the few words that the summary has for it.
    pub(crate) fn pause_in_doubt_while_away(&self) -> Option<String> {
        let pause = self.operator.pause.as_ref().filter(|_| !self.keeps_pause_over_restart())?;
        Some(format!(
            "{} paused it: started again it may be NOT PAUSED, since it does not promise to keep that. Then: POST \
             /api/v1/control/pause.",
            pause.actor
        ))
    }

    /// Why no pause is sure to hold over a restart, and what to do about it, as the end of a sentence and the ones that
    /// follow.
    pub fn describe_missing_promise(&self) -> String {
        let again = "it may open positions as soon as it runs. Read `trading_enabled` then, and pause it again: POST \
                     /api/v1/control/pause";
        if self.offers_durable_pause() {
            return format!(
                "only a durable pause is sure to hold over a restart. Give one before: POST /api/v1/control/pause with \
                 `args` {{\"durable\": true}}; else {again}."
            );
        }
        format!(
            "it does not promise to keep a pause over a restart (no capability `{DURABLE_PAUSE}`): {again}."
        )
    }

    fn offers_durable_pause(&self) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.offers(DURABLE_PAUSE))
    }

    fn describe_pause(&self) -> String {
        match &self.operator.pause {
            Some(pause) => {
                let reason = pause.reason.trim().trim_end_matches('.');
                format!(
                    "{} paused it at {} ({reason})",
                    pause.actor,
                    pause.given_at.format("%F %H:%M:%S UTC")
                )
            }
            None => "it is paused, by whom is not known here".to_owned(),
        }
    }
}
