//! The bots: the only way to a bot.
//!
//! [`Bots::snapshot`] is the last that is known, held in memory and read without waiting; [`Bots::command`] and the
//! config verbs are the few calls that reach the bot itself, each with a deadline. Hidden from users: the socket,
//! who may be behind it, polling, retries, the event subscription, and what a bot can do wrong on a wire.
//! Deliberately absent: a read that asks the bot. However many clients read, the bot is asked once per interval.

mod answers;
mod api;
mod link;
mod open_commands;
mod presence;
mod process;
mod restart;
mod restart_proof;
mod sanitise;
mod snapshot;
mod sse;
mod supervisor;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::events::Events;
use crate::store::Store;
use botops_contract::{
    Activate, BotId, COMMAND_STATUS, Check, CheckVerdict, CommandRequest, CommandResult, CommandStatus,
    ConfigAck, ConfigState, Refusal, Settle, TradePage, Verb,
};
use botops_core::error::{Code, Effect, Error};
use botops_core::tasks::Tasks;

pub use api::{BotControl, routes};
pub use open_commands::CommandAsker;
pub use presence::Presence;
pub use process::ProcessId;
pub use restart_proof::{DeathProof, HoldReason, UnaskedRestart};
pub use snapshot::{BotSnapshot, DroppedItems, FirstSeen, LoopAge};
pub use supervisor::{SupervisedProcess, Supervisor, SupervisorDriver};
pub use transport::install_tls_provider;

use open_commands::{OpenCommands, PendingCommand};
use transport::TransportFailure;

/// A command that needs longer than this is stuck behind something; the caller is told that its effect is unknown.
const COMMAND_DEADLINE: Duration = Duration::from_secs(10);

/// How long the bot may wait before it begins a command: what it begins then, it still answers in time.
const COMMAND_VALID: Duration = Duration::from_secs(8);

/// Reads beside the poll (trades, config) answer from the bot's memory.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// What the bot link needs to know.
#[derive(Debug, Clone)]
pub struct BotsOptions {
    /// The bot's id; a socket that answers with another one is refused.
    pub id: BotId,
    /// The Unix socket the bot serves the contract on.
    pub socket: PathBuf,
    /// How often its state is asked for.
    pub poll_interval: Duration,
    /// Who can start it again.
    pub supervisor: Supervisor,
}

/// Handle to the bot; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Bots {
    link: Arc<link::BotLink>,
    open: Arc<OpenCommands>,
}

/// Plain numbers about the link since start, for telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BotLinkStats {
    /// Polls of the state that were started.
    pub polls: u64,
    /// Polls that brought nothing usable.
    pub poll_failures: u64,
    /// Answers that said nothing had changed.
    pub polls_unchanged: u64,
    /// How long answered polls took, all together, in microseconds.
    pub poll_latency_us_sum: u64,
    /// Times a connection to a bot was found again after it was away.
    pub recoveries: u64,
    /// Commands and config verbs sent.
    pub calls: u64,
    /// Events taken over from the bot.
    pub events: u64,
    /// Events of the bot that are known to be lost.
    pub events_lost: u64,
}

/// Why a call to the bot did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub enum CallError {
    /// The bot never got it; the text says why. Nothing happened.
    NotDelivered(String),
    /// It was sent, and the answer did not come (in time). It may have happened.
    TimedOut,
    /// The bot understood it and said no. Nothing happened.
    Refused(Refusal),
    /// The bot refused in a way that does not prove that nothing happened. It may have happened.
    Unproven(Refusal),
    /// The answer is not the contract; the text says how. It may have happened.
    Invalid(String),
    /// The bot does not list this capability; nothing was sent, or the bot itself said so.
    NotCapable(String),
}

impl CallError {
    /// The error for a call that only reads: whatever happened, nothing changed.
    pub fn of_a_read(self) -> Error {
        Error::from(self).effect(Effect::None)
    }

    /// Whether it is certain that the bot did nothing.
    pub fn proves_nothing_done(&self) -> bool {
        match self {
            Self::NotDelivered(_) | Self::Refused(_) | Self::NotCapable(_) => true,
            Self::TimedOut | Self::Unproven(_) | Self::Invalid(_) => false,
        }
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotDelivered(reason) => Self::new(Code::BotOffline).detail(reason),
            CallError::TimedOut => Self::new(Code::BotTimeout),
            CallError::Refused(refusal) => Self::new(Code::BotRefused)
                .detail(format!("the bot says: {}", refusal.message))
                .context("reason_code", refusal.code)
                .context("bot_context", refusal.context),
            CallError::Unproven(refusal) => Self::new(Code::BotTimeout)
                .detail(format!(
                    "the bot answered `{}`, which does not say that nothing happened: {}",
                    refusal.code, refusal.message
                ))
                .context("reason_code", refusal.code)
                .context("bot_context", refusal.context),
            CallError::Invalid(reason) => Self::new(Code::BotAnswerInvalid).detail(reason),
            CallError::NotCapable(what) => Self::new(Code::BotNotCapable)
                .detail(format!("the bot has no capability `{what}`"))
                .context("capability", what),
        }
    }
}

impl Bots {
    /// Starts the link to the bot. Returns at once, whether or not the bot is there.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the last known state cannot be looked up.
    pub async fn open(
        options: BotsOptions,
        store: Store,
        events: Events,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        let open = Arc::new(OpenCommands::load(&options.id, store.clone(), events.clone()).await?);
        let link = Arc::new(link::BotLink::open(options, store, events).await?);
        let polling = link.clone();
        let stopping = tasks.stopping();
        tasks.supervise("bot_link", move || link::poll(polling.clone(), stopping.clone()));
        let listening = link.clone();
        let stopping = tasks.stopping();
        tasks.supervise("bot_events", move || sse::follow(listening.clone(), stopping.clone()));
        let bots = Self { link, open };
        let (following, stopping) = (bots.clone(), tasks.stopping());
        tasks.supervise("open_commands", move || open_commands::follow(following.clone(), stopping.clone()));
        Ok(bots)
    }

    /// The bot's id.
    pub fn id(&self) -> &BotId {
        &self.link.options.id
    }

    /// The last that is known of the bot. Never waits.
    pub fn snapshot(&self) -> Arc<BotSnapshot> {
        self.link.snapshot.load_full()
    }

    /// Changes with each poll's outcome, with each change of presence, and each second while the bot is away.
    pub fn watch(&self) -> watch::Receiver<Arc<BotSnapshot>> {
        self.link.changes.subscribe()
    }

    /// Plain numbers about the link.
    pub fn stats(&self) -> BotLinkStats {
        self.link.stats()
    }

    /// From now on and for `window`, a bot that is gone counts as reloading: somebody restarts it on purpose.
    pub fn expect_restart(&self, window: Duration) {
        self.link.expect_restart(Instant::now() + window);
    }

    /// The restart that was expected is over without a new life: from now on a bot that is gone is gone.
    pub fn expect_no_restart(&self) {
        self.link.expect_restart(Instant::now());
    }

    /// Tells the bot to do something, and returns what it did. The same `command_id` acts once.
    ///
    /// # Errors
    /// See [`Bots::command_for`].
    pub async fn command(&self, verb: Verb, request: CommandRequest) -> Result<CommandResult, Error> {
        let command_id = request.command_id.clone();
        self.command_for(
            verb,
            request,
            CommandAsker { actor: "botops".to_owned(), command_id, run_id: None, step: None },
        )
        .await
    }

    /// The same on somebody's account. The bot is told how long the command is wanted. When it cannot be told what it
    /// did, the command is followed, and a later `control` event names the asker's command id and how it ended.
    ///
    /// # Errors
    /// With nothing done: [`Code::BotOffline`] (not delivered), [`Code::BotRefused`] with `reason_code`,
    /// [`Code::BotNotCapable`]. With an unknown effect: [`Code::BotTimeout`] (no answer, or one that proves nothing),
    /// [`Code::BotAnswerInvalid`] (one that cannot be read, or that contradicts the question).
    pub async fn command_for(
        &self,
        verb: Verb,
        mut request: CommandRequest,
        asker: CommandAsker,
    ) -> Result<CommandResult, Error> {
        request.valid_for_ms.get_or_insert(u64::try_from(COMMAND_VALID.as_millis()).unwrap_or(u64::MAX));
        request.expires_at.get_or_insert(Utc::now() + COMMAND_VALID);
        let snapshot = self.snapshot();
        let under_way = PendingCommand::new(self.open.clone(), verb, &request, asker, &snapshot);
        let path = format!("commands/{verb}");
        let answered = self.post(verb.as_str(), &path, &request).await;
        let place = |error: Error| {
            error.context("verb", verb.as_str()).context("command_id", request.command_id.clone())
        };
        match answers::judge(verb, &request, &snapshot, answered) {
            Ok(answer) => under_way.known(answer).map_err(place),
            Err(doubt) => {
                under_way.unknown();
                Err(place(doubt))
            }
        }
    }

    /// What became of a command, asked of a bot that can say so.
    async fn command_status(&self, path: &str) -> Result<CommandStatus, CallError> {
        self.get(COMMAND_STATUS, path).await
    }

    /// What config the bot runs, asked of the bot itself.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_state(&self) -> Result<ConfigState, CallError> {
        let mut state: ConfigState = self.get("config", "config").await?;
        sanitise::config_state(&mut state);
        Ok(state)
    }

    /// Would the bot take this document?
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_check(&self, check: &Check) -> Result<CheckVerdict, CallError> {
        let mut verdict: CheckVerdict = self.post("config", "config/check", check).await?;
        sanitise::verdict(&mut verdict);
        Ok(verdict)
    }

    /// Run this document as a trial.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_activate(&self, activate: &Activate) -> Result<ConfigAck, CallError> {
        self.settled("config/activate", activate).await
    }

    /// Keep what the trial runs.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_commit(&self, settle: &Settle) -> Result<ConfigAck, CallError> {
        self.settled("config/commit", settle).await
    }

    /// Go back to what ran before the trial.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_revert(&self, settle: &Settle) -> Result<ConfigAck, CallError> {
        self.settled("config/revert", settle).await
    }

    /// A page of closed trades with a number above `after`, oldest first.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn trades(
        &self,
        after: u64,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        limit: usize,
    ) -> Result<TradePage, CallError> {
        let rfc3339 = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut path = format!("trades?after={after}&limit={limit}");
        for (name, bound) in [("from", from), ("to", to)] {
            if let Some(at) = bound {
                path.push_str(&format!("&{name}={}", rfc3339(at)));
            }
        }
        let mut page: TradePage = self.get("trades", &path).await?;
        sanitise::trades(&mut page);
        Ok(page)
    }

    async fn settled<B: Serialize + Sync>(&self, path: &str, body: &B) -> Result<ConfigAck, CallError> {
        let mut ack: ConfigAck = self.post("config", path, body).await?;
        sanitise::config_ack(&mut ack);
        Ok(ack)
    }

    async fn get<T: DeserializeOwned>(&self, capability: &str, path: &str) -> Result<T, CallError> {
        self.call(capability, |transport| transport.get(path), READ_DEADLINE).await
    }

    async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        capability: &str,
        path: &str,
        body: &B,
    ) -> Result<T, CallError> {
        self.call(capability, |transport| transport.post(path).json(body), COMMAND_DEADLINE).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        capability: &str,
        request: impl FnOnce(&transport::BotConnection) -> reqwest::RequestBuilder,
        deadline: Duration,
    ) -> Result<T, CallError> {
        let connection = self.link.connection_for_call(capability)?;
        self.link.counters.calls.fetch_add(1, Ordering::Relaxed);
        let sent = transport::exchange(request(&connection), deadline).await;
        let answer = sent.map_err(|failure| match failure {
            TransportFailure::Away(reason) => CallError::NotDelivered(reason),
            TransportFailure::Late | TransportFailure::Cut => CallError::TimedOut,
            TransportFailure::Nonsense(reason) | TransportFailure::AnotherBot(reason) => {
                CallError::Invalid(reason)
            }
        })?;
        if !answer.status.is_success() {
            return Err(refusal(&answer, capability));
        }
        serde_json::from_slice(&answer.body).map_err(|error| CallError::Invalid(transport::not_json(&error)))
    }
}

/// A 4xx or 5xx of the bot: a refusal when it says so in the contract's form.
fn refusal(answer: &transport::HttpAnswer, capability: &str) -> CallError {
    let status = answer.status.as_u16();
    let Ok(mut refusal) = serde_json::from_slice::<Refusal>(&answer.body) else {
        return CallError::Invalid(format!("status {status} without a refusal in it"));
    };
    sanitise::refusal(&mut refusal);
    answers::of_refusal(status, refusal, capability)
}
