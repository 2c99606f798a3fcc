//! The bot's process: checks the options, locks the data folder, loads the bot, runs it, stops it in order.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::account::book::AccountBook;
use super::account::effects_log::EffectsLog;
use super::account::ledger::Ledger;
use super::account::ledger_damage::sum_up;
use super::account::recorded_account::RecordedAccount;
use super::config::slot::ConfigSlot;
use super::engine::{EngineParts, TradingEngine};
use super::identity::BotIdentity;
use super::ipc::contract_source::PaperbotSource;
use super::ipc::earlier_events::EarlierEvents;
use super::ipc::inbox::{INBOX_CAPACITY, IpcInbox, RequestDelivery};
use super::ipc::journal::EventJournal;
use super::ipc::outbox::{BotOutbox, OutboxItem};
use super::ipc::session_commands::SessionCommands;
use super::ipc::snapshot::PublishedSnapshot;
use super::loop_priority;
use super::market::exchange::PaperExchange;
use super::market::feed::MarketFeed;
use super::market::prices::MarketPrices;
use super::market::random_walk::RandomWalk;
use super::market::replay::BarReplay;
use super::market::strategy::{MomentumStrategy, StrategyPace};
use super::options::PaperbotOptions;
use super::pid_file::write_pid_file;
use super::session::connect_session;
use super::session_gate::SessionGate;
use botops_bot_server::{ContractListener, serve_contract};
use botops_contract::{
    BOOT_ONCE, COMMAND_STATUS, CONFIG_SCHEMA, Capability, Hello, TradingMode, VERSION, Verb,
};
use botops_core::data_folder::{lock_data_folder, make_private_folder};
use botops_core::error::{Code, Error};
use botops_core::failpoints;
use botops_core::signals::{SignalRequest, Signals};
use botops_core::socket_file::{open_socket, remove_socket};
use botops_core::tasks::{OnFailure, Tasks};
use botops_core::telemetry;

/// How long the background tasks may take to end: a sign-in that got a token must be able to store it.
const LONGEST_END: Duration = Duration::from_secs(6);

/// Runs a bot with log and signal handling until it stops, and gives the exit code.
///
/// 0 is a stop in order, 2 means that it cannot start with these options (one line on stderr), 1 is any other failure.
pub fn main(options: PaperbotOptions) -> ExitCode {
    if let Ok(folder) = std::env::var("FAIL_IN") {
        failpoints::fail_in(&folder);
    }
    // A botops that is killed at a point of its own hands its environment on.
    if let Some(point) = std::env::var("KILL_AT").ok().filter(|point| point.starts_with("paperbot.")) {
        failpoints::arm(&point);
    }
    if let Err(error) = make_folders(&options) {
        return report_failure(&error.to_string(), 2);
    }
    let secrets = options.session.secrets();
    let _log = match telemetry::start_logging(&options.log_folder(), "paperbot", None, "info", &secrets) {
        Ok(log) => Some(log),
        Err(error) => {
            let folder = options.log_folder();
            let said = format!(
                "--log-dir: {} cannot be used ({error}); free space there, or name a folder that this user can write",
                folder.display()
            );
            let code = report_failure(&said, 2);
            // Positions of an account that exists are closed without a log as well.
            if !has_account(&options) {
                return code;
            }
            None
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Ok(runtime) = runtime else { return report_failure("the runtime could not be started", 1) };
    let outcome = runtime.block_on(run_until_signal(options));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report_failure(&error.to_string(), if error.code() == Code::BotCannotStart { 2 } else { 1 })
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last line of a process that cannot go on belongs on its terminal"
)]
fn report_failure(what: &str, code: u8) -> ExitCode {
    eprintln!("paperbot: {what}");
    ExitCode::from(code)
}

fn cannot_start(what: impl fmt::Display) -> Error {
    Error::new(Code::BotCannotStart).detail(what.to_string())
}

fn make_folders(options: &PaperbotOptions) -> Result<(), Error> {
    for (flag, folder) in [("--data-dir", &options.data_dir), ("--log-dir", &options.log_folder())] {
        if flag == "--log-dir" && has_account(options) {
            // Told when the log is opened.
            let _ = make_private_folder(folder);
            continue;
        }
        make_private_folder(folder).map_err(|error| {
            let remedy = "free space there, or name a folder that this user can write";
            cannot_start(format!("{flag}: the folder cannot be made: {error}; {remedy}"))
        })?;
    }
    Ok(())
}

/// Whether the data folder has a ledger, so that there may be positions to close.
fn has_account(options: &PaperbotOptions) -> bool {
    options.data_dir.join("ledger.jsonl").exists()
}

async fn run_until_signal(options: PaperbotOptions) -> Result<(), Error> {
    // Before anything is loaded, so that a signal that comes meanwhile is not lost.
    let mut signals =
        Signals::catch().map_err(|error| cannot_start(format!("signals cannot be caught: {error}")))?;
    let stop = CancellationToken::new();
    let running = run(options, stop.clone());
    tokio::pin!(running);
    loop {
        tokio::select! {
            outcome = &mut running => return outcome,
            asked = signals.next() => match asked {
                SignalRequest::Stop => stop.cancel(),
                SignalRequest::Reopen => {
                    telemetry::reopen_logs();
                    tracing::info!("the log files are opened anew");
                }
            },
        }
    }
}

/// Runs a bot until `shutdown` is cancelled or it gets the `shutdown` command.
///
/// # Errors
/// `BOT_011` when it cannot start with these options; the detail says why and what to change.
async fn run(options: PaperbotOptions, shutdown: CancellationToken) -> Result<(), Error> {
    let socket = options.socket_path();
    make_folders(&options)?;
    let _lock: File = lock_data_folder(&options.data_dir, "paperbot.lock").map_err(cannot_start)?;
    let tasks = Tasks::new();
    let (bot, listener) = match prepare(&options, &socket, &tasks) {
        Ok(prepared) => prepared,
        Err(error) => {
            tasks.finish(Duration::from_secs(1)).await;
            return Err(error);
        }
    };
    let pid_file = options.data_dir.join("paperbot.pid");
    let boot_epoch = bot.hello.boot_epoch.as_deref().unwrap_or_default();
    if let Err(error) = write_pid_file(&pid_file, boot_epoch, &socket) {
        // Without it the bot trades as ever; only who looks for its process finds it by its socket alone.
        let path = pid_file.display();
        tracing::error!(
            "{path} cannot be written ({error}): free space there, or remove what is in its place"
        );
    }
    let mut running = bot.spawn(&options, listener, &tasks, &shutdown);
    let failed = running.wait_for_end(&shutdown, &tasks).await;
    running.halt.cancel();
    // The client that asked for the stop may still be reading the answer.
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.closing.cancel();
    remove_socket(&socket);
    tasks.finish(LONGEST_END).await;
    // Removed last, while the lock is still held: a supervisor that finds no pid file may start the next bot.
    let _ = fs::remove_file(&pid_file);
    if failed {
        Err(Error::new(Code::Internal).detail("a part of the bot failed; its log says which"))
    } else {
        Ok(())
    }
}

/// Loads everything, then opens the socket: when the socket file exists, the bot is able to serve.
fn prepare(
    options: &PaperbotOptions,
    socket: &Path,
    tasks: &Tasks,
) -> Result<(PreparedBot, UnixListener), Error> {
    let bot = PreparedBot::load(options, tasks)?;
    // The option is named, its value is not repeated: it may be a misplaced secret.
    let named = |problem: String| problem.replace(&socket.display().to_string(), "the address of --socket");
    let listener = open_socket(socket).map_err(|problem| cannot_start(named(problem)))?;
    Ok((bot, listener))
}

/// A bot that is loaded and has no threads yet.
struct PreparedBot {
    engine: TradingEngine,
    journal: EventJournal,
    /// The queue that the recorder reads.
    items: mpsc::UnboundedReceiver<OutboxItem>,
    snapshot: Arc<ArcSwap<PublishedSnapshot>>,
    session: Option<SessionCommands>,
    hello: Hello,
}

impl PreparedBot {
    fn load(options: &PaperbotOptions, tasks: &Tasks) -> Result<Self, Error> {
        let started_at = Utc::now();
        let boot_epoch = Uuid::now_v7().to_string();
        let data = &options.data_dir;
        let ledger_path = data.join("ledger.jsonl");
        let (ledger, history) = Ledger::open(&ledger_path, &boot_epoch);
        let mut earlier = EarlierEvents::default();
        let (book, damage) = sum_up(&ledger_path, &history, |line, change| {
            earlier.add_line(line, change, history.lines.len());
        });
        // Each start gets another seed, so that the simulated market does not repeat itself.
        let seed = options.seed.wrapping_add(book.starts.wrapping_mul(0x0100_0003));
        let (feed, mode, pace) = open_market(options, &book, seed)?;
        let config = ConfigSlot::boot(&options.config_folder(), data, &boot_epoch, &feed.symbols());
        let effects = EffectsLog::open(&data.join("effects.jsonl"), &boot_epoch);
        let identity = BotIdentity {
            id: options.id.to_string(),
            boot_epoch: boot_epoch.clone(),
            mode,
            tick: options.tick_interval().map_err(cannot_start)?,
            cash: options.cash,
            seed: options.seed,
            repaired: history.repaired,
        };
        let session = start_session(options, mode, tasks)?;
        let commands = session.session().map(|session| SessionCommands::new(session.clone(), tasks.clone()));
        let hello = hello(options, boot_epoch.clone(), started_at, mode, commands.is_some());
        let journal = EventJournal::new(&boot_epoch, book.trades.clone(), earlier);
        let (sender, items) = mpsc::unbounded_channel();
        let mut engine = TradingEngine::new(EngineParts {
            identity,
            market: MarketPrices::new(feed, book.last_prices.clone().into_iter().collect()),
            account: RecordedAccount::new(ledger, book, damage),
            exchange: PaperExchange::new(seed),
            strategy: MomentumStrategy::new(pace),
            config,
            session,
            outbox: BotOutbox::new(&boot_epoch, sender),
            effects,
        });
        let snapshot = engine.open_snapshots();
        Ok(Self { engine, journal, items, snapshot, session: commands, hello })
    }

    /// Starts the recorder, the trading loop and the server, in this order: the recorder's queue must be read as long
    /// as the loop runs.
    fn spawn(
        self,
        options: &PaperbotOptions,
        listener: UnixListener,
        tasks: &Tasks,
        shutdown: &CancellationToken,
    ) -> RunningBot {
        let logs = options.log_folder();
        let (journal, items) = (self.journal.clone(), self.items);
        tasks.spawn_thread("recorder", OnFailure::Stop, move || journal.run_recorder(items, &logs));
        let (requests, queue) = std::sync::mpsc::sync_channel(INBOX_CAPACITY);
        let halt = shutdown.child_token();
        let loop_end = spawn_loop(self.engine, queue, halt.clone(), tasks);
        let closing = CancellationToken::new();
        let boot_epoch = self.hello.boot_epoch.clone();
        let source = PaperbotSource {
            hello: Arc::new(self.hello),
            snapshot: self.snapshot,
            journal: self.journal,
            inbox: IpcInbox::new(requests),
            session: self.session,
        };
        let listener = ContractListener::Socket(listener);
        let server = serve_contract(listener, Arc::new(source), tasks.clone(), closing.clone());
        tasks.spawn("server", OnFailure::Stop, server);
        let socket: PathBuf = options.socket_path();
        tracing::info!(bot.boot_epoch = boot_epoch, "{} serves on {}", options.id, socket.display());
        RunningBot { halt, closing, loop_end }
    }
}

fn spawn_loop(
    engine: TradingEngine,
    queue: Receiver<RequestDelivery>,
    halt: CancellationToken,
    tasks: &Tasks,
) -> oneshot::Receiver<()> {
    let (ended, loop_end) = oneshot::channel::<()>();
    tasks.spawn_thread("trading loop", OnFailure::Stop, move || {
        loop_priority::raise_priority();
        engine.run(&queue, &halt);
        let _ = ended.send(());
    });
    loop_end
}

/// A bot whose threads and server run.
struct RunningBot {
    /// Ends the trading loop.
    halt: CancellationToken,
    /// Ends the server.
    closing: CancellationToken,
    loop_end: oneshot::Receiver<()>,
}

impl RunningBot {
    /// Waits until the bot has to stop. True when that is because a part of it failed.
    async fn wait_for_end(&mut self, shutdown: &CancellationToken, tasks: &Tasks) -> bool {
        let failure = tasks.stopping();
        tokio::select! {
            () = shutdown.cancelled() => false,
            () = failure.cancelled() => true,
            ended = &mut self.loop_end => ended.is_err(),
        }
    }
}

/// The feed that the options choose, the trading mode that it implies, and the strategy's pace on it.
fn open_market(
    options: &PaperbotOptions,
    book: &AccountBook,
    seed: u64,
) -> Result<(MarketFeed, TradingMode, StrategyPace), Error> {
    if let Some(path) = &options.replay {
        let replay = BarReplay::read(path, book.last_market_at);
        let replay = replay.map_err(|error| cannot_start(format!("--replay: {error}")))?;
        return Ok((MarketFeed::Replayed(replay), TradingMode::Backtest, StrategyPace::DAILY));
    }
    if options.symbols.is_empty() {
        return Err(cannot_start("--symbols names no symbol"));
    }
    let walk = RandomWalk::new(seed, &options.symbols, |symbol| book.last_prices.get(symbol).copied());
    Ok((MarketFeed::Simulated(walk), TradingMode::Paper, StrategyPace::SIMULATED))
}

/// Starts the broker session; a replay has none, since it is of past days.
fn start_session(options: &PaperbotOptions, mode: TradingMode, tasks: &Tasks) -> Result<SessionGate, Error> {
    if mode == TradingMode::Backtest {
        return Ok(SessionGate::without_session());
    }
    let (sender, notes) = std::sync::mpsc::channel();
    let session = connect_session(&options.session, &options.data_dir, &options.log_folder(), tasks, sender)
        .map_err(cannot_start)?;
    Ok(SessionGate::of_session(session, notes))
}

fn hello(
    options: &PaperbotOptions,
    boot_epoch: String,
    started_at: DateTime<Utc>,
    mode: TradingMode,
    has_session: bool,
) -> Hello {
    let of_session = |verb: &Verb| matches!(verb, Verb::ProbeSession | Verb::Reauth | Verb::Halt);
    let verbs = Verb::ALL.into_iter().filter(|verb| has_session || !of_session(verb));
    let parts = ["config", CONFIG_SCHEMA, BOOT_ONCE, COMMAND_STATUS, "events", "trades"]
        .into_iter()
        .chain(has_session.then_some("session"));
    let logs = options.log_folder();
    Hello {
        contract: Some(VERSION),
        bot_id: options.id.clone(),
        name: Some("paperbot".to_owned()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        pid: Some(std::process::id()),
        boot_epoch: Some(boot_epoch),
        started_at: Some(started_at),
        mode,
        mode_raw: None,
        capabilities: verbs.map(Verb::as_str).chain(parts).map(Capability::from).collect(),
        log_dir: Some(fs::canonicalize(&logs).unwrap_or(logs).display().to_string()),
        adapter: None,
    }
}
