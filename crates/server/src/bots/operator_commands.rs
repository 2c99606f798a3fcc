//! What became of the commands of operators, as far as somebody who reads the state has to know it: a pause that the bot
//! lost, and a command that failed.
//!
//! Kept over a restart of botops. Nothing here acts on the bot: what is done about it is for a person to say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::operator_notes::{FailedCommand, FlattenDone, OperatorNotes};
use super::operator_pause::{BotStart, DoneCommand, OperatorPause, PauseNews, closes_entries};
use super::snapshot::BotSnapshot;
use crate::events::{Events, NewEvent};
use crate::store::{Store, get_value, put_value};
use botops_contract::{BotId, BotPhase, BotReport, CommandResult, EventKind, Severity, Verb};
use botops_core::error::{Code, Effect, Error};
use botops_core::text::clean;

/// Characters of the sentence that says why a command failed.
const CAUSE: usize = 240;

/// Characters of a sentence of the bot, as they are kept of its state.
const BOT_SENTENCE: usize = 500;

/// The record, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct StoredCommands {
    pause: Option<OperatorPause>,
    /// When the newest command was given that let the bot open positions again: an older pause is none.
    reopened_at: Option<DateTime<Utc>>,
    failed: Vec<FailedCommand>,
    /// The newest command after which the bot opens no positions, if its effect is not known: the bot may say by itself
    /// that it acted, long before it is asked or although it cannot be.
    in_doubt: Option<OperatorPause>,
    /// The newest flatten that leaves no position, as the bot says.
    flattened: Option<FlattenDone>,
}

/// The record of one bot.
#[derive(Debug)]
pub(super) struct OperatorCommands {
    key: String,
    store: Store,
    events: Events,
    known: Mutex<StoredCommands>,
}

impl OperatorCommands {
    /// Reads what an earlier run of botops knew.
    pub(super) async fn load(bot: &BotId, store: Store, events: Events) -> Result<Self, Error> {
        let key = format!("operator_commands:{bot}");
        let asked = key.clone();
        let stored = store.read(move |connection| Ok(get_value(connection, &asked)?)).await?;
        let known: StoredCommands =
            stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok(Self { key, store, events, known: Mutex::new(known) })
    }

    /// The bot carried a command out, in this life; `None` where it does not tell its starts apart.
    pub(super) fn record_done(
        &self,
        done: &DoneCommand<'_>,
        start: Option<BotStart>,
        result: &CommandResult,
    ) {
        let positions_left = result.exposure.as_ref().and_then(|exposure| exposure.positions_left);
        self.change(|known| {
            known.failed.retain(|failed| failed.verb != done.verb);
            if matches!(done.verb, Verb::Flatten | Verb::Resume) {
                let leaves_none = done.verb == Verb::Flatten && positions_left == Some(0);
                let (actor, given_at) = (done.actor.to_owned(), done.given_at);
                known.flattened = leaves_none.then_some(FlattenDone { actor, given_at });
            }
            match done.verb {
                verb if closes_entries(verb) => known.take_pause(OperatorPause::new(done, start)),
                Verb::Resume => known.end_pause(done),
                Verb::ResetBreaker if known.pause.as_ref().is_some_and(|pause| pause.verb == Verb::Halt) => {
                    known.end_pause(done);
                }
                _ => {}
            }
        });
    }

    /// What a command did is not known; it was given to this life of the bot.
    pub(super) fn record_doubt(&self, given: &DoneCommand<'_>, start: Option<BotStart>) {
        if closes_entries(given.verb) {
            self.change(|known| known.in_doubt = Some(OperatorPause::new(given, start)));
        }
    }

    /// A command of an operator failed.
    pub(super) fn record_failure(&self, verb: Verb, actor: &str, command_id: &str, error: &Error) {
        let now = Utc::now();
        let problem = error.problem("", now);
        let failed = FailedCommand {
            verb,
            actor: actor.to_owned(),
            command_id: command_id.to_owned(),
            failed_at: now,
            error_code: problem.error_code.to_owned(),
            cause: clean(&problem.cause, CAUSE),
            is_in_doubt: problem.effect == Effect::Unknown,
        };
        self.change(|known| {
            known.failed.retain(|before| before.verb != verb);
            known.failed.insert(0, failed);
        });
    }

    /// The bot says once more that it carried this command out.
    pub(super) fn record_replay(&self, command_id: &str) {
        self.change(|known| known.failed.retain(|failed| failed.command_id != command_id));
    }

    /// It is known by now that a command of unknown effect did nothing, and why: what was said of its doubt is over.
    pub(super) fn record_nothing_done(&self, command_id: &str, given_at: DateTime<Utc>, why: &str) {
        self.change(|known| {
            known.in_doubt.take_if(|pause| pause.given_at == given_at);
            let it = known.failed.iter_mut().find(|failed| failed.command_id == command_id);
            it.into_iter().for_each(|failed| (failed.is_in_doubt, failed.cause) = (false, clean(why, CAUSE)));
        });
    }

    /// A run that replaces the bot's process says itself whether trading goes on: what it paused for that ends with it.
    pub(super) fn forget_pause_of_run(&self, run_id: &str) {
        self.change(|known| {
            known.pause.take_if(|pause| pause.run_id.as_deref() == Some(run_id) && pause.lost_at.is_none());
        });
    }

    /// Takes in what the bot says of itself now, tells of a pause that it lost, and returns what readers are told.
    pub(super) fn observe(&self, snapshot: &BotSnapshot) -> Arc<OperatorNotes> {
        let said = snapshot.hello.as_deref().zip(snapshot.report.as_deref());
        let said = said.filter(|_| snapshot.presence.answers());
        let lost = self.change(|known| {
            if let Some((_, report)) = said {
                known.believe_pause(report);
            }
            let news =
                known.pause.as_mut().map_or(PauseNews::Nothing, |pause| pause.observe(said, Utc::now()));
            if news == PauseNews::Ended {
                known.pause = None;
            }
            // What stands once it may open positions again may be new.
            let may_reopen = matches!(news, PauseNews::Ended | PauseNews::Lost);
            let holds_none = said.is_some() && snapshot.position_count() == Some(0);
            known.flattened.take_if(|_| may_reopen || holds_none);
            known.pause.clone().filter(|_| news == PauseNews::Lost)
        });
        if let Some(pause) = lost {
            self.events.publish(lost_event(&pause, &snapshot.id));
        }
        let known = self.lock();
        let notes = OperatorNotes {
            pause: known.pause.clone().filter(|pause| pause.lost_at.is_none()),
            lost_pause: known.pause.clone().filter(|pause| pause.lost_at.is_some()),
            flattened: known.flattened.clone(),
            failed: known.failed.clone(),
        };
        if notes == *snapshot.operator { snapshot.operator.clone() } else { Arc::new(notes) }
    }

    /// Changes what is known, and queues its write when it is another then: an answer never waits for the disk.
    fn change<T>(&self, change: impl FnOnce(&mut StoredCommands) -> T) -> T {
        let (changed, returned) = {
            let mut known = self.lock();
            let before = known.clone();
            let returned = change(&mut known);
            ((*known != before).then(|| known.clone()), returned)
        };
        if let Some(known) = changed {
            let (key, text) = (self.key.clone(), serde_json::to_string(&known).unwrap_or_default());
            self.store
                .post("the operators' commands", move |connection| Ok(put_value(connection, &key, &text)?));
        }
        returned
    }

    fn lock(&self) -> MutexGuard<'_, StoredCommands> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoredCommands {
    /// Takes a pause of unknown effect for one that holds, where the bot says in its own state that it is paused by just
    /// that: as both SDKs do, it names verb and reason.
    fn believe_pause(&mut self, report: &BotReport) {
        let in_doubt = self.in_doubt.as_ref().filter(|_| self.pause.is_none());
        let is_told = in_doubt.is_some_and(|pause| {
            report.phase == BotPhase::Paused
                && report.trading_enabled == Some(false)
                && report.phase_reason.as_deref()
                    == Some(clean(&format!("{}: {}", pause.verb, pause.reason), BOT_SENTENCE).as_str())
        });
        if let Some(pause) = self.in_doubt.take_if(|_| is_told) {
            self.take_pause(pause);
        }
    }

    fn take_pause(&mut self, new: OperatorPause) {
        self.in_doubt = None;
        if self.reopened_at.is_some_and(|at| at > new.given_at) {
            // It became known late, and somebody resumed the bot since.
            return;
        }
        let of_run = new.run_id.is_some();
        if self.pause.as_ref().is_some_and(|pause| of_run && pause.lost_at.is_some() && pause.is_of_person())
        {
            // A person has not been answered yet; what a run pauses for itself is no answer.
            return;
        }
        let known = self.pause.take().filter(|known| known.lost_at.is_none());
        // Who paused it first is whom it is paused for; a run's own pause gives way to a person's.
        let known = known.filter(|known| known.is_of_person() || of_run);
        self.pause = Some(match known {
            Some(known) => known.given_again(new),
            None => new,
        });
    }

    fn end_pause(&mut self, done: &DoneCommand<'_>) {
        self.reopened_at = self.reopened_at.max(Some(done.given_at));
        self.in_doubt.take_if(|pause| pause.given_at <= done.given_at);
        let of_run = done.run_id.is_some();
        self.pause.take_if(|pause| {
            pause.given_at <= done.given_at && !(of_run && pause.is_of_person() && pause.lost_at.is_some())
        });
    }
}

/// The event on a pause that the bot did not keep.
fn lost_event(pause: &OperatorPause, bot: &BotId) -> NewEvent {
    let OperatorPause { verb, actor, reason, given_at, .. } = pause;
    let (given, lost_when) = (given_at.format("%F %H:%M:%S UTC"), pause.lost_when());
    let detail = format!(
        "{actor} told the bot to {verb} at {given} ({reason}); it did not keep that {lost_when}, and says that it may \
         open positions"
    );
    let error = Error::new(Code::BotPauseLost).detail(detail);
    let message = format!(
        "bot {bot} is not paused: it lost the {verb} of {actor} of {given} {lost_when}, and may open positions"
    );
    let again = format!("/api/v1/control/{}", pause.verb_to_repeat());
    let data = json!({
        "bot_id": bot, "verb": verb, "actor": actor, "reason": reason, "given_at": given_at,
        "run_id": pause.run_id, "lost_at": pause.lost_at, "next": {"method": "POST", "path": again},
    });
    NewEvent::own_failure(EventKind::Lifecycle, Severity::High, message, &error, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u32) -> DateTime<Utc> {
        format!("2026-03-02T15:00:{second:02}Z").parse().unwrap()
    }

    fn done(verb: Verb, run_id: Option<&'static str>, second: u32) -> DoneCommand<'static> {
        let actor = if run_id.is_some() { "agent" } else { "ops" };
        DoneCommand {
            verb,
            actor,
            run_id,
            reason: "a test of the record",
            given_at: at(second),
            until: None,
            is_durable: false,
        }
    }

    fn given(verb: Verb, run_id: Option<&'static str>, second: u32, epoch: &str) -> OperatorPause {
        OperatorPause::new(&done(verb, run_id, second), in_life(epoch))
    }

    fn in_life(epoch: &str) -> Option<BotStart> {
        BotStart::of_epoch(Some(epoch))
    }

    /// Who paused the bot, and whether that is lost.
    fn who(known: &StoredCommands) -> Option<(&str, bool)> {
        known.pause.as_ref().map(|pause| (pause.actor.as_str(), pause.lost_at.is_some()))
    }

    #[test]
    fn what_a_run_pauses_for_itself_takes_the_place_of_no_pause_of_a_person() {
        let mut known = StoredCommands::default();
        known.take_pause(given(Verb::Pause, Some("run-1"), 1, "1"));
        assert_eq!(who(&known), Some(("agent", false)));
        known.take_pause(given(Verb::Pause, None, 2, "1"));
        known.take_pause(given(Verb::Pause, Some("run-2"), 3, "2"));
        assert_eq!(who(&known), Some(("ops", false)));
        assert_eq!(
            known.pause.as_ref().map(|pause| &pause.kept_by),
            Some(&in_life("2")),
            "the one that answered"
        );
        // A person who was not answered yet is not answered by a run that pauses and resumes for itself.
        known.pause.as_mut().unwrap().lost_at = Some(at(4));
        known.take_pause(given(Verb::Pause, Some("run-3"), 5, "3"));
        known.end_pause(&done(Verb::Resume, Some("run-3"), 6));
        assert_eq!(who(&known), Some(("ops", true)));
        known.end_pause(&done(Verb::Resume, None, 7));
        assert_eq!(who(&known), None);
    }

    #[test]
    fn a_pause_that_becomes_known_after_a_resume_is_none() {
        let mut known = StoredCommands::default();
        known.end_pause(&done(Verb::Resume, None, 5));
        known.take_pause(given(Verb::Pause, None, 4, "1"));
        assert_eq!(who(&known), None);
        known.take_pause(given(Verb::Pause, None, 6, "1"));
        assert_eq!(who(&known), Some(("ops", false)));
    }
}
