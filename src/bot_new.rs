//! `botops bot new`: a folder with a bot that works, its config schema, the SDK that it uses, and units for both.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};

use crate::terminal::{print_line, report_failure};
use botops_contract::BotId;
use botops_core::setup_files::{SetupFile, SetupProblem, quoted_value, unit_path, unit_word, write_files};
use botops_core::text::clean;
use botops_http::{KeyScope, new_key};

/// The longest path of a Unix socket.
const LONGEST_SOCKET: usize = 107;

/// A language that a bot can be begun in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BotLanguage {
    /// Python 3.9 or later; nothing has to be installed
    Python,
}

/// What `botops bot new` is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct NewBotOptions {
    /// The language of the bot
    language: BotLanguage,
    /// The folder for it; made when it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The bot's id; the folder's name unless told otherwise
    #[arg(long)]
    id: Option<BotId>,
}

/// A file that is written as it is, but for `@BOT_ID@`.
type TemplateFile = (&'static str, &'static str);

macro_rules! files_of {
    ($folder:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!("../clients/python/", $folder, "/", $name)))),*]
    };
}

/// The bot and what belongs to it.
const TEMPLATE: &[TemplateFile] =
    files_of!("template": "bot.py" "config.json" "config.schema.json" "README.md");

/// The SDK, whole: the folder works without an installation, and keeps the version that it was begun with.
const SDK: &[TemplateFile] = files_of!("botops":
    "__init__.py" "address.py" "aio.py" "bot.py" "ccxt.py" "change.py" "checks.py" "commands.py" "config.py"
    "config_files.py" "connections.py" "core.py" "durable.py" "events.py" "forks.py" "given.py" "handlers.py"
    "http.py" "late.py" "loop.py" "numbers.py" "problems.py" "py.typed" "records.py" "router.py" "schema.py"
    "schema_check.py" "server.py" "state.py" "told.py" "trades.py"
);

/// Writes the folder; exit code 1, with one sentence, when that cannot be done.
pub(crate) fn run(options: &NewBotOptions) -> ExitCode {
    match begin_bot(options) {
        Ok(said) => {
            print_line(&said);
            ExitCode::SUCCESS
        }
        Err(problem) => report_failure(&problem),
    }
}

fn begin_bot(options: &NewBotOptions) -> Result<String, String> {
    let folder = std::path::absolute(&options.folder).map_err(|error| format!("DIR: {error}"))?;
    let shown = folder.to_str().ok_or("DIR: the path is not UTF-8")?.to_owned();
    let id = match &options.id {
        Some(id) => id.clone(),
        None => id_of_folder(&folder)?,
    };
    if folder.join("run/bot.sock").as_os_str().len() > LONGEST_SOCKET {
        return Err(format!("{shown} is too long a path for a socket in it; choose a shorter one"));
    }
    let program =
        std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    let (key, _) = new_key("operator".to_owned(), [KeyScope::Read].into_iter().collect(), None)?;
    let BotLanguage::Python = options.language;
    let mut files: Vec<SetupFile> = TEMPLATE.iter().map(|file| filled_in(file, "", &id)).collect();
    files.extend(SDK.iter().map(|file| filled_in(file, "botops/", &id)));
    files.push(settings(&shown, &id, &key)?);
    files.extend(units(&shown, &program, &id)?);
    write_files(&folder, &files).map_err(|problem| match problem {
        SetupProblem::IsThere(path) => {
            format!("{} is there already, and nothing was written; choose another folder", path.display())
        }
        SetupProblem::Failed(said) => said,
    })?;
    Ok(next_steps(&shown, &id))
}

/// The folder's name as the bot's id.
fn id_of_folder(folder: &Path) -> Result<BotId, String> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.parse().map_err(|_| {
        format!("`{}` is no id of a bot (letters, digits, `-`, `_`): name one with --id", clean(name, 64))
    })
}

fn filled_in((name, content): &TemplateFile, folder: &str, id: &BotId) -> SetupFile {
    let content = content.replace("@BOT_ID@", &id.to_string());
    SetupFile { name: format!("{folder}{name}"), content, is_private: false }
}

/// The settings of botops beside this bot. In a terminal botops itself starts the bot again; under systemd the unit does.
fn settings(folder: &str, id: &BotId, key: &SecretString) -> Result<SetupFile, String> {
    let at = |part: &str| quoted_value(&format!("{folder}/{part}"), "DIR");
    let start = serde_json::json!(["python3", format!("{folder}/bot.py")]).to_string();
    let content = format!(
        "BOT_API_AUTH_TOKEN={}\nBOT_API_PORT=8000\nBOT_ID={id}\nBOT_IPC_SOCKET={}\nBOT_DATA_DIR={}\nBOT_SUPERVISOR=spawn\n\
         BOT_SUPERVISOR_COMMAND={}\nBOT_SUPERVISOR_PID_FILE={}\n",
        key.expose_secret(),
        at("run/bot.sock")?,
        at("botops-data")?,
        quoted_value(&start, "DIR")?,
        at("data/bot.pid")?,
    );
    Ok(SetupFile { name: "botops.env".to_owned(), content, is_private: true })
}

/// Units of the user's own service manager: no root, and botops may ask it to restart the bot.
fn units(folder: &str, program: &Path, id: &BotId) -> Result<[SetupFile; 2], String> {
    let directory = unit_path(folder)?;
    let program = unit_word(&program.display().to_string())?;
    let bot = format!(
        "[Unit]\nDescription=The trading bot {id}\n# No dependency on botops: each runs on without the other.\n\n[Service]\n\
         WorkingDirectory={directory}\nExecStart=/usr/bin/env python3 {script}\nRestart=always\nRestartSec=2\nUMask=0077\n\n\
         [Install]\nWantedBy=default.target\n",
        script = unit_word(&format!("{folder}/bot.py"))?,
    );
    let botops = format!(
        "[Unit]\nDescription=botops beside the trading bot {id}\n\n[Service]\nType=notify\nNotifyAccess=main\n\
         WorkingDirectory={directory}\nEnvironmentFile={settings}\n# The bot is a unit here: its manager starts it again, and nothing else does.\n\
         ExecStart=/usr/bin/env BOT_SUPERVISOR=systemd-user:{id}.service {program} serve\nExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=always\nRestartSec=2\nWatchdogSec=30\nTimeoutStopSec=15\nUMask=0077\nCPUWeight=20\n\n\
         [Install]\nWantedBy=default.target\n",
        settings = unit_path(&format!("{folder}/botops.env"))?,
    );
    let unit = |name: String, content: String| SetupFile { name, content, is_private: false };
    Ok([unit(format!("{id}.service"), bot), unit(format!("{id}-botops.service"), botops)])
}

fn next_steps(folder: &str, id: &BotId) -> String {
    let folder = clean(folder, 200);
    format!(
        "{folder} has the bot `{id}`, which trades on made-up prices. In two terminals:\n  cd {folder} && python3 bot.py\n  cd \
         {folder} && (set -a; . ./botops.env; botops serve)\n\nThen look at it, as botops does:\n  botops bot check \
         {folder}/run/bot.sock\n\n{folder}/README.md goes on from there. The key of the API is in {folder}/botops.env."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that is added to the SDK belongs to every new bot.
    #[test]
    fn every_file_of_the_sdk_and_of_the_template_is_written() {
        for (folder, files) in [("botops", SDK), ("template", TEMPLATE)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python").join(folder);
            let there = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
            let there = there.filter(|entry| entry.file_type().unwrap().is_file());
            let mut there: Vec<String> =
                there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            let mut written: Vec<String> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
            there.sort();
            written.sort();
            assert_eq!(written, there, "{}", folder.display());
        }
    }

    #[test]
    fn a_folder_that_names_no_bot_needs_an_id() {
        assert_eq!(id_of_folder(Path::new("/home/me/my-bot")).unwrap().to_string(), "my-bot");
        assert!(id_of_folder(Path::new("/home/me/my bot")).unwrap_err().contains("--id"));
    }
}
