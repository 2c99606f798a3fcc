//! From a command to its answer: the handler runs on a thread of its own, so it delays no reader and no other command.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use botops_contract::{CommandRequest, CommandResult, CommandStatus, ContractRefusal, EXPIRED, Verb};
use botops_core::tasks::{OnFailure, Tasks};
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::bot_handle::BotHandle;
use super::command_book::{AdmittedCommand, CommandBook};
use super::command_task::CommandTask;
use super::operator_command::{CommandReply, OperatorCommand};
use super::panic_message::panic_message;
use super::refusals::{NOT_CAPABLE, refusal};

/// How long a caller waits: less than the ten seconds of botops.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What the bot does on a verb.
pub(crate) type CommandHandler =
    Arc<dyn Fn(OperatorCommand) -> BoxFuture<'static, CommandReply> + Send + Sync>;

/// Carries out the commands of a bot.
pub(crate) struct CommandRunner {
    handlers: VerbHandlers,
    book: CommandBook,
    bot: BotHandle,
    tasks: Tasks,
    answer_within: Duration,
    running: RunningVerbs,
    running_previews: RunningVerbs,
}

/// What the bot does on its verbs, and what it says of them before.
#[derive(Default)]
pub(crate) struct VerbHandlers {
    pub commands: HashMap<Verb, CommandHandler>,
    pub previews: HashMap<Verb, CommandHandler>,
}

impl CommandRunner {
    pub(crate) fn new(handlers: VerbHandlers, book: CommandBook, bot: BotHandle, tasks: Tasks) -> Self {
        let (running, running_previews) = (RunningVerbs::default(), RunningVerbs::default());
        Self { handlers, book, bot, tasks, answer_within: ANSWER_WITHIN, running, running_previews }
    }

    /// The answer to a command.
    pub(crate) async fn run(
        self: Arc<Self>,
        verb: Verb,
        request: CommandRequest,
    ) -> Result<CommandResult, ContractRefusal> {
        let Some(handler) = self.handlers.commands.get(&verb) else {
            return Err(refusal(NOT_CAPABLE, "this bot cannot do that"));
        };
        if request.dry_run {
            let command_id = request.command_id.clone();
            let reply = self.predict(verb, request).await?;
            return Ok(self.bot.with_state(reply.into_result(&command_id)));
        }
        let (task, is_new) = match self.book.admit(verb, &request)? {
            AdmittedCommand::Known(task) => (task, false),
            AdmittedCommand::New(task) => (task, true),
        };
        if is_new {
            let Some(turn) = self.running.begin(verb) else {
                self.book.remove(&request.command_id);
                return Err(refusal(
                    "busy",
                    &format!("an earlier {verb} has not ended; this one was not begun"),
                ));
            };
            let (runner, handler, task, on) =
                (self.clone(), handler.clone(), task.clone(), Handle::current());
            self.tasks.spawn_thread("command handler", OnFailure::Log, move || {
                let result = runner.carry_out(&task, request, &handler, &on);
                // Before the answer is told: who hears it may send the next command at once.
                drop(turn);
                result.into_iter().for_each(|result| task.finish(result));
            });
        }
        let answer = self.wait_for(&task).await;
        Ok(CommandResult { replayed: !is_new, ..answer })
    }

    /// What a verb would do, as the bot's own preview says it.
    async fn predict(&self, verb: Verb, request: CommandRequest) -> Result<CommandReply, ContractRefusal> {
        let Some(preview) = self.handlers.previews.get(&verb).cloned() else {
            let message =
                format!("it would run the bot's handler of {verb}; what that does is not predicted");
            return Ok(CommandReply::predicted(&message));
        };
        let Some(turn) = self.running_previews.begin(verb) else {
            return Err(refusal("busy", &format!("an earlier preview of {verb} has not ended")));
        };
        let (reply, answer) = oneshot::channel();
        let on = Handle::current();
        self.tasks.spawn_thread("command preview", OnFailure::Log, move || {
            let previewed = call_handler(&preview, verb, request, &on);
            drop(turn);
            // Fails when nobody waits any more.
            let _ = reply.send(previewed);
        });
        Ok(match tokio::time::timeout(self.answer_within, answer).await {
            Ok(Ok(Ok(reply))) => reply.into_prediction(),
            Ok(Ok(Err(said))) => {
                tracing::error!("the bot's preview of {verb} panicked ({said})");
                CommandReply::preview_panicked(verb, &said)
            }
            Ok(Err(_)) | Err(_) => CommandReply::preview_late(verb, self.answer_within.as_secs_f32()),
        })
    }

    /// What became of a command; `None` for a bot that does not know it after a restart.
    pub(crate) fn status(&self, command_id: String) -> Option<CommandStatus> {
        self.book.is_kept().then(|| self.book.status(command_id))
    }

    /// The answer, on disk where that is possible; `None` for a command that was withdrawn. Runs on a thread of its own.
    fn carry_out(
        &self,
        task: &CommandTask,
        request: CommandRequest,
        handler: &CommandHandler,
        on: &Handle,
    ) -> Option<CommandResult> {
        if !task.is_expired()
            && let Err(error) = self.book.note_arrival(task)
        {
            let message = format!("it cannot be written down, so it was not begun: {error}");
            let refused = CommandReply::refused("journal_unwritable", &message);
            return Some(self.bot.with_state(refused.into_result(&task.command_id)));
        }
        // Looked at after the write: the disk may have taken long.
        if task.is_expired() {
            return Some(self.keep(task, "", expired()));
        }
        if !task.begin() {
            return None;
        }
        let (verb, why) = (task.verb, request.reason.clone());
        let reply = call_handler(handler, verb, request, on).unwrap_or_else(|said| {
            tracing::error!("the bot's handler of {verb} panicked ({said}); it may have acted");
            CommandReply::panicked(verb, &said)
        });
        Some(self.keep(task, &why, reply))
    }

    fn keep(&self, task: &CommandTask, reason: &str, reply: CommandReply) -> CommandResult {
        if reply.is_done() {
            self.bot.take_effect(task.verb, reason);
        }
        let result = self.bot.with_state(reply.into_result(&task.command_id));
        self.book.keep(task, &result);
        result
    }

    async fn wait_for(&self, task: &CommandTask) -> CommandResult {
        if let Some(result) = task.wait(self.answer_within).await {
            return result;
        }
        if task.withdraw() {
            let message = "it could not be begun in time; it was withdrawn and is not carried out";
            let refused = CommandReply::refused(EXPIRED, message).into_result(&task.command_id);
            task.finish(self.bot.with_state(refused));
        }
        task.result().unwrap_or_else(|| {
            let message = "the bot has begun it and has not finished it yet; ask what became of it";
            self.bot.with_state(CommandReply::unconfirmed(message).into_result(&task.command_id))
        })
    }
}

fn expired() -> CommandReply {
    CommandReply::refused(EXPIRED, "it was not begun while it was wanted, so it is not carried out")
}

/// Runs a handler on this thread.
///
/// # Errors
/// The message of its panic.
fn call_handler(
    handler: &CommandHandler,
    verb: Verb,
    request: CommandRequest,
    on: &Handle,
) -> Result<CommandReply, String> {
    let CommandRequest { command_id, reason, args, .. } = request;
    let handled = || on.block_on(handler(OperatorCommand { verb, command_id, reason, args }));
    std::panic::catch_unwind(AssertUnwindSafe(handled)).map_err(|panic| panic_message(&*panic))
}

/// The verbs whose handler runs: one at a time each, so a handler that hangs takes one thread and no more.
#[derive(Debug, Clone, Default)]
struct RunningVerbs(Arc<Mutex<HashSet<Verb>>>);

impl RunningVerbs {
    /// Marks a verb as running until what is returned is dropped; `None` while it runs.
    fn begin(&self, verb: Verb) -> Option<RunningVerb> {
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(verb);
        is_free.then(|| RunningVerb { all: self.clone(), verb })
    }
}

/// A verb whose handler runs.
struct RunningVerb {
    all: RunningVerbs,
    verb: Verb,
}

impl Drop for RunningVerb {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.verb);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use botops_contract::{CommandOutcome, TradingMode};
    use futures_util::FutureExt;

    /// Answers a pause with a book of this kind, and says how often its handler ran.
    async fn pause_with(book: CommandBook) -> (CommandResult, u32) {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        let handler: CommandHandler = Arc::new(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { CommandReply::done("paused") }.boxed()
        });
        let bot = BotHandle::new("life", TradingMode::Paper, std::sync::mpsc::sync_channel(1).0);
        let commands = HashMap::from([(Verb::Pause, handler)]);
        let handlers = VerbHandlers { commands, ..VerbHandlers::default() };
        let runner = Arc::new(CommandRunner::new(handlers, book, bot, Tasks::new()));
        let request = serde_json::json!({"command_id": "1", "reason": "a test"});
        let result = runner.run(Verb::Pause, serde_json::from_value(request).unwrap()).await.unwrap();
        (result, runs.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_is_refused_and_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let (refused, runs) = pause_with(CommandBook::unwritable(&folder.path().join("a"))).await;
        assert_eq!((refused.outcome, runs), (CommandOutcome::Refused, 0));
        assert_eq!(refused.reason_code.as_deref(), Some("journal_unwritable"));
        assert_eq!(refused.trading_enabled, Some(true));
        let (done, runs) = pause_with(CommandBook::open(&folder.path().join("b")).unwrap()).await;
        assert_eq!((done.outcome, runs), (CommandOutcome::Done, 1));
    }
}
