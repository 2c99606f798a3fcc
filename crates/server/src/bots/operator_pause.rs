//! A pause that somebody gave through botops, and whether the bot still keeps it.
//!
//! A pure machine: it gets what the bot says of itself, and the time. A bot that is started again and opens positions has
//! lost its pause, which whoever gave it cannot know; one that opens them again in the same life was resumed by its own
//! means.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use botops_contract::{BotPhase, BotReport, Hello, Verb};

/// One start of the bot, as its hello names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BotStart {
    boot_epoch: Option<String>,
    pid: Option<u32>,
    started_at: Option<DateTime<Utc>>,
}

impl BotStart {
    /// The start that answers; `None` when the bot does not tell its starts apart.
    pub(super) fn of(hello: &Hello) -> Option<Self> {
        let (boot_epoch, pid, started_at) = (hello.boot_epoch.clone(), hello.pid, hello.started_at);
        hello.names_its_start().then_some(Self { boot_epoch, pid, started_at })
    }

    /// The start with this boot epoch; `None` without one.
    pub(super) fn of_epoch(boot_epoch: Option<&str>) -> Option<Self> {
        boot_epoch.map(|epoch| Self { boot_epoch: Some(epoch.to_owned()), pid: None, started_at: None })
    }

    /// As [`Hello::is_same_start`].
    fn is_same(&self, other: &Self) -> bool {
        match (&self.boot_epoch, &other.boot_epoch) {
            (Some(one), Some(two)) => one == two,
            _ => self.pid == other.pid && self.started_at == other.started_at,
        }
    }
}

/// A command that the bot carried out, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct DoneCommand<'a> {
    pub verb: Verb,
    /// The API key that gave it.
    pub actor: &'a str,
    /// The workflow run that gave it; `None` for a command of an API key itself.
    pub run_id: Option<&'a str>,
    pub reason: &'a str,
    pub given_at: DateTime<Utc>,
    /// When a pause ends by itself; `None` where it does not.
    pub until: Option<DateTime<Utc>>,
    /// Whether it was given to hold over a restart of the bot.
    pub is_durable: bool,
}

/// A command after which the bot opens no positions (`pause`, `flatten` or `halt`), and that nobody took back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorPause {
    /// The verb that was given.
    pub verb: Verb,
    /// The API key that gave it.
    pub actor: String,
    /// The workflow run that gave it; `None` for a command of an API key itself.
    pub run_id: Option<String>,
    /// Why, in the words of whoever gave it.
    pub reason: String,
    /// When it was given.
    pub given_at: DateTime<Utc>,
    /// When it ends by itself; `None` where somebody has to resume.
    #[serde(default)]
    pub until: Option<DateTime<Utc>>,
    /// Whether it was given as one that holds over a restart of the bot.
    #[serde(default)]
    pub is_durable: bool,
    /// When it was noticed that the bot does not keep it any more; `None` while it does.
    pub lost_at: Option<DateTime<Utc>>,
    /// The start of the bot that keeps it.
    pub(super) kept_by: Option<BotStart>,
    /// The state showed it in that life.
    #[serde(default)]
    pub(super) was_seen: bool,
    /// The bot did not answer, or botops did not run, since it was last seen.
    #[serde(default)]
    pub(super) was_away: bool,
}

/// What a report says of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PauseNews {
    /// Nothing new.
    Nothing,
    /// The same, known better than before.
    Confirmed,
    /// The bot opens positions again, in the life that kept the pause: it was resumed by its own means. Or its time is
    /// over, whatever the bot does.
    Ended,
    /// The bot was started again and opens positions: it did not keep the pause.
    Lost,
}

impl OperatorPause {
    /// One that the bot carried out in this life.
    pub(super) fn new(done: &DoneCommand<'_>, kept_by: Option<BotStart>) -> Self {
        Self {
            verb: done.verb,
            actor: done.actor.to_owned(),
            run_id: done.run_id.map(str::to_owned),
            reason: done.reason.to_owned(),
            given_at: done.given_at,
            until: done.until,
            is_durable: done.is_durable,
            lost_at: None,
            kept_by,
            was_seen: false,
            was_away: false,
        }
    }

    /// The same, given once more: the bot that answered keeps it.
    pub(super) fn given_again(self, again: Self) -> Self {
        // The later end counts, and none is the latest.
        let until = self.until.zip(again.until).map(|(one, two)| one.max(two));
        let is_durable = self.is_durable || again.is_durable;
        Self { kept_by: again.kept_by, until, is_durable, was_seen: false, was_away: false, ..self }
    }

    /// Takes in what the bot says of itself; `None` while it does not answer.
    pub(super) fn observe(&mut self, said: Option<(&Hello, &BotReport)>, now: DateTime<Utc>) -> PauseNews {
        if self.until.is_some_and(|until| until <= now) {
            return PauseNews::Ended;
        }
        if self.lost_at.is_some() {
            return PauseNews::Nothing;
        }
        let Some((hello, report)) = said else {
            let is_news = !self.was_away;
            self.was_away = true;
            return if is_news { PauseNews::Confirmed } else { PauseNews::Nothing };
        };
        let start = BotStart::of(hello);
        let is_other_life = match (&self.kept_by, &start) {
            (Some(kept_by), Some(start)) => !kept_by.is_same(start),
            _ => self.was_away,
        };
        match report.trading_enabled {
            Some(true) if is_other_life => {
                self.lost_at = Some(now);
                PauseNews::Lost
            }
            // A state from before the pause is no resumption.
            Some(true) if self.was_seen => PauseNews::Ended,
            // A bot that is still starting opens nothing either, and may have forgotten the pause all the same.
            Some(false) if !is_other_life || report.phase == BotPhase::Paused => self.confirm(start),
            _ => PauseNews::Nothing,
        }
    }

    /// The state of this start shows it.
    fn confirm(&mut self, start: Option<BotStart>) -> PauseNews {
        let is_known = self.was_seen && !self.was_away && self.kept_by == start;
        (self.kept_by, self.was_seen, self.was_away) = (start, true, false);
        if is_known { PauseNews::Nothing } else { PauseNews::Confirmed }
    }

    /// The verb that brings it back. A second `flatten` would close what was opened since.
    pub fn verb_to_repeat(&self) -> Verb {
        if self.verb == Verb::Halt { Verb::Halt } else { Verb::Pause }
    }

    /// When the bot lost it, as far as that can be seen: one that does not tell its starts apart was only away.
    pub fn lost_when(&self) -> &'static str {
        if self.kept_by.is_some() { "at a restart" } else { "while it was away" }
    }

    /// Whether a person gave it, and not a step of a workflow.
    pub(super) fn is_of_person(&self) -> bool {
        self.run_id.is_none()
    }
}

/// Whether a bot that carried this out opens no positions until somebody says otherwise.
pub(super) fn closes_entries(verb: Verb) -> bool {
    matches!(verb, Verb::Pause | Verb::Flatten | Verb::Halt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: u32) -> DateTime<Utc> {
        format!("2026-03-02T15:00:{second:02}Z").parse().unwrap()
    }

    fn hello(epoch: Option<&str>) -> Hello {
        serde_json::from_value(json!({"bot_id": "x", "mode": "paper", "boot_epoch": epoch})).unwrap()
    }

    fn pause(epoch: Option<&str>) -> OperatorPause {
        OperatorPause {
            verb: Verb::Pause,
            actor: "ops".to_owned(),
            run_id: None,
            reason: "lunch, back at two".to_owned(),
            given_at: at(0),
            until: None,
            is_durable: false,
            lost_at: None,
            kept_by: BotStart::of_epoch(epoch),
            was_seen: false,
            was_away: false,
        }
    }

    /// What the bot said in turn: its boot epoch, its phase, and whether it may open positions; `None` while it is away.
    type Said<'a> = Option<(Option<&'a str>, BotPhase, Option<bool>)>;

    #[track_caller]
    fn check(given_to: Option<&str>, said: &[Said<'_>], last: PauseNews) {
        let mut pause = pause(given_to);
        let mut news = PauseNews::Nothing;
        for (second, said) in (1..).zip(said) {
            let said = said.map(|(epoch, phase, enabled)| {
                let report = BotReport { phase, trading_enabled: enabled, ..BotReport::default() };
                (hello(epoch), report)
            });
            news = pause.observe(said.as_ref().map(|(hello, report)| (hello, report)), at(second));
        }
        assert_eq!(news, last, "{pause:?}");
        assert_eq!(pause.lost_at.is_some(), last == PauseNews::Lost, "{pause:?}");
    }

    const PAUSED: BotPhase = BotPhase::Paused;
    const RUNNING: BotPhase = BotPhase::Running;

    #[test]
    fn a_new_life_that_opens_positions_has_lost_the_pause() {
        let (one, two) = (Some("1"), Some("2"));
        check(
            one,
            &[Some((one, PAUSED, Some(false))), None, Some((two, RUNNING, Some(true)))],
            PauseNews::Lost,
        );
        // Also one that ended before its state showed the pause, and one that says first that it starts.
        check(one, &[Some((two, RUNNING, Some(true)))], PauseNews::Lost);
        let starting = Some((two, BotPhase::Starting, Some(false)));
        check(one, &[starting, Some((two, RUNNING, Some(true)))], PauseNews::Lost);
    }

    #[test]
    fn a_bot_that_keeps_its_pause_or_says_nothing_of_it_has_not_lost_it() {
        let (one, two) = (Some("1"), Some("2"));
        check(
            one,
            &[Some((one, PAUSED, Some(false))), None, Some((two, PAUSED, Some(false)))],
            PauseNews::Confirmed,
        );
        check(one, &[Some((two, RUNNING, None))], PauseNews::Nothing);
        // What it does in that next life is its own doing.
        check(one, &[Some((two, PAUSED, Some(false))), Some((two, RUNNING, Some(true)))], PauseNews::Ended);
    }

    #[test]
    fn the_same_life_that_opens_positions_again_was_resumed_by_its_own_means() {
        let one = Some("1");
        check(one, &[Some((one, PAUSED, Some(false))), Some((one, RUNNING, Some(true)))], PauseNews::Ended);
        check(
            one,
            &[Some((one, PAUSED, Some(false))), None, Some((one, RUNNING, Some(true)))],
            PauseNews::Ended,
        );
        // Of before the pause.
        check(one, &[Some((one, RUNNING, Some(true)))], PauseNews::Nothing);
    }

    #[test]
    fn a_pause_whose_time_is_over_is_lost_by_no_restart() {
        let (hello, report) =
            (hello(Some("2")), BotReport { trading_enabled: Some(true), ..BotReport::default() });
        let mut pause = OperatorPause { until: Some(at(30)), ..pause(Some("1")) };
        assert_eq!(pause.clone().observe(Some((&hello, &report)), at(29)), PauseNews::Lost);
        assert_eq!(pause.observe(Some((&hello, &report)), at(30)), PauseNews::Ended);
    }

    #[test]
    fn of_a_bot_that_names_no_start_its_absence_is_all_there_is() {
        check(
            None,
            &[Some((None, PAUSED, Some(false))), None, Some((None, RUNNING, Some(true)))],
            PauseNews::Lost,
        );
        check(
            None,
            &[Some((None, PAUSED, Some(false))), Some((None, RUNNING, Some(true)))],
            PauseNews::Ended,
        );
        check(None, &[None, Some((None, PAUSED, Some(false)))], PauseNews::Confirmed);
    }
}
