//! `botops demo`: a paper-trading bot and botops beside it, in one command, with nothing to set up.
//!
//! The bot is this executable again, in a process of its own. In a throw-away folder both end together. In a folder
//! that was given, the bot goes on trading when botops ends, and the next demo in that folder connects to it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::ExposeSecret;

use crate::app::App;
use crate::process;
use crate::settings::{
    BOT_API_AUTH_TOKEN, BOT_API_PORT, BOT_DATA_DIR, BOT_IPC_SOCKET, BOT_IPC_TOKEN_FILE, BOT_IPC_UID,
    BOT_IPC_URL, BOT_LOG_DIR, BOT_SUPERVISOR, BOT_SUPERVISOR_COMMAND, BOT_SUPERVISOR_PID_FILE, SettingError,
    SettingFlags, SettingSources, Settings,
};
use crate::terminal::{print_line, report_refusal};
use botops_http::{KeyScope, new_key};
use botops_server::bots::Presence;

/// How long the bot may take to end before it is killed.
const BOT_GRACE: Duration = Duration::from_secs(5);

/// How long the first report of the bot may take before the demo prints its lines without one.
const FIRST_REPORT: Duration = Duration::from_secs(5);

/// What a demo can be told.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoOptions {
    /// Port of the API; 0 takes a free one [default: `BOT_API_PORT`, or 8000]
    #[arg(long)]
    port: Option<String>,
    /// Keep everything in this folder instead of a throw-away one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Let the bot trade on past prices from an OHLCV file instead of a simulated market
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Play broker faults to the bot from this file
    #[arg(long, value_name = "FILE")]
    fault_script: Option<PathBuf>,
    /// More arguments for the bot, after `--` (see `botops paperbot --help`)
    #[arg(last = true, value_name = "BOT ARGUMENTS")]
    bot: Vec<String>,
}

/// Runs the demo until a signal asks for the end.
pub(crate) fn run(options: &DemoOptions) -> ExitCode {
    let folder = match DemoFolder::prepare(options.data_dir.as_deref()) {
        Ok(folder) => folder,
        Err(problem) => return report_refusal(&[format!("--data-dir: {problem}")]),
    };
    let settings = match demo_settings(options, &folder) {
        Ok(settings) => settings,
        Err(lines) => {
            folder.remove();
            return report_refusal(&lines);
        }
    };
    let key = settings.token.clone();
    let throw_away = folder.throw_away;
    let code = process::serve_until_signal(
        settings,
        async move |app: &App| {
            if let Err(error) = app.handles().supervisor.start().await {
                print_line(&format!("The bot could not be started: {error}"));
            }
            wait_for_first_report(app).await;
            print_greeting(app, key.expose_secret());
        },
        async move |app: &App| {
            // In a throw-away folder the bot ends with the demo; in a folder that was given it goes on trading.
            let supervisor = &app.handles().supervisor;
            if throw_away
                && let Err(error) = supervisor.stop(&supervisor.started_processes(), BOT_GRACE).await
            {
                print_line(&format!("The bot could not be ended: {error}"));
            }
        },
    );
    folder.remove();
    code
}

/// Where the demo keeps its files.
struct DemoFolder {
    path: PathBuf,
    throw_away: bool,
}

impl DemoFolder {
    fn prepare(named: Option<&Path>) -> Result<Self, String> {
        use std::os::unix::fs::DirBuilderExt;
        let path = match named {
            Some(path) => std::path::absolute(path).map_err(|error| error.to_string())?,
            None => std::env::temp_dir().join(format!("botops-demo-{}", std::process::id())),
        };
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| format!("the folder cannot be made ({error})"))?;
        Ok(Self { path, throw_away: named.is_none() })
    }

    /// Removes a throw-away folder; keeps a folder that was given.
    fn remove(self) {
        if !self.throw_away {
            return;
        }
        // The folder is in the system's folder for temporary files, which the system cleans up.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn demo_settings(options: &DemoOptions, folder: &DemoFolder) -> Result<Settings, Vec<String>> {
    let path = |path: PathBuf| path.display().to_string();
    let mut flags = SettingFlags::default()
        .with(&BOT_DATA_DIR, path(folder.path.join("botops")))
        .with(&BOT_IPC_SOCKET, path(folder.path.join("ipc").join("bot.sock")))
        // Empty is unset: whatever the environment says, the demo watches its own bot.
        .with(&BOT_IPC_URL, "")
        .with(&BOT_IPC_TOKEN_FILE, "")
        .with(&BOT_IPC_UID, "")
        .with(&BOT_LOG_DIR, path(folder.path.join("logs")));
    if let Some(port) = &options.port {
        flags = flags.with(&BOT_API_PORT, port);
    }
    let lines = |wrong: Vec<SettingError>| wrong.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut sources = SettingSources::read(&flags).map_err(lines)?;
    if sources.get(&BOT_API_AUTH_TOKEN).is_none() {
        let (key, _) =
            new_key("demo".to_owned(), [KeyScope::Admin].into_iter().collect(), None).map_err(|e| vec![e])?;
        sources.set_default(&BOT_API_AUTH_TOKEN, key.expose_secret());
    }
    let bot = bot_command(options, folder, &sources).map_err(|problem| vec![problem])?;
    sources.set_default(&BOT_SUPERVISOR, "spawn");
    sources.set_default(&BOT_SUPERVISOR_COMMAND, bot);
    sources.set_default(
        &BOT_SUPERVISOR_PID_FILE,
        folder.path.join("paperbot/paperbot.pid").display().to_string(),
    );
    Settings::check(&sources).map_err(lines)
}

/// The bot's command line: this executable, as `paperbot`.
fn bot_command(
    options: &DemoOptions,
    folder: &DemoFolder,
    sources: &SettingSources,
) -> Result<String, String> {
    let executable =
        std::env::current_exe().map_err(|error| format!("this executable cannot be found ({error})"))?;
    let path = |part: &str| folder.path.join(part).display().to_string();
    let mut command = vec![executable.display().to_string(), "paperbot".to_owned()];
    let mut add = |name: &str, value: String| command.extend([name.to_owned(), value]);
    add("--socket", sources.get(&BOT_IPC_SOCKET).unwrap_or_default().to_owned());
    add("--data-dir", path("paperbot"));
    add("--log-dir", path("logs"));
    add("--config-dir", path("botops/config"));
    let files = [("--replay", &options.replay), ("--fault-script", &options.fault_script)];
    for (name, file) in files {
        if let Some(file) = file {
            let file = std::path::absolute(file).map_err(|error| format!("{name}: {error}"))?;
            add(name, file.display().to_string());
        }
    }
    command.extend(options.bot.iter().cloned());
    serde_json::to_string(&command).map_err(|error| error.to_string())
}

async fn wait_for_first_report(app: &App) {
    let mut seen = app.handles().bots.watch();
    let connected = seen.wait_for(|seen| seen.presence == Presence::Connected && seen.report.is_some());
    if tokio::time::timeout(FIRST_REPORT, connected).await.is_err() {
        print_line("The bot has not answered yet; the summary says why.");
    }
}

fn print_greeting(app: &App, key: &str) {
    let base = format!("http://{}/api/v1", app.address());
    let seen = app.handles().bots.snapshot();
    let bot = seen
        .hello
        .as_ref()
        .and_then(|hello| hello.pid)
        .map(|pid| format!(" (pid {pid})"))
        .unwrap_or_default();
    print_line(&format!(
        "botops serves on http://{}, and a paper-trading bot runs beside it{bot}.\n\
         Key: {key}\n\n\
         curl -s -H 'X-API-Key: {key}' {base}/summary\n\
         curl -s -H 'X-API-Key: {key}' -H 'Accept: text/markdown' {base}/summary\n\
         curl -s -H 'X-API-Key: {key}' '{base}/events?limit=5'\n\n\
         Pages: http://{}/api/docs (every call), /llms.txt (for agents). Ctrl-C ends it.",
        app.address(),
        app.address(),
    ));
}
