//! The commands by id: each is begun once, and its first answer is kept, with a folder also over a restart.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use botops_contract::{CommandProgress, CommandRequest, CommandResult, CommandStatus, ContractRefusal, Verb};
use serde::{Deserialize, Serialize};

use super::command_task::CommandTask;
use super::json_lines::JsonLinesFile;
use super::operator_command::CommandReply;
use super::refusals::refusal;

/// Answers that a repeated command gets; older ones are forgotten.
const KEPT_ANSWERS: usize = 1_000;
/// Lines of the file, two a command, beyond which a start keeps the newest commands alone.
const LONGEST_FILE: usize = 5 * KEPT_ANSWERS;

/// The commands that arrived.
#[derive(Debug, Default)]
pub(crate) struct CommandBook {
    tasks: Mutex<CommandsById>,
    /// A lock of its own: who asks for an answer must not wait for a disk.
    file: Option<Mutex<JsonLinesFile>>,
}

#[derive(Debug, Default)]
struct CommandsById {
    by_id: HashMap<String, Arc<CommandTask>>,
    /// The ids in the order in which they came.
    order: VecDeque<String>,
}

/// One line of the file: that a command arrived, and later what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CommandLine {
    id: String,
    verb: Verb,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<CommandResult>,
}

/// A command that was taken up.
pub(crate) enum AdmittedCommand {
    /// It is the first with its id.
    New(Arc<CommandTask>),
    /// Its id came before.
    Known(Arc<CommandTask>),
}

impl CommandBook {
    /// A book that is kept in this file, with the commands of earlier starts.
    ///
    /// # Errors
    /// One sentence: the file cannot be used.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let (mut file, lines) = JsonLinesFile::open::<CommandLine>(path)?;
        let count = lines.len();
        let mut tasks = CommandsById::default();
        let mut newest: HashMap<String, CommandLine> = HashMap::new();
        for line in lines {
            if newest.insert(line.id.clone(), line.clone()).is_none() {
                tasks.order.push_back(line.id);
            }
        }
        tasks.order.drain(..tasks.order.len().saturating_sub(KEPT_ANSWERS));
        let kept: Vec<CommandLine> = tasks.order.iter().filter_map(|id| newest.remove(id)).collect();
        if count > LONGEST_FILE {
            file = JsonLinesFile::replace(path, &kept)?;
        }
        for line in kept {
            let message = "the bot ended while it was under way; whether it took effect is not known";
            let result =
                line.result.unwrap_or_else(|| CommandReply::unconfirmed(message).into_result(&line.id));
            tasks.by_id.insert(line.id, Arc::new(CommandTask::answered(line.verb, result)));
        }
        Ok(Self { tasks: Mutex::new(tasks), file: Some(Mutex::new(file)) })
    }

    /// Whether what became of a command is known also after a restart.
    pub(crate) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// Takes a command up, or finds it.
    ///
    /// # Errors
    /// A refusal: the id was another verb's.
    pub(crate) fn admit(
        &self,
        verb: Verb,
        request: &CommandRequest,
    ) -> Result<AdmittedCommand, ContractRefusal> {
        let mut tasks = self.lock();
        if let Some(known) = tasks.by_id.get(&request.command_id) {
            if known.verb != verb {
                return Err(refusal("id_reused", &format!("this command_id was used for {}", known.verb)));
            }
            return Ok(AdmittedCommand::Known(known.clone()));
        }
        let task = Arc::new(CommandTask::new(verb, request));
        tasks.by_id.insert(request.command_id.clone(), task.clone());
        tasks.order.push_back(request.command_id.clone());
        tasks.forget_oldest();
        Ok(AdmittedCommand::New(task))
    }

    /// Takes a command out that was refused before anything of it was kept: it may come again.
    pub(crate) fn remove(&self, command_id: &str) {
        let mut tasks = self.lock();
        tasks.by_id.remove(command_id);
        tasks.order.retain(|id| id != command_id);
    }

    /// Has it on disk that the command may be begun from here on.
    ///
    /// # Errors
    /// The error of the file system, as a sentence: then it must not be begun.
    pub(crate) fn note_arrival(&self, task: &CommandTask) -> Result<(), String> {
        self.write(task, None)
    }

    /// Writes down what became of a command, before anybody hears it.
    pub(crate) fn keep(&self, task: &CommandTask, result: &CommandResult) {
        if let Err(error) = self.write(task, Some(result)) {
            let id = &task.command_id;
            tracing::error!(
                "what became of command {id} is not on disk, so it is lost at a restart: {error}"
            );
        }
    }

    /// `GET commands/{command_id}`.
    pub(crate) fn status(&self, command_id: String) -> CommandStatus {
        let task = self.lock().by_id.get(&command_id).cloned();
        let result = task.as_ref().and_then(|task| task.result());
        let progress = match (&task, &result) {
            (_, Some(_)) => CommandProgress::Answered,
            (Some(_), None) => CommandProgress::Pending,
            (None, None) => CommandProgress::Unknown,
        };
        CommandStatus { command_id, progress, result, refusal: None }
    }

    fn write(&self, task: &CommandTask, result: Option<&CommandResult>) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let line = CommandLine { id: task.command_id.clone(), verb: task.verb, result: result.cloned() };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.append(&line).map_err(|error| error.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, CommandsById> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommandsById {
    /// Forgets the oldest commands beyond what is kept, as far as they are answered.
    fn forget_oldest(&mut self) {
        while self.order.len() > KEPT_ANSWERS {
            let Some(oldest) = self.order.front() else { return };
            if self.by_id.get(oldest).is_some_and(|task| task.result().is_none()) {
                return;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
impl CommandBook {
    /// A book whose file takes no line.
    pub(crate) fn unwritable(path: &Path) -> Self {
        Self { tasks: Mutex::default(), file: Some(Mutex::new(JsonLinesFile::unwritable(path))) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use botops_contract::CommandOutcome;

    fn request(id: &str) -> CommandRequest {
        serde_json::from_value(serde_json::json!({"command_id": id, "reason": "a test"})).unwrap()
    }

    fn new_task(book: &CommandBook, id: &str) -> Arc<CommandTask> {
        match book.admit(Verb::Pause, &request(id)).unwrap() {
            AdmittedCommand::New(task) => task,
            AdmittedCommand::Known(_) => panic!("{id} is known"),
        }
    }

    #[test]
    fn answers_survive_a_restart_and_one_that_is_missing_is_in_doubt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.jsonl");
        let book = CommandBook::open(&path).unwrap();
        let (done, begun) = (new_task(&book, "done"), new_task(&book, "begun"));
        book.note_arrival(&done).unwrap();
        book.keep(&done, &CommandReply::done("paused").into_result("done"));
        book.note_arrival(&begun).unwrap();
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"id\": \"cut");
        fs::write(&path, text).unwrap();
        let again = CommandBook::open(&path).unwrap();
        let outcome = |id: &str| again.status(id.to_owned()).result.map(|result| result.outcome);
        assert_eq!(outcome("done"), Some(CommandOutcome::Done));
        assert_eq!(outcome("begun"), Some(CommandOutcome::Unconfirmed));
        assert_eq!(again.status("never".to_owned()).progress, CommandProgress::Unknown);
        let Ok(AdmittedCommand::Known(_)) = again.admit(Verb::Pause, &request("done")) else { panic!() };
        assert_eq!(again.admit(Verb::Resume, &request("done")).err().unwrap().code, "id_reused");
    }

    #[test]
    fn a_long_file_is_written_anew_with_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("commands.jsonl");
        let result = |id: &str| Some(CommandReply::done("paused").into_result(id));
        let line = |id: String| serde_json::json!({"id": id, "verb": "pause", "result": result(&id)});
        let lines: String = (0..=LONGEST_FILE).map(|at| format!("{}\n", line(at.to_string()))).collect();
        fs::write(&path, lines).unwrap();
        let book = CommandBook::open(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), KEPT_ANSWERS);
        assert_eq!(book.status(LONGEST_FILE.to_string()).progress, CommandProgress::Answered);
        assert_eq!(book.status("0".to_owned()).progress, CommandProgress::Unknown);
        new_task(&book, "new");
        assert_eq!(
            book.status((LONGEST_FILE + 1 - KEPT_ANSWERS).to_string()).progress,
            CommandProgress::Unknown
        );
    }
}
