//! The state of one link to a bot, shared by the handle, the poller and the event follower.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, Semaphore, watch};

use super::counters::BotLinkCounters;
use super::saved_state::{SavedBotState, first_snapshot};
use super::unreadable_log::UnreadableLog;
use crate::bots::call_error::CallError;
use crate::bots::earlier_processes::{EarlierProcesses, OtherProcesses};
use crate::bots::operator_commands::OperatorCommands;
use crate::bots::options::BotsOptions;
use crate::bots::presence::SILENCE;
use crate::bots::process::{BotProcesses, ProcessId};
use crate::bots::reading::UnreadablePart;
use crate::bots::snapshot::BotSnapshot;
use crate::bots::started_as::StartedAs;
use crate::bots::transport::BotConnection;
use crate::events::Events;
use crate::store::Store;
use botops_core::error::Error;

/// How many questions for the whole state may be open: the usual one, and one more in case that was lost.
const STATE_QUESTIONS: usize = 2;

/// The state of one link to a bot, shared by the handle, the poller and the event follower.
#[derive(Debug)]
pub(in crate::bots) struct BotLink {
    pub options: BotsOptions,
    pub store: Store,
    pub events: Events,
    pub snapshot: ArcSwap<BotSnapshot>,
    pub changes: watch::Sender<Arc<BotSnapshot>>,
    pub counters: BotLinkCounters,
    /// What became of operators' commands.
    pub operator: Arc<OperatorCommands>,
    /// The connection to the peer that gave the last good answer.
    pub connection: ArcSwapOption<BotConnection>,
    /// Permits for questions for the whole state.
    pub state_questions: Semaphore,
    restart_until: Mutex<Option<Instant>>,
    /// The processes of the boot that answered last.
    processes: Mutex<BotProcesses>,
    /// Those of earlier boots that may run on.
    earlier: Mutex<EarlierProcesses>,
    /// The process that listens for the bot, as the kernel said at the last connection.
    listener: Mutex<Option<ProcessId>>,
    /// When anything last came from the bot: an answer of whatever kind, or a byte of its event stream.
    last_contact: Mutex<Option<Instant>>,
    /// When the bot last said who it is.
    last_hello: Mutex<Option<Instant>>,
    /// What cannot be read of all that it says.
    unreadable: Mutex<UnreadableLog>,
    /// Something was done to the bot, so that its state is another now.
    news: Notify,
}

impl BotLink {
    /// Reads what an earlier run of botops knew.
    pub(crate) async fn open(options: BotsOptions, store: Store, events: Events) -> Result<Self, Error> {
        let saved = SavedBotState::load(&options.id, &store).await?;
        let snapshot = Arc::new(first_snapshot(&options.id, saved.as_ref()));
        let operator = OperatorCommands::load(&options.id, store.clone(), events.clone()).await?;
        Ok(Self {
            options,
            store,
            events,
            changes: watch::Sender::new(snapshot.clone()),
            snapshot: ArcSwap::new(snapshot),
            counters: BotLinkCounters::default(),
            operator: Arc::new(operator),
            connection: ArcSwapOption::empty(),
            state_questions: Semaphore::new(STATE_QUESTIONS),
            restart_until: Mutex::new(None),
            earlier: Mutex::new(EarlierProcesses::of_stored(
                saved.as_ref().map(SavedBotState::earlier_processes).unwrap_or_default(),
                Instant::now(),
            )),
            processes: Mutex::new(saved.map(|saved| saved.known_processes()).unwrap_or_default()),
            listener: Mutex::default(),
            last_contact: Mutex::default(),
            last_hello: Mutex::default(),
            unreadable: Mutex::default(),
            news: Notify::new(),
        })
    }

    /// The connection for a call that wants `capability`, or why there is none.
    pub(crate) fn connection_for_call(&self, capability: &str) -> Result<Arc<BotConnection>, CallError> {
        let snapshot = self.snapshot.load();
        let away =
            |reason: &str| CallError::NotSent(snapshot.presence, reason.to_owned(), snapshot.absence.clone());
        // A command that waits in the socket of a hung bot would act at a time nobody chose.
        let connection = self.connection.load_full().filter(|_| snapshot.presence.answers());
        let (Some(connection), Some(hello)) = (connection, &snapshot.hello) else {
            return Err(away(&snapshot.presence_reason));
        };
        if !hello.offers(capability) {
            return Err(CallError::NotCapable(capability.to_owned()));
        }
        connection.check_endpoint().map_err(CallError::NotDelivered)?;
        Ok(connection)
    }

    /// The connection to ask what became of a command. An adapter knows that also while its bot does not answer, and asks
    /// the bot nothing for it.
    pub(crate) fn connection_for_status(&self, capability: &str) -> Result<Arc<BotConnection>, CallError> {
        let snapshot = self.snapshot.load();
        let is_known_by_adapter = !snapshot.presence.answers()
            && snapshot
                .hello
                .as_ref()
                .is_some_and(|hello| hello.adapter.is_some() && hello.offers(capability));
        match self.connection.load_full().filter(|_| is_known_by_adapter) {
            Some(connection) => {
                connection.check_endpoint().map_err(CallError::NotDelivered)?;
                Ok(connection)
            }
            None => self.connection_for_call(capability),
        }
    }

    /// The processes of the boot that answered last.
    pub(crate) fn processes(&self) -> BotProcesses {
        lock(&self.processes).clone()
    }

    /// Processes of earlier boots that run on beside the one that answers.
    pub(crate) fn find_other_processes(&self) -> Option<OtherProcesses> {
        let answering = self.processes();
        lock(&self.earlier).find_living(&answering, Instant::now())
    }

    /// Processes of earlier boots that may run on, to be stored.
    pub(crate) fn earlier_processes(&self) -> Vec<ProcessId> {
        lock(&self.earlier).known()
    }

    /// The process that listens for the bot, whether it has answered or not. What listens for an adapter is not the bot.
    pub(crate) fn listener(&self) -> Option<ProcessId> {
        if self.snapshot.load().hello.as_ref().is_some_and(|hello| hello.adapter.is_some()) {
            return None;
        }
        lock(&self.listener).filter(|listener| listener.lives())
    }

    /// The processes of the boot that answered last, and the one that listens for the bot now.
    pub(crate) fn current_processes(&self) -> BotProcesses {
        self.processes().with_listener(self.listener())
    }

    /// Remembers what listens at the other end of a new connection.
    pub(crate) fn record_listener(&self, connection: &BotConnection) {
        *lock(&self.listener) = connection.peer().and_then(ProcessId::listening);
    }

    /// Another boot of the bot answered: these are its processes, and no restart is expected any more.
    pub(crate) fn begin_boot(&self, mut processes: BotProcesses) {
        processes.started_as = processes.known.first().and_then(|process| StartedAs::of(process.pid));
        {
            let mut known = lock(&self.processes);
            lock(&self.earlier).begin_boot(&known, &processes, Instant::now());
            *known = processes;
        }
        *lock(&self.restart_until) = None;
        lock(&self.unreadable).forget_items();
    }

    /// Has the state read soon, since a command changed it.
    pub(crate) fn expect_news(&self) {
        self.news.notify_one();
    }

    /// Resolves once after each [`BotLink::expect_news`].
    pub(crate) async fn news_expected(&self) {
        self.news.notified().await;
    }

    /// Notes that something came from the bot, whatever it was.
    pub(crate) fn record_contact(&self) {
        *lock(&self.last_contact) = Some(Instant::now());
    }

    /// When anything last came from the bot in this run of botops.
    pub(crate) fn last_contact(&self) -> Option<Instant> {
        *lock(&self.last_contact)
    }

    /// Notes that the bot said who it is.
    pub(crate) fn record_hello(&self) {
        *lock(&self.last_hello) = Some(Instant::now());
    }

    /// Whether the bot said who it is a moment ago, whatever became of other questions.
    pub(crate) fn says_hello(&self) -> bool {
        lock(&self.last_hello).is_some_and(|at| at.elapsed() < SILENCE)
    }

    /// The newest answer to a call lacks these parts; a change is told.
    pub(crate) fn replace_unreadable(&self, call: &'static str, parts: Vec<UnreadablePart>) {
        lock(&self.unreadable).replace_answer(call, parts);
        self.tell_unreadable();
    }

    /// These parts of single events or trades cannot be read; what is new is told.
    pub(crate) fn add_unreadable_items(&self, parts: &[UnreadablePart]) {
        if !parts.is_empty() {
            lock(&self.unreadable).add_items(parts);
            self.tell_unreadable();
        }
    }

    /// Everything that cannot be read of what the bot says.
    pub(crate) fn unreadable_parts(&self) -> Vec<UnreadablePart> {
        lock(&self.unreadable).parts()
    }

    fn tell_unreadable(&self) {
        let change = lock(&self.unreadable).change_to_tell(&self.options.id);
        if let Some(event) = change {
            self.events.publish(event);
        }
    }

    /// Until then, a bot that is gone counts as being restarted instead of offline.
    pub(crate) fn expect_restart(&self, until: Instant) {
        *lock(&self.restart_until) = Some(until);
    }

    /// How much longer a restart is expected to take.
    pub(crate) fn restart_left(&self) -> Option<Duration> {
        let until = (*lock(&self.restart_until))?;
        until.checked_duration_since(Instant::now())
    }

    /// Replaces what every reader sees, and wakes those that watch for changes.
    pub(crate) fn publish_snapshot(&self, snapshot: BotSnapshot) {
        let snapshot = Arc::new(snapshot);
        self.snapshot.store(snapshot.clone());
        self.changes.send_replace(snapshot);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
