//! The handle to the bot and its verbs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use botops_core::duration::milliseconds;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use super::absence::AbsenceAdvice;
use super::call_error::CallError;
use super::calls::BotCalls;
use super::commands::{self, CommandAsker, CommandFollower, OpenCommands, PendingCommand};
use super::link::{self, BotLink, BotLinkStats};
use super::missing_capability::remedy_without_verb;
use super::options::BotsOptions;
use super::reading::TradeJournalPage;
use super::sanitise;
use super::snapshot::BotSnapshot;
use crate::change_keys::ChangeKeys;
use crate::events::Events;
use crate::store::Store;
use botops_contract::{
    ActivateConfigRequest, BotId, CONFIG_SCHEMA, CheckConfigRequest, CheckVerdict, CommandOutcome,
    CommandRequest, CommandResult, ConfigAck, ConfigState, EndTrialRequest, RunningDocument, Verb,
};
use botops_core::error::{Code, Error};
use botops_core::tasks::Tasks;

/// How long the bot may wait before it begins a command: what it begins then, it still answers in time.
const COMMAND_VALID: Duration = Duration::from_secs(8);

/// How long a command that is done waits until the state shows it.
const EFFECT_SHOWS: Duration = Duration::from_millis(300);

/// Handle to the bot; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Bots {
    pub(super) link: Arc<BotLink>,
    calls: BotCalls,
    open: Arc<OpenCommands>,
}

impl Bots {
    /// Starts the link to the bot. Returns at once, whether or not the bot is there. How a command of unknown effect ended
    /// completes the record of its key in `keys`.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`](botops_core::error::Code::StoreUnavailable) when the last known state cannot be looked up.
    pub async fn open(
        options: BotsOptions,
        store: Store,
        events: Events,
        keys: ChangeKeys,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        let id = options.id.clone();
        let link = Arc::new(BotLink::open(options, store.clone(), events.clone()).await?);
        let open = Arc::new(OpenCommands::load(&id, store, events, keys, link.operator.clone()).await?);
        let polling = link.clone();
        let stopping = tasks.stopping();
        tasks.supervise("bot_link", move || link::poll(polling.clone(), stopping.clone()));
        let listening = link.clone();
        let stopping = tasks.stopping();
        tasks.supervise("bot_events", move || link::follow_events(listening.clone(), stopping.clone()));
        let calls = BotCalls::new(link.clone());
        let follower = CommandFollower::new(link.clone(), calls.clone(), open.clone());
        let stopping = tasks.stopping();
        tasks.supervise("open_commands", move || follower.clone().run(stopping.clone()));
        Ok(Self { link, calls, open })
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

    /// Counts about the link since start.
    pub fn stats(&self) -> BotLinkStats {
        self.link.counters.stats()
    }

    /// From now on and for `window`, a bot that is gone counts as reloading: somebody restarts it on purpose.
    pub fn expect_restart(&self, window: Duration) {
        self.link.expect_restart(Instant::now() + window);
    }

    /// The restart that was expected is over without another boot of the bot: from now on a bot that is gone is gone.
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

    /// As [`Bots::command`], on behalf of `asker`. The bot is told how long the command is wanted.
    ///
    /// When the effect stays unknown, the command is followed, and a later `control` event names the asker's command
    /// id and how it ended.
    ///
    /// # Errors
    /// With nothing done: [`Code::BotOffline`](botops_core::error::Code::BotOffline) (not delivered), [`Code::BotRefused`](botops_core::error::Code::BotRefused) with `reason_code`,
    /// [`Code::BotNotCapable`](botops_core::error::Code::BotNotCapable). With an unknown effect: [`Code::BotTimeout`](botops_core::error::Code::BotTimeout) (no answer, or one that proves nothing),
    /// [`Code::BotAnswerInvalid`](botops_core::error::Code::BotAnswerInvalid) (one that cannot be read, or that contradicts the question).
    pub async fn command_for(
        &self,
        verb: Verb,
        mut request: CommandRequest,
        asker: CommandAsker,
    ) -> Result<CommandResult, Error> {
        request.valid_for_ms.get_or_insert(milliseconds(COMMAND_VALID));
        request.expires_at.get_or_insert(Utc::now() + COMMAND_VALID);
        let snapshot = self.snapshot();
        let pending = PendingCommand::new(self.open.clone(), verb, &request, asker, &snapshot);
        let path = format!("commands/{verb}");
        let answered = self.calls.post(verb.as_str(), &path, &request).await;
        let was_answered = !answered.as_ref().is_err_and(CallError::is_silence);
        let with_command = |error: Error| {
            let error =
                error.context("verb", verb.as_str()).context("command_id", request.command_id.clone());
            let lacks_verb = error.code() == Code::BotNotCapable;
            if lacks_verb {
                error.remedy(remedy_without_verb(verb, snapshot.hello.as_deref()))
            } else {
                error
            }
        };
        match commands::assess_answer(verb, &request, &snapshot, answered) {
            Ok(answer) => {
                let answer = pending.record_answer(answer).map_err(with_command)?;
                if answer.outcome == CommandOutcome::Done {
                    self.see_effect().await;
                }
                Ok(answer)
            }
            Err(doubt) => {
                pending.record_doubt(was_answered);
                // The answer may have taken long: what to do depends on how the bot is by now.
                Err(with_command(match self.snapshot().absence.as_deref() {
                    Some(absence) => doubt.remedy(remedy_in_doubt(absence)),
                    None => doubt,
                }))
            }
        }
    }

    /// Whether the bot that is here now would carry this command out only once: it is the start that was given it before,
    /// as far as that can be told. An adapter is not started again with its bot.
    pub(super) fn may_give_again(&self, sent_id: &str) -> bool {
        let snapshot = self.snapshot();
        let hello = snapshot.hello.as_deref();
        let is_adapter = hello.is_some_and(|hello| hello.adapter.is_some());
        let now = hello.and_then(|hello| hello.boot_epoch.clone());
        self.open.boot_epoch_of(sent_id).is_some_and(|then| is_adapter || then == now)
    }

    /// A command of an operator failed: whoever reads the state is told. Call it once a command.
    pub(super) fn record_failure(&self, verb: Verb, actor: &str, command_id: &str, error: &Error) {
        self.link.operator.record_failure(verb, actor, command_id, error);
        self.link.expect_news();
    }

    /// A workflow run is about to replace the bot's process: what it paused for that is no pause that must be kept.
    pub fn forget_pause_of_run(&self, run_id: &str) {
        self.link.operator.forget_pause_of_run(run_id);
    }

    /// Waits a moment until the state shows what a command did, so that whoever reads it next does not find the state of
    /// before.
    async fn see_effect(&self) {
        let mut changes = self.watch();
        self.link.expect_news();
        // A bot that shows nothing new in this time is read as usual.
        let _ = tokio::time::timeout(EFFECT_SHOWS, changes.changed()).await;
    }

    /// What config the bot runs, asked of the bot itself.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_state(&self) -> Result<ConfigState, CallError> {
        let mut state: ConfigState = self.calls.get("config", "config").await?;
        sanitise::config_state(&mut state);
        Ok(state)
    }

    /// The schema of the bot's config, as the bot wrote it. Untrusted text.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_schema(&self) -> Result<String, CallError> {
        self.calls.get_text(CONFIG_SCHEMA, "config/schema").await
    }

    /// The document that the bot runs, as the bot wrote it. Untrusted text.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_document(&self) -> Result<RunningDocument, CallError> {
        let mut document: RunningDocument = self.calls.get(CONFIG_SCHEMA, "config/document").await?;
        sanitise::version(&mut document.running);
        Ok(document)
    }

    /// Asks the bot whether it would accept this document. Changes nothing.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_check(&self, check: &CheckConfigRequest) -> Result<CheckVerdict, CallError> {
        let mut verdict: CheckVerdict = self.calls.post("config", "config/check", check).await?;
        sanitise::verdict(&mut verdict);
        Ok(verdict)
    }

    /// Tells the bot to run this document as a trial.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_activate(&self, activate: &ActivateConfigRequest) -> Result<ConfigAck, CallError> {
        self.end_trial("config/activate", activate).await
    }

    /// Tells the bot to keep the config that its trial runs.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_commit(&self, settle: &EndTrialRequest) -> Result<ConfigAck, CallError> {
        self.end_trial("config/commit", settle).await
    }

    /// Tells the bot to go back to what ran before the trial.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn config_revert(&self, settle: &EndTrialRequest) -> Result<ConfigAck, CallError> {
        self.end_trial("config/revert", settle).await
    }

    /// A page of closed trades with a number above `after`, oldest first. One that cannot be read is counted in it.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn trades(
        &self,
        after: u64,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        limit: usize,
    ) -> Result<TradeJournalPage, CallError> {
        let rfc3339 = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut path = format!("trades?after={after}&limit={limit}");
        for (name, bound) in [("from", from), ("to", to)] {
            if let Some(at) = bound {
                path.push_str(&format!("&{name}={}", rfc3339(at)));
            }
        }
        let mut page = self.calls.get_trades(&path, after).await?;
        sanitise::trades(&mut page.trades);
        Ok(page)
    }

    async fn end_trial<B: Serialize + Sync>(&self, path: &str, body: &B) -> Result<ConfigAck, CallError> {
        let mut ack: ConfigAck = self.calls.post("config", path, body).await?;
        sanitise::config_ack(&mut ack);
        Ok(ack)
    }
}

/// What to do about a command of unknown effect while the bot does not answer. Whoever repeats it makes it act at a time
/// that nobody chose.
fn remedy_in_doubt(absence: &AbsenceAdvice) -> String {
    format!(
        "Do not send it again while the bot does not answer. botops asks for an hour what became of it, and tells that as a \
         second `control` event with this command id (`GET events?kind=control`). {}",
        absence.remedy
    )
}
