//! From options to a running bot and back: check, lock, load, run, stop.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::Utc;
use clap::Args;
use rust_decimal::Decimal;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::book::Book;
use super::broker::BrokerOptions;
use super::command_line::duration;
use super::desk::Desk;
use super::durable;
use super::engine::{Engine, Identity, Pulse};
use super::exchange::Exchange;
use super::journal::Journal;
use super::ledger::Ledger;
use super::mailbox::{Mailbox, ROOM};
use super::market::{Feed, Walk};
use super::priority;
use super::publish::{Outbox, Picture};
use super::replay::Replay;
use super::serve::{self, Counter};
use super::session::start_session;
use super::standing::SessionCommands;
use super::strategy::{Pace, Strategy};
use botops_contract::{BOOT_ONCE, BotId, COMMAND_STATUS, Hello, Mode, VERSION, Verb};
use botops_core::error::{Code, Error};
use botops_core::failpoints;
use botops_core::signals::{Asked, Signals};
use botops_core::tasks::{OnFailure, Tasks};
use botops_core::telemetry;

/// How a paperbot is started.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where the contract is served; `paperbot.sock` in the data folder unless told otherwise
    #[arg(long, env = "BOT_IPC_SOCKET", hide_env_values = true, value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// The folder that holds the account: ledger, outcomes, pid file
    #[arg(
        long,
        env = "PAPERBOT_DATA_DIR",
        hide_env_values = true,
        default_value = "paperbot-data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,
    /// The folder for JSONL logs; `logs` in the data folder unless told otherwise
    #[arg(long, env = "PAPERBOT_LOG_DIR", hide_env_values = true, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// The folder with `HEAD` and `versions/`; `config` in the data folder unless told otherwise
    #[arg(long, env = "PAPERBOT_CONFIG_DIR", hide_env_values = true, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// The bot's id
    #[arg(long, env = "PAPERBOT_ID", hide_env_values = true, default_value = "paperbot")]
    pub id: BotId,
    /// Symbols of the simulated market
    #[arg(
        long,
        env = "PAPERBOT_SYMBOLS",
        hide_env_values = true,
        value_delimiter = ',',
        default_value = "SPY,QQQ,AAPL,MSFT,NVDA,AMZN,GOOGL,META"
    )]
    pub symbols: Vec<String>,
    /// The simulated market's seed
    #[arg(long, env = "PAPERBOT_SEED", hide_env_values = true, default_value_t = 7)]
    pub seed: u64,
    /// Take prices from this OHLCV file (CSV with a header: date or timestamp, perhaps symbol, open, high, low,
    /// close, perhaps volume) instead of simulating them
    #[arg(long, env = "PAPERBOT_REPLAY", hide_env_values = true, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// How many times faster than one price point a tick
    #[arg(long, env = "PAPERBOT_SPEED", hide_env_values = true, default_value_t = 1.0)]
    pub speed: f64,
    /// The time between two price points
    #[arg(long, env = "PAPERBOT_TICK", hide_env_values = true, default_value = "250ms", value_parser = duration)]
    pub tick: Duration,
    /// Cash of a new account
    #[arg(long, env = "PAPERBOT_CASH", hide_env_values = true, default_value = "100000")]
    pub cash: Decimal,
    /// Which broker stands behind the bot.
    #[command(flatten)]
    pub session: BrokerOptions,
}

/// Starts a bot as this process's whole work: log, signals, exit code. 0 is a stop in order, 2 means it cannot
/// start as told (one line on stderr), 1 anything else.
pub fn main(options: Options) -> ExitCode {
    if let Ok(folder) = std::env::var("FAIL_IN") {
        failpoints::fail_in(&folder);
    }
    if let Err(error) = options.make_folders() {
        return complain(&error.to_string(), 2);
    }
    let secrets = options.session.secrets();
    let _log = match telemetry::start_logging(&options.logs(), "paperbot", "info", &secrets) {
        Ok(log) => log,
        Err(error) => return complain(&format!("--log-dir: the folder cannot be used: {error}"), 2),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Ok(runtime) = runtime else { return complain("the runtime could not be started", 1) };
    let outcome = runtime.block_on(async {
        // Before anything is loaded: a signal that comes meanwhile is not lost.
        let mut signals =
            Signals::catch().map_err(|error| cannot_start(format!("signals cannot be caught: {error}")))?;
        let stop = CancellationToken::new();
        let running = run(options, stop.clone());
        tokio::pin!(running);
        loop {
            tokio::select! {
                outcome = &mut running => break outcome,
                asked = signals.next() => match asked {
                    Asked::Stop => stop.cancel(),
                    Asked::Reopen => {
                        telemetry::reopen_logs();
                        tracing::info!("the log files are opened anew");
                    }
                },
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), if error.code() == Code::BotCannotStart { 2 } else { 1 }),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last line of a process that cannot go on belongs on its terminal"
)]
fn complain(what: &str, code: u8) -> ExitCode {
    eprintln!("paperbot: {what}");
    ExitCode::from(code)
}

impl Options {
    fn logs(&self) -> PathBuf {
        self.log_dir.clone().unwrap_or_else(|| self.data_dir.join("logs"))
    }

    fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.data_dir.join("paperbot.sock"))
    }

    /// Folders that are made here are private.
    fn make_folders(&self) -> Result<(), Error> {
        for (flag, folder) in [("--data-dir", &self.data_dir), ("--log-dir", &self.logs())] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| cannot_start(format!("{flag}: the folder cannot be made: {error}")))?;
        }
        Ok(())
    }

    fn tick(&self) -> Result<Duration, Error> {
        let sensible = self.speed.is_finite() && (0.001..=10_000.0).contains(&self.speed);
        let tick = if sensible { self.tick.div_f64(self.speed) } else { Duration::ZERO };
        if tick < Duration::from_millis(1) || tick > Duration::from_secs(3600) {
            return Err(cannot_start("--tick divided by --speed must be 1 ms to 1 hour".to_owned()));
        }
        Ok(tick)
    }
}

fn cannot_start(what: String) -> Error {
    Error::new(Code::BotCannotStart).detail(what)
}

/// Runs a bot until `shutdown` or its own `shutdown` command.
///
/// # Errors
/// `BOT_011` when it cannot start as told; the detail says why and what to change.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let socket = options.socket();
    let started_at = Utc::now();
    let boot_epoch = Uuid::now_v7().to_string();
    options.make_folders()?;
    let _lock = lock(&options.data_dir)?;
    let tasks = Tasks::new();
    let (words, queue) = mpsc::unbounded_channel();
    // A setting is named and not repeated, as everywhere.
    let of_socket = |problem: String| {
        let path = socket.display().to_string();
        cannot_start(problem.replace(&path, "the address of --socket"))
    };
    // The socket comes last: whoever sees it finds a bot behind it.
    let prepared = build(&options, &boot_epoch, &tasks, words)
        .and_then(|built| Ok((built, serve::listen(&socket).map_err(of_socket)?)));
    let ((engine, journal, picture), listener) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            tasks.finish(Duration::from_secs(1)).await;
            return Err(error);
        }
    };
    let session = engine.session.clone().map(|session| SessionCommands::new(session, tasks.clone()));
    let hello = hello(&options, &boot_epoch, started_at, &engine);
    let pid_file = options.data_dir.join("paperbot.pid");
    write_pid_file(&pid_file, &boot_epoch, &socket)
        .map_err(|error| cannot_start(format!("{}: {error}", pid_file.display())))?;

    let (letters, mailbox) = std::sync::mpsc::sync_channel(ROOM);
    let recorder = journal.clone();
    let logs = options.logs();
    tasks.spawn_thread("recorder", OnFailure::Stop, move || recorder.record(queue, &logs));
    // The recorder goes first: its queue must be read as long as the loop lives.
    let (ended, loop_end) = tokio::sync::oneshot::channel::<()>();
    let halt = shutdown.child_token();
    let loop_halt = halt.clone();
    tasks.spawn_thread("trading loop", OnFailure::Stop, move || {
        priority::go_first();
        engine.run(&mailbox, &loop_halt);
        let _ = ended.send(());
    });
    let closing = CancellationToken::new();
    let counter = Counter {
        hello: Arc::new(hello),
        picture,
        journal,
        mailbox: Mailbox::new(letters),
        session,
        stopping: closing.clone(),
    };
    let server = axum::serve(listener, serve::routes(counter))
        .with_graceful_shutdown(closing.clone().cancelled_owned());
    tasks.spawn("server", OnFailure::Stop, async move {
        if let Err(error) = server.await {
            tracing::error!("the socket is no longer served: {error}");
        }
    });
    tracing::info!(bot.boot_epoch = boot_epoch, "{} serves on {}", options.id, socket.display());

    let internal = tasks.stopping();
    let failed = tokio::select! {
        () = shutdown.cancelled() => false,
        () = internal.cancelled() => true,
        ended = loop_end => ended.is_err(),
    };
    halt.cancel();
    // Whoever asked for the stop may still be reading the answer.
    tokio::time::sleep(Duration::from_millis(50)).await;
    closing.cancel();
    serve::clean_up_after(&socket);
    // A sign-in that was handed a token has a few seconds to store it.
    tasks.finish(Duration::from_secs(6)).await;
    // Last, while the lock is still held: whoever finds no pid file may start the next life.
    let _ = std::fs::remove_file(&pid_file);
    if failed {
        Err(Error::new(Code::Internal).detail("a part of the bot failed; its log says which"))
    } else {
        Ok(())
    }
}

fn build(
    options: &Options,
    boot_epoch: &str,
    tasks: &Tasks,
    words: mpsc::UnboundedSender<super::publish::Word>,
) -> Result<(Engine, Journal, Arc<ArcSwap<Picture>>), Error> {
    let data = &options.data_dir;
    let at =
        |path: &Path, error: &dyn std::fmt::Display| cannot_start(format!("{}: {error}", path.display()));
    let config_dir = options.config_dir.clone().unwrap_or_else(|| data.join("config"));
    let ledger_path = data.join("ledger.jsonl");
    let (ledger, history) =
        Ledger::open(&ledger_path, boot_epoch).map_err(|error| at(&ledger_path, &error))?;
    let mut book = Book::default();
    for line in &history.lines {
        book.apply(line);
    }
    // Each life has its own luck, so that a restarted market does not repeat itself.
    let seed = options.seed.wrapping_add(book.lives.wrapping_mul(0x0100_0003));
    let (feed, mode, pace) = match &options.replay {
        Some(path) => {
            let replay = Replay::read(path, book.last_market_at);
            let replay = replay.map_err(|error| cannot_start(format!("--replay: {error}")))?;
            (Feed::Replayed(replay), Mode::Backtest, Pace::DAILY)
        }
        None if options.symbols.is_empty() => {
            return Err(cannot_start("--symbols names no symbol".to_owned()));
        }
        None => {
            let walk = Walk::new(seed, &options.symbols, |symbol| book.last_prices.get(symbol).copied());
            (Feed::Simulated(walk), Mode::Paper, Pace::SIMULATED)
        }
    };
    let desk = Desk::boot(&config_dir, &data.join("config-outcomes.json"), boot_epoch, &feed.symbols())
        .map_err(cannot_start)?;
    let effects_path = data.join("effects.jsonl");
    let effects = OpenOptions::new().append(true).create(true).mode(0o600).open(&effects_path);
    let who = Identity {
        id: options.id.to_string(),
        boot_epoch: boot_epoch.to_owned(),
        mode,
        tick: options.tick()?,
        cash: options.cash,
        seed: options.seed,
        repaired: history.repaired,
    };
    // The past needs no broker.
    let (session, notes) = if mode == Mode::Backtest {
        (None, None)
    } else {
        let (sender, notes) = std::sync::mpsc::channel();
        let session =
            start_session(&options.session, data, &options.logs(), tasks, sender).map_err(cannot_start)?;
        (Some(session), Some(notes))
    };
    let journal = Journal::new(book.trades.clone());
    let prices: BTreeMap<_, _> = book.last_prices.clone().into_iter().collect();
    let mut engine = Engine {
        who,
        ledger,
        book,
        feed,
        exchange: Exchange::new(seed),
        strategy: Strategy::new(pace),
        desk,
        effects: effects.map_err(|error| at(&effects_path, &error))?,
        outbox: Outbox::new(words),
        prices,
        market_at: None,
        last_price_at: None,
        market_over: false,
        ledger_fault: None,
        start_noted: false,
        stopping: false,
        seq: 0,
        event_seq: 0,
        order_seq: 0,
        errors: VecDeque::new(),
        error_times: VecDeque::new(),
        reject_times: VecDeque::new(),
        pulse: Pulse::default(),
        no_entry: Vec::new(),
        head_fault: None,
        session,
        notes,
    };
    let picture = Arc::new(ArcSwap::from_pointee(engine.picture()));
    engine.outbox.picture = Some(picture.clone());
    Ok((engine, journal, picture))
}

fn hello(options: &Options, boot_epoch: &str, started_at: chrono::DateTime<Utc>, engine: &Engine) -> Hello {
    let mode = engine.who.mode;
    let has_session = engine.session.is_some();
    let of_session = |verb: &Verb| matches!(verb, Verb::ProbeSession | Verb::Reauth | Verb::Halt);
    let verbs = Verb::ALL.into_iter().filter(|verb| has_session || !of_session(verb));
    let parts = ["config", BOOT_ONCE, COMMAND_STATUS, "events", "trades"]
        .into_iter()
        .chain(has_session.then_some("session"));
    let parts = parts.map(str::to_owned);
    Hello {
        contract: VERSION,
        bot_id: options.id.clone(),
        name: "paperbot".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        boot_epoch: boot_epoch.to_owned(),
        started_at,
        mode,
        capabilities: verbs.map(|verb| verb.to_string()).chain(parts).collect(),
        log_dir: Some(
            fs::canonicalize(options.logs()).unwrap_or_else(|_| options.logs()).display().to_string(),
        ),
    }
}

/// One bot per data folder.
fn lock(data: &Path) -> Result<File, Error> {
    let path = data.join("paperbot.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| cannot_start(format!("{}: {error}", path.display())))?;
    let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    match locked {
        Ok(()) => Ok(file),
        Err(_) => Err(cannot_start(format!(
            "another bot uses {}; stop it, or choose another --data-dir",
            data.display()
        ))),
    }
}

fn write_pid_file(path: &Path, boot_epoch: &str, socket: &Path) -> io::Result<()> {
    // Field 22, counted after the name, which may itself hold spaces and brackets.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let start_time = after_name.split_whitespace().nth(19).and_then(|text| text.parse::<u64>().ok());
    let socket = fs::canonicalize(socket).unwrap_or_else(|_| socket.to_owned());
    let content = json!({"pid": std::process::id(), "start_time": start_time, "boot_epoch": boot_epoch, "socket": socket});
    durable::replace(path, content.to_string().as_bytes())
}
