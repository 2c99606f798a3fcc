//! The adapter's process: checks the options, locks its folder, serves, and ends in order.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::commands::Commands;
use crate::credentials::UpstreamCredentials;
use crate::events::AdapterJournal;
use crate::options::FreqtradeOptions;
use crate::polling::{AccountNames, PictureCell, Pollers, PollersOptions};
use crate::publisher::Publisher;
use crate::report::HelloInputs;
use crate::serve::{AdapterSource, StateCell};
use crate::trades::ClosedTradeLog;
use crate::upstream::FreqtradeClient;
use botops_bot_server::{ContractListener, serve_contract};
use botops_core::data_folder::{lock_data_folder, make_private_folder};
use botops_core::durable_file::{self, PRIVATE};
use botops_core::failpoints;
use botops_core::signals::{SignalRequest, Signals};
use botops_core::socket_file::{open_socket, remove_socket};
use botops_core::tasks::{OnFailure, Tasks};
use botops_core::telemetry;

/// Letters of the mark of an adapter's own locks.
const MARK_LENGTH: usize = 12;

/// freqtrade is asked a few times in a second at most, for which one would do. Whoever asks about what stands in a journal
/// that waits for its disk must not keep the state from being answered.
const THREADS: usize = 2;

/// How long the loops may take to end.
const LONGEST_END: Duration = Duration::from_secs(3);

/// Runs the adapter with log and signal handling until it is told to stop, and gives the exit code.
///
/// 0 is a stop in order, 2 means that it cannot start with these options (one line on stderr), 1 is any other failure.
pub fn main(options: &FreqtradeOptions) -> ExitCode {
    let credentials = match UpstreamCredentials::read(&options.credentials) {
        Ok(credentials) => credentials,
        Err(problem) => return report_failure(&problem, 2),
    };
    for folder in [&options.data_dir, &options.log_folder()] {
        if let Err(error) = make_private_folder(folder) {
            return report_failure(&format!("--data-dir: the folder cannot be made: {error}"), 2);
        }
    }
    let secrets = credentials.secrets();
    let _log = match telemetry::start_logging(&options.log_folder(), "freqtrade", None, "info", &secrets) {
        Ok(log) => log,
        Err(error) => return report_failure(&format!("--data-dir: the folder cannot be used: {error}"), 2),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let Ok(runtime) = runtime else { return report_failure("the runtime could not be started", 1) };
    failpoints::read_environment();
    let outcome = runtime.block_on(run_until_signal(options, credentials));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(AdapterEnd::CannotStart(problem)) => report_failure(&problem, 2),
        Err(AdapterEnd::PartFailed) => report_failure("a part of the adapter failed; its log says which", 1),
    }
}

/// Why the adapter ended without being told to.
enum AdapterEnd {
    CannotStart(String),
    PartFailed,
}

#[expect(
    clippy::print_stderr,
    reason = "the last line of a process that cannot go on belongs on its terminal"
)]
fn report_failure(what: &str, code: u8) -> ExitCode {
    eprintln!("botops freqtrade: {what}");
    ExitCode::from(code)
}

async fn run_until_signal(
    options: &FreqtradeOptions,
    credentials: UpstreamCredentials,
) -> Result<(), AdapterEnd> {
    // Before anything is opened, so that a signal that comes meanwhile is not lost.
    let mut signals = Signals::catch()
        .map_err(|error| AdapterEnd::CannotStart(format!("signals cannot be caught: {error}")))?;
    let _lock = lock_data_folder(&options.data_dir, "freqtrade.lock").map_err(AdapterEnd::CannotStart)?;
    let tasks = Tasks::new();
    let adapter = PreparedAdapter::open(options, credentials, &tasks).map_err(AdapterEnd::CannotStart)?;
    let listener = open_socket(&options.socket).map_err(AdapterEnd::CannotStart)?;
    let closing = CancellationToken::new();
    adapter.spawn(options, listener, &tasks, &closing);
    let failure = tasks.stopping();
    let outcome = loop {
        tokio::select! {
            () = failure.cancelled() => break Err(AdapterEnd::PartFailed),
            asked = signals.next() => match asked {
                SignalRequest::Stop => break Ok(()),
                SignalRequest::Reopen => {
                    telemetry::reopen_logs();
                    tracing::info!("the log files are opened anew");
                }
            },
        }
    };
    closing.cancel();
    remove_socket(&options.socket);
    tasks.finish(LONGEST_END).await;
    outcome
}

/// An adapter that is loaded and asks nothing yet.
struct PreparedAdapter {
    client: FreqtradeClient,
    credentials: Arc<UpstreamCredentials>,
    cell: PictureCell,
    trades: ClosedTradeLog,
    names: AccountNames,
    journal: AdapterJournal,
    commands: Commands,
}

impl PreparedAdapter {
    fn open(
        options: &FreqtradeOptions,
        credentials: UpstreamCredentials,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        if credentials.is_shared {
            tracing::warn!("the file of --credentials can be read by others: chmod 600 it");
        }
        let address = options.url.clone();
        if !address.is_encrypted() && !address.is_loopback() {
            let place = address.place();
            tracing::warn!(
                "the password goes to {place} unencrypted: let no other network than your own lie between"
            );
        }
        let cell = PictureCell::new(address.place());
        let client = FreqtradeClient::new(address, &credentials)?;
        let trades = ClosedTradeLog::open(&options.data_dir.join("trades.jsonl"))?;
        let names = AccountNames::open(&options.data_dir.join("databases.json"))?;
        let journal = AdapterJournal::open(&options.data_dir.join("events.jsonl"))?;
        let commands = options.data_dir.join("commands.jsonl");
        let mark = adapter_mark(&options.data_dir)?;
        let commands = Commands::open(client.clone(), cell.clone(), &commands, &mark, tasks.clone())?;
        Ok(Self { client, credentials: Arc::new(credentials), cell, trades, names, journal, commands })
    }

    /// Starts the loops and the server.
    fn spawn(
        self,
        options: &FreqtradeOptions,
        listener: UnixListener,
        tasks: &Tasks,
        closing: &CancellationToken,
    ) {
        let Self { client, credentials, cell, trades, names, journal, commands } = self;
        let hello = HelloInputs {
            bot_id: options.bot_id.clone(),
            started_at: Utc::now(),
            verbs: Commands::capabilities(),
        };
        let state = StateCell::default();
        let known_life = journal.told().and_then(|told| told.life);
        Pollers::start(
            PollersOptions {
                client,
                credentials,
                cell: cell.clone(),
                trades: trades.clone(),
                names,
                poll_interval: options.poll_interval,
                known_life,
            },
            tasks,
        );
        let publisher = Publisher::new(
            cell.clone(),
            trades.clone(),
            journal.clone(),
            state.clone(),
            hello.clone(),
            Uuid::now_v7().to_string(),
        );
        tasks.spawn("publisher", OnFailure::Stop, publisher.run(tasks.stopping()));
        let source = AdapterSource { state, hello, cell, journal, trades, commands };
        let listener = ContractListener::Socket(listener);
        let server = serve_contract(listener, Arc::new(source), tasks.clone(), closing.clone());
        tasks.spawn("server", OnFailure::Stop, server);
        let (id, place) = (&options.bot_id, options.url.place());
        tracing::info!("bot {id} is served on {} for freqtrade at {place}", options.socket.display());
    }
}

/// What tells this adapter's locks from those of another, as long as its data folder is kept. It is made once, before any
/// lock can be set.
fn adapter_mark(folder: &Path) -> Result<String, String> {
    let path = folder.join("adapter.mark");
    let failed = |problem: &str| format!("{}: {problem}", path.display());
    match fs::read_to_string(&path) {
        Ok(mark) => {
            let mark = mark.trim_end();
            if mark.len() != MARK_LENGTH || !mark.chars().all(|c| c.is_ascii_alphanumeric()) {
                return Err(failed(
                    "it is not a mark; move it away to get a new one (locks with the old one stay)",
                ));
            }
            Ok(mark.to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The beginning of such an id is the time, which two adapters may share; its end is random.
            let id = Uuid::now_v7().simple().to_string();
            let mark = id.get(id.len() - MARK_LENGTH..).unwrap_or(&id).to_owned();
            durable_file::replace(&path, format!("{mark}\n").as_bytes(), PRIVATE, "freqtrade_mark")
                .map_err(|error| failed(&error.to_string()))?;
            Ok(mark)
        }
        Err(error) => Err(failed(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_mark_is_of_its_folder_alone_and_stays() {
        let folders: Vec<_> = (0..50).map(|_| tempfile::tempdir().unwrap()).collect();
        let marks: Vec<String> = folders.iter().map(|folder| adapter_mark(folder.path()).unwrap()).collect();
        let different: std::collections::HashSet<_> = marks.iter().collect();
        assert_eq!(different.len(), marks.len(), "{marks:?}");
        assert_eq!(adapter_mark(folders[0].path()).unwrap(), marks[0]);
        let path = folders[0].path().join("adapter.mark");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "").unwrap();
        assert!(adapter_mark(folders[0].path()).unwrap_err().contains("adapter.mark"));
    }
}
