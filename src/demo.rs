//! `botops demo`: a paper-trading bot and botops beside it, in one command, with nothing to set up.
//!
//! The bot is this executable again, as a process of its own. In a throw-away folder both end together; in a folder
//! that was named, the bot trades on when botops ends, and the next demo in that folder finds it again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;

use crate::app::App;
use crate::bots::Presence;
use crate::process;
use crate::settings::{Flags, Settings, Sources};
use crate::web::{Scope, new_key};

/// How long the first picture of the bot may take before the demo prints its lines without one.
const FIRST_PICTURE: Duration = Duration::from_secs(5);

/// What a demo can be told.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Port of the API; 0 takes a free one [default: BOT_API_PORT, or 8000]
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

/// Runs the demo until SIGTERM or SIGINT.
pub fn run(options: &Options) -> ExitCode {
    let folder = match Folder::prepare(options.data_dir.as_deref()) {
        Ok(folder) => folder,
        Err(problem) => return process::refuse(&[format!("--data-dir: {problem}")]),
    };
    let (settings, command) = match settings(options, &folder) {
        Ok(ready) => ready,
        Err(lines) => return process::refuse(&lines),
    };
    let mut bot = match start_bot(&command, &folder) {
        Ok(bot) => bot,
        Err(error) => return process::fail(&format!("the bot could not be started: {error}")),
    };
    let key = settings.token.clone();
    let code = process::serve_until_signal(settings, async move |app: &App| {
        first_picture(app).await;
        greet(app, key.expose_secret());
    });
    folder.leave(&mut bot);
    code
}

/// Starts the bot in a process group of its own: a Ctrl-C meant for botops does not reach it.
fn start_bot(command: &[String], folder: &Folder) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt;
    let said = std::fs::File::create(folder.path.join("paperbot.out"))?;
    let (program, arguments) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .process_group(0)
        .spawn()
}

/// Where the demo keeps its files.
struct Folder {
    path: PathBuf,
    throw_away: bool,
}

impl Folder {
    fn prepare(named: Option<&Path>) -> Result<Self, String> {
        use std::os::unix::fs::DirBuilderExt;
        let path = match named {
            Some(path) => std::path::absolute(path).map_err(|error| error.to_string())?,
            None => std::env::temp_dir().join(format!("botops-demo-{}", std::process::id())),
        };
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| format!("{} cannot be made ({error})", path.display()))?;
        Ok(Self { path, throw_away: named.is_none() })
    }

    /// Ends what was only for show. In a named folder the bot trades on.
    fn leave(self, bot: &mut Child) {
        if !self.throw_away {
            return;
        }
        if let Some(pid) = i32::try_from(bot.id()).ok().and_then(Pid::from_raw) {
            // It may have ended before.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = bot.wait();
        // The folder is in the system's place for such things: what cannot be removed now goes with the next boot.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn settings(options: &Options, folder: &Folder) -> Result<(Settings, Vec<String>), Vec<String>> {
    let data_dir = folder.path.join("botops");
    let flags = Flags {
        port: options.port.clone(),
        data_dir: Some(data_dir.display().to_string()),
        socket: Some(folder.path.join("ipc").join("bot.sock").display().to_string()),
        log_dir: Some(folder.path.join("logs").display().to_string()),
        host: None,
    };
    let mut sources = Sources::read(&flags).map_err(|error| vec![error.to_string()])?;
    if sources.get("BOT_API_AUTH_TOKEN").is_none() {
        let (key, _) =
            new_key("demo".to_owned(), [Scope::Admin].into_iter().collect(), None).map_err(|e| vec![e])?;
        sources.set_default("BOT_API_AUTH_TOKEN", key.expose_secret());
    }
    let bot = bot_command(options, folder, &sources).map_err(|problem| vec![problem])?;
    let settings = Settings::check(&sources)
        .map_err(|wrong| wrong.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    Ok((settings, bot))
}

/// The bot's command line: this executable, as `paperbot`.
fn bot_command(options: &Options, folder: &Folder, sources: &Sources) -> Result<Vec<String>, String> {
    let executable =
        std::env::current_exe().map_err(|error| format!("this executable cannot be found ({error})"))?;
    let path = |part: &str| folder.path.join(part).display().to_string();
    let mut command = vec![executable.display().to_string(), "paperbot".to_owned()];
    let mut add = |name: &str, value: String| command.extend([name.to_owned(), value]);
    add("--socket", sources.get("BOT_IPC_SOCKET").unwrap_or_default().to_owned());
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
    Ok(command)
}

async fn first_picture(app: &App) {
    let mut seen = app.ops().bots.watch();
    let connected = seen.wait_for(|seen| seen.presence == Presence::Connected && seen.report.is_some());
    if tokio::time::timeout(FIRST_PICTURE, connected).await.is_err() {
        process::say("The bot has not answered yet; the summary says why.");
    }
}

fn greet(app: &App, key: &str) {
    let base = format!("http://{}/api/v1", app.address());
    let seen = app.ops().bots.seen();
    let bot = seen.hello.as_ref().map(|hello| format!(" (pid {})", hello.pid)).unwrap_or_default();
    process::say(&format!(
        "botops serves on http://{}, and a paper-trading bot runs beside it{bot}.\n\
         Key: {key}\n\n\
         curl -s -H 'X-API-Key: {key}' {base}/summary\n\
         curl -s -H 'X-API-Key: {key}' -H 'Accept: text/markdown' {base}/summary\n\
         curl -s -H 'X-API-Key: {key}' '{base}/events?after=0&limit=5'\n\n\
         Pages: http://{}/api/docs (every call), /llms.txt (for agents). Ctrl-C ends it.",
        app.address(),
        app.address(),
    ));
}
