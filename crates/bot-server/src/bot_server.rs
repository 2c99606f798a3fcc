//! `BotServer`: a bot is described, given its handlers, and served.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use botops_contract::{
    BOOT_ONCE, BotId, COMMAND_STATUS, CONFIG_SCHEMA, Capability, CommandRequest, CommandResult,
    CommandStatus, ContractRefusal, Hello, Trade, TradePage, TradingMode, VERSION, Verb,
};
use botops_core::data_folder::{lock_data_folder, make_private_folder};
use botops_core::tasks::{OnFailure, Tasks};
use chrono::Utc;
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::runtime::{EnterGuard, Runtime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::bot_handle::BotHandle;
use super::command_book::CommandBook;
use super::command_runner::{CommandRunner, VerbHandlers};
use super::config::{ManagedConfig, TrialKeeper};
use super::config_handlers::{ConfigHandlers, GuardedConfig};
use super::listener::{ContractListener, serve_contract};
use super::operator_command::{CommandReply, OperatorCommand};
use super::refusals::{NOT_CAPABLE, refusal};
use super::rendered_report::RenderedReport;
use super::renewable_socket::{OwnSocketFile, RenewableSocket};
use super::source::{ConfigSource, ContractAnswer, ContractSource, EventHistory, TradePageRange};
use super::token_file::ContractToken;
use super::trade_journal::TradeJournal;

/// Closed trades that may wait for the disk.
const WAITING_TRADES: usize = 1_000;
/// How long answers that are under way may take when the bot ends.
const LONGEST_END: Duration = Duration::from_secs(2);

/// A bot that is described and not served yet.
pub struct BotServer {
    hello: Hello,
    handlers: VerbHandlers,
    config: Option<ServedConfig>,
    data_dir: Option<PathBuf>,
    bot: BotHandle,
    trades: Receiver<Trade>,
}

impl BotServer {
    /// A bot with this id, whose orders move real money or not, in the bot's own version.
    pub fn new(bot_id: BotId, mode: TradingMode, version: &str) -> Self {
        let boot_epoch = Uuid::now_v7().to_string();
        let (sender, trades) = mpsc::sync_channel(WAITING_TRADES);
        let bot = BotHandle::new(&boot_epoch, mode, sender);
        let hello = Hello {
            contract: Some(VERSION),
            name: Some(bot_id.to_string()),
            bot_id,
            version: Some(version.to_owned()),
            pid: Some(std::process::id()),
            boot_epoch: Some(boot_epoch),
            started_at: Some(Utc::now()),
            mode,
            mode_raw: None,
            capabilities: Vec::new(),
            log_dir: None,
            adapter: None,
        };
        Self { hello, handlers: VerbHandlers::default(), config: None, data_dir: None, bot, trades }
    }

    /// The handle to the bot, for what a handler has to say. The same as that of [`ServedBot::bot`].
    pub fn bot(&self) -> BotHandle {
        self.bot.clone()
    }

    /// The bot's name for people; without it the id.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.hello.name = Some(name.to_owned());
        self
    }

    /// The longest time that one round of the loop should take: a loop that stands still is told by it.
    #[must_use]
    pub fn expected_interval(self, interval: Duration) -> Self {
        self.bot.expect_interval(interval);
        self
    }

    /// The folder of the bot's own data: closed trades and the answers to commands are kept there over a restart, and the bot
    /// offers `trades` and `command-status`. It belongs to one process at a time.
    #[must_use]
    pub fn data_dir(mut self, folder: &Path) -> Self {
        self.data_dir = Some(folder.to_owned());
        self
    }

    /// The folder of the bot's JSONL logs.
    #[must_use]
    pub fn log_dir(mut self, folder: &Path) -> Self {
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        self.hello.log_dir = Some(folder.display().to_string());
        self
    }

    /// Offers a verb. Its handler runs on a thread of its own, once for each command id, and one at a time for a verb.
    ///
    /// Once it has answered `done`, [`BotHandle::trading_enabled`] is false after `pause`, `flatten` and `halt` and true after
    /// `resume`, and [`BotHandle::is_stopping`] is true after `shutdown`; the state says so too.
    #[must_use]
    pub fn on_command<F, W>(mut self, verb: Verb, handler: F) -> Self
    where
        F: Fn(OperatorCommand) -> W + Send + Sync + 'static,
        W: Future<Output = CommandReply> + Send + 'static,
    {
        self.handlers.commands.insert(verb, Arc::new(move |command| handler(command).boxed()));
        self
    }

    /// Answers the dry runs of a verb that has a handler: the preview says what the verb would do
    /// ([`CommandReply::predicted`]), or that it would be refused, and does nothing.
    ///
    /// It runs on a thread of its own, one at a time for a verb. Without one a dry run is answered with a sentence that says
    /// that nothing is predicted.
    #[must_use]
    pub fn on_preview<F, W>(mut self, verb: Verb, preview: F) -> Self
    where
        F: Fn(OperatorCommand) -> W + Send + Sync + 'static,
        W: Future<Output = CommandReply> + Send + 'static,
    {
        self.handlers.previews.insert(verb, Arc::new(move |command| preview(command).boxed()));
        self
    }

    /// Lets botops change the bot's config in watched trials, which the SDK keeps.
    #[must_use]
    pub fn config(mut self, config: ManagedConfig) -> Self {
        self.config = Some(ServedConfig::Managed(Box::new(config)));
        self
    }

    /// The same for a bot that keeps the trials and their clock itself.
    #[must_use]
    pub fn on_config(mut self, handlers: impl ConfigHandlers) -> Self {
        self.config = Some(ServedConfig::Own(Arc::new(handlers)));
        self
    }

    /// Serves on a Unix socket that its owner alone may use, in a folder that is made for its owner alone. A file that is
    /// removed meanwhile is made anew.
    ///
    /// # Errors
    /// One sentence that says what to change: the path is no socket, another process answers there, or the folder of the data
    /// cannot be used.
    pub fn serve(self, socket: &Path) -> Result<ServedBot, String> {
        let open = || {
            let opened = RenewableSocket::open(socket);
            Ok(ContractListener::Renewable(opened.map_err(|problem| problem.replace("--socket", "path"))?))
        };
        self.serve_on(open)
    }

    /// Serves on a port of this machine, to whoever shows the token of this file; one is made where there is none. Port 0 takes
    /// one that is free ([`ServedBot::port`]).
    ///
    /// # Errors
    /// One sentence that says what to change: the address is not of this machine or taken, or others may read the file.
    pub fn serve_on_port(self, address: SocketAddr, token_file: &Path) -> Result<ServedBot, String> {
        if !address.ip().is_loopback() {
            return Err(format!(
                "a bot is served on an address of this machine (127.0.0.1, ::1), not on {address}"
            ));
        }
        let token = ContractToken::read_or_make(token_file)?;
        let open = || {
            let failed = |error: std::io::Error| format!("{address} cannot be served: {error}");
            let listener = std::net::TcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            Ok(ContractListener::Port(TcpListener::from_std(listener).map_err(failed)?, token))
        };
        self.serve_on(open)
    }

    fn serve_on(
        mut self,
        open: impl FnOnce() -> Result<ContractListener, String>,
    ) -> Result<ServedBot, String> {
        let runtime = ServerRuntime::start()?;
        let inside = runtime.enter();
        let (tasks, closing) = (Tasks::new(), CancellationToken::new());
        let kept = self.data_dir.as_deref().map(KeptData::open).transpose()?;
        let listener = open()?;
        let (socket, port) = match &listener {
            ContractListener::Port(listener, _) => {
                (None, listener.local_addr().ok().map(|address| address.port()))
            }
            ContractListener::Renewable(socket) => (Some(socket.file()), None),
            ContractListener::Socket(_) => (None, None),
        };
        // After the address is this process's: a candidate for this start is spent by it.
        let config = self.open_config(&tasks, &closing).inspect_err(|_| {
            socket.iter().for_each(|socket| socket.remove());
        })?;
        self.hello.capabilities = self.capabilities(kept.is_some(), &config.capabilities);
        let (alive, ended) = mpsc::channel::<()>();
        let (book, trades, lock) = match kept {
            None => (CommandBook::default(), None, None),
            Some(KeptData { book, trades, trade_file, lock }) => {
                let (journal, queue, closing, alive) =
                    (trades.clone(), self.trades, closing.clone(), alive.clone());
                tasks.spawn_thread("trade journal", OnFailure::Log, move || {
                    journal.run_writer(trade_file, &queue, &closing);
                    drop(alive);
                });
                (book, Some(trades), Some(lock))
            }
        };
        let commands = Arc::new(CommandRunner::new(self.handlers, book, self.bot.clone(), tasks.clone()));
        let source = ServedSource {
            hello: Arc::new(self.hello),
            bot: self.bot.clone(),
            commands,
            trades,
            config: config.source,
        };
        let server = serve_contract(listener, Arc::new(source), tasks.clone(), closing.clone());
        tasks.spawn("contract server", OnFailure::Log, async move {
            server.await;
            drop(alive);
        });
        drop(inside);
        Ok(ServedBot { bot: self.bot, closing, ended, socket, port, _lock: lock, _runtime: runtime })
    }

    /// Loads the config of this start, and has its trials end in time.
    fn open_config(&mut self, tasks: &Tasks, closing: &CancellationToken) -> Result<OpenedConfig, String> {
        let mut capabilities = vec!["config", CONFIG_SCHEMA];
        let source: Box<dyn ConfigSource> = match self.config.take() {
            None => return Ok(OpenedConfig { source: None, capabilities: Vec::new() }),
            Some(ServedConfig::Own(handlers)) => Box::new(GuardedConfig::new(handlers, tasks.clone())),
            Some(ServedConfig::Managed(config)) => {
                let data_dir = self.data_dir.as_deref();
                let keeper = TrialKeeper::boot(*config, data_dir, self.bot.clone(), tasks.clone())?;
                capabilities.extend(data_dir.map(|_| BOOT_ONCE));
                let clock = keeper.clone().run_clock(tasks.clone(), closing.clone());
                tasks.spawn("clock of config trials", OnFailure::Log, clock);
                Box::new(keeper)
            }
        };
        Ok(OpenedConfig { source: Some(source), capabilities })
    }

    /// What the bot can do: what it has a handler or a folder for.
    fn capabilities(&self, is_kept: bool, of_config: &[&'static str]) -> Vec<Capability> {
        let verbs =
            Verb::ALL.into_iter().filter(|verb| self.handlers.commands.contains_key(verb)).map(Verb::as_str);
        let kept = is_kept.then_some([COMMAND_STATUS, "trades"]);
        let parts = of_config.iter().copied().chain(["events"]).chain(kept.into_iter().flatten());
        verbs.chain(parts).map(Capability::from).collect()
    }
}

/// Who keeps the bot's config.
enum ServedConfig {
    /// The SDK.
    Managed(Box<ManagedConfig>),
    /// The bot itself.
    Own(Arc<dyn ConfigHandlers>),
}

/// The config calls of a bot, and what it is capable of with them.
struct OpenedConfig {
    source: Option<Box<dyn ConfigSource>>,
    capabilities: Vec<&'static str>,
}

/// What is kept over a restart.
struct KeptData {
    book: CommandBook,
    trades: TradeJournal,
    trade_file: super::json_lines::JsonLinesFile,
    lock: fs::File,
}

impl KeptData {
    fn open(folder: &Path) -> Result<Self, String> {
        make_private_folder(folder)
            .map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))?;
        let lock = lock_data_folder(folder, "bot.lock")
            .map_err(|problem| problem.replace("--data-dir", "folder for its data"))?;
        let book = CommandBook::open(&folder.join("commands.jsonl"))?;
        let (trades, trade_file) = TradeJournal::open(&folder.join("trades.jsonl"))?;
        Ok(Self { book, trades, trade_file, lock })
    }
}

/// A bot that is served until this is dropped; answers that are under way are then waited for, at most two seconds.
#[derive(Debug)]
pub struct ServedBot {
    bot: BotHandle,
    closing: CancellationToken,
    /// Disconnected once nothing is written and nobody is answered any more.
    ended: Receiver<()>,
    socket: Option<Arc<OwnSocketFile>>,
    port: Option<u16>,
    _lock: Option<fs::File>,
    _runtime: ServerRuntime,
}

impl ServedBot {
    /// The handle to the bot.
    pub fn bot(&self) -> BotHandle {
        self.bot.clone()
    }

    /// The port on which it is served; `None` on a socket.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl Drop for ServedBot {
    fn drop(&mut self) {
        self.closing.cancel();
        if let Some(socket) = &self.socket {
            socket.remove();
        }
        // Nobody sends on it: this waits for its end.
        let _ = self.ended.recv_timeout(LONGEST_END);
    }
}

/// The server's own threads: a bot that keeps its own busy is answered for all the same.
#[derive(Debug)]
struct ServerRuntime(Option<Runtime>);

impl ServerRuntime {
    fn start() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("bot-server")
            .enable_all()
            .build()
            .map_err(|error| format!("the threads of the server cannot be started: {error}"))?;
        Ok(Self(Some(runtime)))
    }

    /// Has what is made meanwhile run on these threads.
    fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }
}

impl Drop for ServerRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A handler that hangs must not keep the bot's process from ending.
            runtime.shutdown_background();
        }
    }
}

/// The bot as the server asks it.
struct ServedSource {
    hello: Arc<Hello>,
    bot: BotHandle,
    commands: Arc<CommandRunner>,
    /// The closed trades; `None` for a bot that keeps none.
    trades: Option<TradeJournal>,
    config: Option<Box<dyn ConfigSource>>,
}

impl ContractSource for ServedSource {
    fn hello(&self) -> Result<Arc<Hello>, ContractRefusal> {
        Ok(self.hello.clone())
    }

    fn state(&self) -> Result<Arc<RenderedReport>, ContractRefusal> {
        Ok(self.bot.published())
    }

    fn events(&self) -> Arc<dyn EventHistory> {
        Arc::new(self.bot.events().clone())
    }

    fn trades(&self, range: &TradePageRange) -> Result<TradePage, ContractRefusal> {
        let trades = self.trades.as_ref();
        trades
            .map(|trades| trades.page(range))
            .ok_or_else(|| refusal(NOT_CAPABLE, "this bot keeps no journal of trades"))
    }

    fn carry_out(&self, verb: Verb, request: CommandRequest) -> ContractAnswer<CommandResult> {
        self.commands.clone().run(verb, request).boxed()
    }

    fn command_status(&self, command_id: String) -> Result<CommandStatus, ContractRefusal> {
        let status = self.commands.status(command_id);
        status.ok_or_else(|| refusal(NOT_CAPABLE, "this bot cannot say what became of a command"))
    }

    fn config(&self) -> Option<&dyn ConfigSource> {
        self.config.as_deref()
    }
}
