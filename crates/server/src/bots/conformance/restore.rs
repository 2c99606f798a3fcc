//! Takes back what an exercise began, however the run ended: the end of it is waited for within a bounded time, and what
//! cannot be taken back is told with the state that the bot is in and the command that does it by hand.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::by_hand::{resume_by_hand, revert_by_hand};
use super::command_rules::{VALID_FOR, new_command, read_command_status};
use super::config_rules::read_config;
use super::config_trial::revert_trial;
use super::findings::ConformanceFinding;
use super::open_changes::{OpenChanges, OpenPause, OpenTrial};
use super::probe::ask;
use super::sent_command::{REASON, SentCommand, call_of, read_state, send_command};
use crate::bots::calls::READ_DEADLINE;
use crate::bots::reading;
use crate::bots::transport::{BotAddress, BotConnection};
use botops_contract::{BotReport, COMMAND_STATUS, CommandOutcome, CommandProgress, ConfigState, Hello, Verb};

const REVERT: &str = "POST config/revert";

/// How often the bot is asked whether it is done: as often as botops asks for a state.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A bot that says that it was resumed and shows that it was not is not told so a third time.
const MOST_EMPTY_RESUMES: usize = 2;

/// What is needed to leave a bot as it was.
#[derive(Debug)]
pub(super) struct Restoration<'r> {
    pub address: &'r BotAddress,
    pub connection: &'r BotConnection,
    pub hello: &'r Hello,
    pub token_file: Option<PathBuf>,
    pub wait: Duration,
}

impl Restoration<'_> {
    /// Takes back everything that is open.
    pub(super) async fn restore(&self, open: &OpenChanges, found: &mut Vec<ConformanceFinding>) {
        if let Some(trial) = open.trial() {
            self.restore_config(&trial, found).await;
            open.close_trial();
        }
        if let Some(pause) = open.pause() {
            self.restore_pause(&pause, found).await;
            open.close_pause();
        }
    }

    /// What is told of changes of which nobody waits for the end any more.
    pub(super) fn leave_open(&self, open: &OpenChanges) -> Vec<ConformanceFinding> {
        let got = "the run was ended a second time while it took back what it had begun";
        let pause = open.pause().map(|_| {
            let remedy = "Whether the bot is paused is not known: resume it.";
            self.pause_fault("left_unknown", got, remedy)
        });
        let trial = open.trial().map(|trial| self.trial_fault(&trial, got));
        pause.into_iter().chain(trial).collect()
    }

    async fn restore_pause(&self, pause: &OpenPause, found: &mut Vec<ConformanceFinding>) {
        let end = Instant::now() + self.wait;
        let ending = self.await_end_of_pause(pause, end).await;
        let now = read_state(self.connection).await;
        if ending == PauseEnding::Refused && now.as_ref().is_some_and(|now| !pause.shows_in(now)) {
            return;
        }
        // Another bot that took the address meanwhile is not this run's to resume.
        let resumed = match self.is_same_bot().await {
            true => self.resume(pause, end, found).await,
            false => None,
        };
        let Some(now) = resumed else {
            found.push(self.lost_fault());
            return;
        };
        if pause.shows_in(&now) {
            let remedy =
                "The check paused the bot and could not resume it: it opens nothing until it is resumed.";
            found.push(self.pause_fault("left_paused", &standing_of(&now), remedy));
        } else if ending == PauseEnding::Open {
            let remedy = format!(
                "The pause that the check sent has not ended within {} s, and the bot may yet carry it out: then it is paused, and nobody resumes it. Look at it later (a longer --wait waits for it), and resume it then.",
                pause.sent_at.elapsed().as_secs()
            );
            found.push(self.pause_fault("pause_still_open", &standing_of(&now), &remedy));
        }
    }

    /// Waits until the pause is over, or shows.
    async fn await_end_of_pause(&self, pause: &OpenPause, end: Instant) -> PauseEnding {
        loop {
            if let Some(ending) = self.ending_of_pause(pause).await {
                return ending;
            }
            if read_state(self.connection).await.is_some_and(|state| pause.shows_in(&state)) {
                return PauseEnding::Over;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return PauseEnding::Open;
            }
            tokio::time::sleep(left.min(ASK_AGAIN)).await;
        }
    }

    /// How the pause ended; `None` as long as the bot may still be at it, or does not say.
    async fn ending_of_pause(&self, pause: &OpenPause) -> Option<PauseEnding> {
        if pause.was_answered {
            return Some(PauseEnding::Over);
        }
        if !self.hello.offers(COMMAND_STATUS) {
            return None;
        }
        let (status, _) = read_command_status(self.connection, &pause.command_id).await.ok()?;
        let is_refused = status.refusal.is_some()
            || status.result.as_ref().is_some_and(|result| result.outcome == CommandOutcome::Refused);
        match status.progress {
            CommandProgress::Answered if is_refused => Some(PauseEnding::Refused),
            CommandProgress::Answered => Some(PauseEnding::Over),
            CommandProgress::Pending => None,
            // It may still be on its way, as long as it is valid.
            CommandProgress::Unknown => (pause.sent_at.elapsed() > VALID_FOR).then_some(PauseEnding::Over),
        }
    }

    async fn is_same_bot(&self) -> bool {
        let Ok(answer) = ask("GET hello", self.connection.poll("hello"), READ_DEADLINE).await else {
            return false;
        };
        let read = reading::read_whole::<Hello>("GET hello", &answer.answer.body, &[]);
        read.is_ok_and(|read| read.value.bot_id == self.hello.bot_id)
    }

    /// Resumes until the state shows it; the state that it shows at the end, `None` when there is none.
    async fn resume(
        &self,
        pause: &OpenPause,
        end: Instant,
        found: &mut Vec<ConformanceFinding>,
    ) -> Option<BotReport> {
        let (mut tries, mut empty) = (0_usize, 0_usize);
        loop {
            let sent = send_command(self.connection, Verb::Resume, &new_command(REASON, false), found).await;
            tries += 1;
            let state = read_state(self.connection).await;
            if state.as_ref().is_some_and(|state| !pause.shows_in(state)) {
                return state;
            }
            if matches!(&sent, SentCommand::Answered(result) if result.outcome == CommandOutcome::Done) {
                empty += 1;
                let remedy = "`resume` was answered with `done`, and the next state still shows that the bot is paused: answer when it holds.";
                let call = call_of(Verb::Resume);
                found.push(ConformanceFinding::fault("resume_without_effect", &call, remedy));
            }
            // At least twice, since the first may have come while the bot was busy with the pause itself.
            let is_enough = tries >= MOST_EMPTY_RESUMES && Instant::now() >= end;
            if empty >= MOST_EMPTY_RESUMES || is_enough {
                return state;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn restore_config(&self, trial: &OpenTrial, found: &mut Vec<ConformanceFinding>) {
        let end = Instant::now() + self.wait;
        let (mut last, mut has_begun) = (None, trial.was_answered);
        loop {
            // What is wrong in the answer was named before.
            let now = read_config(self.connection, &mut Vec::new()).await;
            let is_ours =
                now.as_ref().and_then(|now| now.trial.as_ref()).is_some_and(|live| live.txn == trial.txn);
            has_begun |= is_ours || now.as_ref().is_some_and(|now| has_outcome(now, trial));
            if is_ours {
                revert_trial(self.connection, trial, found).await;
            } else if has_begun && now.as_ref().is_some_and(|now| is_as_before(now, trial)) {
                return;
            }
            last = now.or(last);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(ASK_AGAIN)).await;
        }
        let got = match last {
            None => "the bot does not answer what it runs".to_owned(),
            Some(state) if is_as_before(&state, trial) => {
                "what ran before runs, and whether the trial still begins is not known".to_owned()
            }
            Some(state) => {
                let on_trial = if state.trial.is_some() { ", on trial" } else { "" };
                format!(
                    "config v{} runs{on_trial}; v{} ran before",
                    state.running.version, trial.before.version
                )
            }
        };
        found.push(self.trial_fault(trial, &got));
    }

    fn lost_fault(&self) -> ConformanceFinding {
        let remedy = "The check paused the bot, which does not answer any more: whether it is paused is not known. Once it answers again, look at its state, and resume it.";
        self.pause_fault("left_unknown", "no answer to GET state", remedy)
    }

    fn pause_fault(&self, rule: &'static str, got: &str, remedy: &str) -> ConformanceFinding {
        let command = resume_by_hand(self.address, self.token_file.as_deref());
        ConformanceFinding::fault(rule, &call_of(Verb::Resume), remedy).got(got).by_command(&command)
    }

    fn trial_fault(&self, trial: &OpenTrial, got: &str) -> ConformanceFinding {
        let remedy = format!(
            "The config that the check tried is not known to be taken back. A bot that keeps the time of a trial takes it back by itself within {} s of its begin; look at GET config then, and revert it if it still runs.",
            trial.time_to_live.as_secs()
        );
        let command = revert_by_hand(self.address, self.token_file.as_deref(), trial);
        let fault = ConformanceFinding::fault("trial_not_reverted", REVERT, &remedy).at("/running");
        fault.got(got).by_command(&command)
    }
}

/// How a pause ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PauseEnding {
    /// Nothing was done.
    Refused,
    /// It does nothing any more; the bot may be paused by it.
    Over,
    /// The bot may still be at it.
    Open,
}

fn is_as_before(now: &ConfigState, trial: &OpenTrial) -> bool {
    now.running == trial.before && now.trial.is_none()
}

fn has_outcome(now: &ConfigState, trial: &OpenTrial) -> bool {
    now.last_outcome.as_ref().is_some_and(|(txn, _)| *txn == trial.txn)
}

/// The state in which the bot is, in its own words.
fn standing_of(state: &BotReport) -> String {
    let enabled = state.trading_enabled.map_or_else(|| "not said".to_owned(), |enabled| enabled.to_string());
    format!("the bot shows phase `{}`, trading_enabled {enabled}", state.phase)
}
