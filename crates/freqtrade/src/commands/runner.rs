//! Runs commands one at a time, each id once.
//!
//! A command is carried out in a task of its own, so that it goes on when its sender is gone; the sender waits for it for
//! a time, and `GET commands/{id}` says how it ended.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::block_in_place;

use super::accepted::AcceptedCommand;
use super::arguments::CommandArguments;
use super::awaited::AwaitedEffect;
use super::carry_out::{CarriedOut, LONGEST_MESSAGE, carry_out, nothing_done};
use super::facts::{CommandFacts, FactsReader};
use super::follow_up::watch_effect;
use super::journal::{CommandJournal, JournaledCommand};
use super::plan::FreqtradePlan;
use crate::polling::{PictureCell, UpstreamReach};
use crate::upstream::{FreqtradeClient, OWN_LOCK, UpstreamFailure};
use botops_contract::{
    COMMAND_STATUS, Capability, CommandOutcome, CommandProgress, CommandRequest, CommandResult,
    CommandStatus, ContractRefusal, DURABLE_PAUSE, EXPIRED, Verb,
};
use botops_core::tasks::{OnFailure, Tasks};
use botops_core::text::clean;

/// How long a sender waits: botops itself waits 10 s, and an answer has to reach it before.
const REPLY_LIMIT: Duration = Duration::from_secs(8);

/// How long an answer waits for the readers; a freqtrade that is away is not waited for longer.
const REFRESH_LIMIT: Duration = Duration::from_secs(2);

/// Time in which an answer of freqtrade becomes a state.
const PUBLISH_MOMENT: Duration = Duration::from_millis(20);

/// How long an effect that did not show in its time is looked for: botops asks for it as long.
const FOLLOWED_FOR: TimeDelta = TimeDelta::hours(1);

/// The verbs that freqtrade can carry out. `shutdown` is the supervisor's, and freqtrade's `stop` is no `halt`: it leaves
/// open trades to themselves.
const VERBS: [Verb; 4] = [Verb::Pause, Verb::Resume, Verb::CancelOrders, Verb::Flatten];

/// Handle to the commands; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    shared: Arc<CommandsUnderWay>,
}

struct CommandsUnderWay {
    client: FreqtradeClient,
    reader: FactsReader,
    /// What readers are told; read anew after a command.
    cell: PictureCell,
    tasks: Tasks,
    journal: Mutex<CommandJournal>,
    /// Commands that are not answered yet, by id.
    open: Mutex<HashMap<String, (Verb, OpenAnswer)>>,
    /// Held by the command that is carried out.
    turn: tokio::sync::Mutex<()>,
}

type OpenAnswer = watch::Receiver<Option<CommandResult>>;

impl fmt::Debug for CommandsUnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandsUnderWay").finish_non_exhaustive()
    }
}

impl Commands {
    /// What the adapter can do for freqtrade, as `hello` lists it. The adapter keeps these promises and freqtrade does
    /// not: they end with it.
    pub(crate) fn capabilities() -> Vec<Capability> {
        let names = VERBS.iter().map(|verb| verb.as_str()).chain([COMMAND_STATUS, DURABLE_PAUSE]);
        names.map(Capability::by_adapter).collect()
    }

    /// Commands for the freqtrade of `client`, with their journal in this file. `adapter` is what tells this adapter's
    /// locks from those of another, over its restarts.
    ///
    /// # Errors
    /// One sentence when the journal cannot be read or written: without it no command can be given once.
    pub(crate) fn open(
        client: FreqtradeClient,
        cell: PictureCell,
        journal: &Path,
        adapter: &str,
        tasks: Tasks,
    ) -> Result<Self, String> {
        let opened = CommandJournal::open(journal)
            .map_err(|error| format!("{}: {error}; move it away to begin a new one", journal.display()))?;
        let reader = FactsReader::new(client.clone(), format!("{OWN_LOCK} {adapter}"), cell.clone());
        let awaited: Vec<_> =
            opened.awaited().map(|(command, effect)| (command.clone(), effect.clone())).collect();
        let shared = Arc::new(CommandsUnderWay {
            client,
            reader,
            cell,
            tasks,
            journal: Mutex::new(opened),
            open: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
        });
        let now = Utc::now();
        for (command, effect) in awaited {
            shared.follow(&command, effect, now);
        }
        Ok(Self { shared })
    }

    /// Carries a command out, or says what it would do. The same id again returns the first answer.
    ///
    /// # Errors
    /// A refusal of the request itself; nothing was done.
    pub(crate) async fn run(
        &self,
        verb: Verb,
        request: CommandRequest,
    ) -> Result<CommandResult, ContractRefusal> {
        let arrived = Instant::now();
        if !VERBS.contains(&verb) {
            return Err(refusal("not_capable", "freqtrade has no such command"));
        }
        let arguments = match CommandArguments::read(verb, &request.args, self.shared.reader.upstream_time())
        {
            Ok(arguments) => arguments,
            Err(problem) => return Err(refusal("invalid_arguments", &problem)),
        };
        let command = AcceptedCommand { verb, request, arguments, arrived };
        if command.request.dry_run {
            return Ok(self.shared.predict(&command).await);
        }
        let id = command.request.command_id.clone();
        let (answer, is_new) = match self.shared.find_or_begin(command)? {
            FoundCommand::Answered(result) => return Ok(*result),
            FoundCommand::Open(answer) => (answer, false),
            FoundCommand::New(answer) => (answer, true),
        };
        let answered = wait_for_answer(answer).await;
        Ok(match answered {
            Some(result) => CommandResult { replayed: !is_new, ..result },
            None => self.shared.unfinished_answer(&id),
        })
    }

    /// How far a command has got. Reading it changes nothing.
    pub(crate) fn status(&self, command_id: String) -> CommandStatus {
        let (progress, result) = self.shared.progress_of(&command_id);
        CommandStatus { command_id, progress, result, refusal: None }
    }
}

/// A command id as it was met.
enum FoundCommand {
    Answered(Box<CommandResult>),
    Open(OpenAnswer),
    New(OpenAnswer),
}

impl CommandsUnderWay {
    /// What the command would do.
    async fn predict(&self, command: &AcceptedCommand) -> CommandResult {
        // The sender of a dry run waits for it, and gets an answer in time.
        let read = tokio::time::timeout(REPLY_LIMIT, self.reader.read()).await;
        let facts = match read.unwrap_or(Err(UpstreamFailure::Late)) {
            Ok(facts) => facts,
            Err(failure) => return answer_to(command, nothing_done(&failure)),
        };
        let plan = FreqtradePlan::new(command.verb, &command.request, &command.arguments, &facts);
        if let Some(code) = plan.refused {
            return answer_to(command, refused(code, &plan.sentence, Some(facts)));
        }
        let message =
            if plan.is_done_already() { plan.sentence } else { format!("it would {}", plan.sentence) };
        let predicted = CarriedOut {
            outcome: CommandOutcome::Predicted,
            reason_code: None,
            message: clean(&message, LONGEST_MESSAGE),
            exposure: Some(plan.exposure),
            facts: Some(facts),
            awaited: None,
        };
        answer_to(command, predicted)
    }

    /// The answer to a sender who waits no longer: how far the command has got, and what keeps it.
    fn unfinished_answer(&self, id: &str) -> CommandResult {
        let is_begun = lock(&self.journal).find(id).is_some();
        let sent = if is_begun {
            "the adapter carries it out: freqtrade was sent a request, or may have been, and its effect was not seen yet"
        } else {
            "nothing was sent to freqtrade yet: its own state has to be read first, and a command before this one to end"
        };
        let reach = match self.cell.reach() {
            UpstreamReach::Refused { message, .. } => format!("; {message}"),
            UpstreamReach::Answers => String::new(),
        };
        let message = format!("{sent}{reach}. Its status says how it ends");
        bare_result(id, CommandOutcome::Unconfirmed, &clean(&message, LONGEST_MESSAGE))
    }

    fn progress_of(&self, command_id: &str) -> (CommandProgress, Option<CommandResult>) {
        if lock(&self.open).contains_key(command_id) {
            return (CommandProgress::Pending, None);
        }
        match lock(&self.journal).find(command_id) {
            Some(known) => (CommandProgress::Answered, Some(known_answer(known))),
            None => (CommandProgress::Unknown, None),
        }
    }

    /// The command of this id, begun when it is new.
    fn find_or_begin(self: &Arc<Self>, command: AcceptedCommand) -> Result<FoundCommand, ContractRefusal> {
        let id = command.request.command_id.clone();
        let mut open = lock(&self.open);
        let check_verb = |verb: Verb| {
            if verb == command.verb {
                return Ok(());
            }
            let what = format!("this id was used for {verb} before; nothing was done");
            Err(refusal("command_id_used", &what))
        };
        if let Some((verb, answer)) = open.get(&id) {
            check_verb(*verb)?;
            return Ok(FoundCommand::Open(answer.clone()));
        }
        if let Some(known) = lock(&self.journal).find(&id) {
            check_verb(known.verb)?;
            return Ok(FoundCommand::Answered(Box::new(known_answer(known))));
        }
        let (sender, answer) = watch::channel(None);
        open.insert(id.clone(), (command.verb, answer.clone()));
        let under_way = OpenCommandGuard { commands: self.clone(), id };
        self.tasks.spawn("freqtrade_command", OnFailure::Log, async move {
            let result = under_way.commands.carry_out_in_turn(&command).await;
            sender.send_replace(Some(result));
            drop(under_way);
        });
        Ok(FoundCommand::New(answer))
    }

    async fn carry_out_in_turn(self: &Arc<Self>, command: &AcceptedCommand) -> CommandResult {
        let _turn = self.turn.lock().await;
        let mut ended = self.carry_out_now(command).await;
        let awaited = ended.awaited.take();
        let since = Utc::now();
        self.refresh_readers().await;
        let result = answer_to(command, ended);
        let answered = journaled(command, Some(result.clone()), awaited.clone());
        self.write_answer(answered.clone());
        if let Some(effect) = awaited {
            self.follow(&answered, effect, since);
        }
        tracing::info!(
            command.id = %result.command_id,
            "{} ended {:?}: {}", command.verb, result.outcome, result.message
        );
        result
    }

    async fn carry_out_now(&self, command: &AcceptedCommand) -> CarriedOut {
        if command.is_expired() {
            return expired();
        }
        let facts = match self.reader.read().await {
            Ok(facts) => facts,
            Err(failure) => return nothing_done(&failure),
        };
        let plan = FreqtradePlan::new(command.verb, &command.request, &command.arguments, &facts);
        if let Some(code) = plan.refused {
            return refused(code, &plan.sentence, Some(facts));
        }
        if plan.is_done_already() {
            return CarriedOut {
                outcome: CommandOutcome::Done,
                reason_code: None,
                message: clean(&plan.sentence, LONGEST_MESSAGE),
                exposure: Some(plan.exposure),
                facts: Some(facts),
                awaited: None,
            };
        }
        // The last moment: the reads before it may have taken seconds.
        if command.is_expired() {
            return expired();
        }
        let begun = journaled(command, None, Some(AwaitedEffect::of_plan(&plan)));
        if let Err(error) = block_in_place(|| lock(&self.journal).write(begun)) {
            let what = format!(
                "the adapter cannot write it down ({error}), so it was not sent: free space on its disk"
            );
            return refused("journal_unwritable", &what, Some(facts));
        }
        botops_core::failpoints::point("freqtrade_command.begun");
        carry_out(&self.client, &self.reader, command, &plan, &facts, &self.tasks.stopping()).await
    }

    /// Goes on looking for the effect of a command until it is seen, comes no more, or is asked for no longer. A later
    /// command of the contrary does not end that: a request of unknown fate may be carried out after it.
    fn follow(self: &Arc<Self>, command: &JournaledCommand, effect: AwaitedEffect, since: DateTime<Utc>) {
        let Ok(left) = (command.at + FOLLOWED_FOR - Utc::now()).to_std() else { return };
        let (id, verb) = (command.command_id.clone(), command.verb);
        let (commands, stopping) = (self.clone(), self.tasks.stopping());
        self.tasks.spawn("freqtrade_follow_up", OnFailure::Log, async move {
            let watched = watch_effect(&commands.reader, verb, &effect, since);
            let ended = tokio::select! {
                // It is awaited on disk, too, so the next run of the adapter goes on.
                () = stopping.cancelled() => return,
                ended = tokio::time::timeout(left, watched) => ended,
            };
            if let Ok(ended) = ended {
                commands.end_follow_up(&id, ended);
            }
        });
    }

    /// Writes down how a command ended after all.
    fn end_follow_up(&self, id: &str, ended: CarriedOut) {
        let Some(known) = lock(&self.journal).find(id).cloned() else { return };
        let (verb, outcome) = (known.verb, ended.outcome);
        tracing::info!(command.id = %id, "{verb} ended {outcome:?} after all: {}", ended.message);
        let result = Some(answer_of(id, verb, ended));
        self.write_answer(JournaledCommand { result, awaited: None, ..known });
    }

    /// Lets the readers see what the command did, since what was acknowledged has to show in the next read.
    async fn refresh_readers(&self) {
        let ended = Utc::now();
        self.cell.wake_pollers();
        let is_read = || {
            let picture = self.cell.load();
            let is_new = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at > ended);
            is_new(picture.as_of()) && is_new(picture.locks.at())
        };
        let until = Instant::now() + REFRESH_LIMIT;
        while !is_read() && Instant::now() < until {
            tokio::time::sleep(PUBLISH_MOMENT).await;
        }
        // The publisher is woken by the last answer and renders it in far less time.
        tokio::time::sleep(PUBLISH_MOMENT).await;
    }

    /// Writes an answer down. It holds as long as the adapter runs also where that fails: what was done was done.
    fn write_answer(&self, answered: JournaledCommand) {
        let mut journal = lock(&self.journal);
        if let Err(error) = block_in_place(|| journal.write(answered.clone())) {
            let id = &answered.command_id;
            tracing::error!(command.id = %id, "the answer of command {id} could not be written down: {error}");
            journal.remember(answered);
        }
    }
}

/// A command that is under way, until this is dropped; also when its task panics.
struct OpenCommandGuard {
    commands: Arc<CommandsUnderWay>,
    id: String,
}

impl Drop for OpenCommandGuard {
    fn drop(&mut self) {
        lock(&self.commands.open).remove(&self.id);
    }
}

/// Waits for the answer as long as its sender does.
async fn wait_for_answer(mut answer: OpenAnswer) -> Option<CommandResult> {
    let answered = tokio::time::timeout(REPLY_LIMIT, answer.wait_for(Option::is_some)).await;
    answered.ok()?.ok()?.clone()
}

/// The answer of a command that came before. One without an answer was cut off when the adapter ended.
fn known_answer(known: &JournaledCommand) -> CommandResult {
    match &known.result {
        Some(result) => CommandResult { replayed: true, ..result.clone() },
        None => CommandResult {
            replayed: true,
            at: Some(known.at),
            ..bare_result(
                &known.command_id,
                CommandOutcome::Unconfirmed,
                "the adapter ended while it carried this out, so it may have been sent or not; it is not sent again. Look \
                 at freqtrade's state and its open trades",
            )
        },
    }
}

fn journaled(
    command: &AcceptedCommand,
    result: Option<CommandResult>,
    awaited: Option<AwaitedEffect>,
) -> JournaledCommand {
    let command_id = command.request.command_id.clone();
    JournaledCommand { command_id, verb: command.verb, at: Utc::now(), result, awaited }
}

fn answer_to(command: &AcceptedCommand, ended: CarriedOut) -> CommandResult {
    answer_of(&command.request.command_id, command.verb, ended)
}

fn answer_of(command_id: &str, verb: Verb, ended: CarriedOut) -> CommandResult {
    let facts = ended.facts.as_ref();
    let reason = facts.and_then(CommandFacts::no_entry_reason);
    // Done, and still no entries: whoever resumed has to hear why.
    let unexplained = verb == Verb::Resume && ended.outcome == CommandOutcome::Done;
    CommandResult {
        command_id: command_id.to_owned(),
        outcome: ended.outcome,
        reason_code: ended.reason_code.or(reason.filter(|_| unexplained)).map(str::to_owned),
        message: ended.message,
        phase: facts.map(|facts| facts.state.phase()),
        phase_raw: facts.and_then(|facts| facts.state.other_word()),
        trading_enabled: facts.map(|_| reason.is_none()),
        exposure: ended.exposure,
        at: Some(Utc::now()),
        replayed: false,
    }
}

fn expired() -> CarriedOut {
    refused(EXPIRED, "it was not begun while it was wanted, so it is not carried out", None)
}

fn refused(code: &'static str, message: &str, facts: Option<CommandFacts>) -> CarriedOut {
    CarriedOut {
        outcome: CommandOutcome::Refused,
        reason_code: Some(code),
        message: clean(message, LONGEST_MESSAGE),
        exposure: None,
        facts,
        awaited: None,
    }
}

fn bare_result(id: &str, outcome: CommandOutcome, message: &str) -> CommandResult {
    CommandResult {
        command_id: id.to_owned(),
        outcome,
        reason_code: None,
        message: message.to_owned(),
        phase: None,
        phase_raw: None,
        trading_enabled: None,
        exposure: None,
        at: None,
        replayed: false,
    }
}

fn refusal(code: &str, message: &str) -> ContractRefusal {
    ContractRefusal { code: code.to_owned(), message: message.to_owned(), context: Value::Null }
}

/// No holder of these locks panics; what they guard is whole in any case.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
