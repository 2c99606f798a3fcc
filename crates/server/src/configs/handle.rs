//! The handle to the config: its verbs, and how the parts behind them are put together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::admission::{
    ApplyOptions, ChangeAdmission, ChangePlanView, ChangeRequest, ConfigComparison, ConfigValidationView,
    bot_busy,
};
use super::audit::{AuditHead, AuditVerdict, ConfigAudit};
use super::bot_schema::BotSchema;
use super::change_lines::{ChangePage, page_of_changes};
use super::current::{CurrentConfig, CurrentConfigView, SyncState};
use super::document::{
    ChangeRisk, ConfigChange, ConfigDocument, DiffLine, ValidationLevel, WrittenValue, mask_document,
};
use super::transaction::{TransactionState, TransactionView, load_transaction};
use super::trial::{BotRestart, TransitionRecorder, TrialCommand, TrialReply, TrialServices, run_trials};
use super::versions::{ConfigVersions, VersionFiles, VersionSummaryView};
use crate::bots::{Bots, Supervisor};
use crate::events::Events;
use crate::operations_log::StoredActor;
use crate::store::Store;
use botops_contract::FieldRole;
use botops_core::error::{Code, Error};
use botops_core::tasks::Tasks;

/// Changes that wait for their turn; more are refused at once.
const QUEUE: usize = 128;

/// How long a schema or a first version that could not be had waits for the next try.
const SCHEMA_RETRY: Duration = Duration::from_secs(5);

/// What the config feature needs to know.
#[derive(Debug, Clone)]
pub struct ConfigsOptions {
    /// Where the folder `config` and the audit's key lie.
    pub data_dir: PathBuf,
    /// How often the bot's state is read, which is how often a trial is evaluated.
    pub poll_interval: Duration,
    /// The shortest trial that may be asked for.
    pub min_trial: Duration,
    /// Who starts the bot again for a change that it only reads at its start.
    pub supervisor: Supervisor,
}

/// Handle to the config of the bot; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Configs {
    inner: Arc<ConfigsInner>,
}

/// What the handle gives access to.
#[derive(Debug)]
struct ConfigsInner {
    min_trial: Duration,
    store: Store,
    audit: ConfigAudit,
    schema: Arc<BotSchema>,
    current: Arc<CurrentConfig>,
    versions: Arc<ConfigVersions>,
    admission: Arc<ChangeAdmission>,
    commands: mpsc::Sender<TrialCommand>,
    stopping: CancellationToken,
}

impl Configs {
    /// Opens the folder and the audit, and takes up what a crash interrupted. Version 1 is made once the bot says that it
    /// has a config, if there is none.
    ///
    /// # Errors
    /// When the folder, the audit or the store cannot be used.
    pub async fn open(
        options: ConfigsOptions,
        store: Store,
        events: Events,
        bots: Bots,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        let folder = options.data_dir.join("config");
        let files = VersionFiles::open(&folder);
        let key_file = options.data_dir.join("audit.key");
        let audit = ConfigAudit::open(&folder.join("config_history.jsonl"), &key_file, store.clone()).await?;
        let schema = Arc::new(BotSchema::open(&folder, bots.clone()));
        let current =
            Arc::new(CurrentConfig::new(bots.clone(), events.clone(), audit.clone(), schema.clone()));
        let recorder =
            TransitionRecorder::open(store.clone(), audit.clone(), events, current.clone()).await?;
        let versions = Arc::new(ConfigVersions::new(
            bots.clone(),
            store.clone(),
            audit.clone(),
            schema.clone(),
            files,
            current.clone(),
        ));
        let admission = Arc::new(ChangeAdmission::new(
            bots.clone(),
            store.clone(),
            audit.clone(),
            schema.clone(),
            current.clone(),
            versions.clone(),
        ));
        if let Err(error) = versions.open_head().await {
            // Reads start all the same; what could not be put right is tried again at the next start.
            let cause = error.cause_for_log().unwrap_or_default().to_owned();
            tracing::error!(error.cause = cause, "the committed config could not be put in order: {error}");
        }
        current.load_last_rejected(&store).await?;
        current.refresh();
        let (commands, inbox) = mpsc::channel(QUEUE);
        let services = Arc::new(TrialServices {
            restart: BotRestart::new(bots.clone(), options.supervisor),
            bots,
            store: store.clone(),
            audit: audit.clone(),
            current: current.clone(),
            versions: versions.clone(),
            admission: admission.clone(),
            recorder,
            schema: schema.clone(),
            poll_interval: options.poll_interval,
        });
        spawn_tasks(tasks, services, inbox);
        let min_trial = options.min_trial;
        let stopping = tasks.stopping();
        let inner = ConfigsInner {
            min_trial,
            store,
            audit,
            schema,
            current,
            versions,
            admission,
            commands,
            stopping,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What runs, what is committed, and whether the two are the same. Never waits.
    pub fn current(&self) -> Arc<CurrentConfigView> {
        self.inner.current.view()
    }

    /// Whether the bot runs what is committed. Never waits.
    pub fn sync(&self) -> SyncState {
        self.current().sync
    }

    /// Changes when the committed version, the sync or the live transaction does.
    pub fn watch(&self) -> watch::Receiver<Arc<CurrentConfigView>> {
        self.inner.current.watch()
    }

    /// Checks a document or patch on up to three levels. Never changes anything.
    ///
    /// # Errors
    /// [`Code::ConfigPatchInvalid`], [`Code::ConfigVersionUnknown`], [`Code::ConfigDamaged`], and those of
    /// [`Configs::require_config`].
    pub(crate) async fn validate(
        &self,
        change: &ConfigChange,
        upto: ValidationLevel,
    ) -> Result<ConfigValidationView, Error> {
        self.require_config().await?;
        self.inner.admission.validate(change, upto).await
    }

    /// The differences between two documents, each `running`, `committed`, `trial`, `previous` or `v17`.
    ///
    /// # Errors
    /// [`Code::ConfigVersionUnknown`].
    pub(crate) async fn diff(&self, from: &str, to: &str) -> Result<Vec<DiffLine>, Error> {
        self.require_config().await?;
        let versions = &self.inner.versions;
        let (from, to) = (versions.resolve(from).await?, versions.resolve(to).await?);
        Ok(self.inner.admission.diff(&self.inner.schema.of_reads(), &from.value, &to.value))
    }

    /// The differences between a document by name and a candidate, or what is wrong with the candidate.
    ///
    /// # Errors
    /// [`Code::ConfigVersionUnknown`], [`Code::ConfigPatchInvalid`], and those of [`Configs::require_config`].
    pub(crate) async fn diff_to(&self, from: &str, change: &ConfigChange) -> Result<ConfigComparison, Error> {
        self.require_config().await?;
        let from = self.inner.versions.resolve(from).await?;
        let to = self.inner.versions.candidate(&from, change).await?;
        self.inner.admission.compare(&from, &to).await
    }

    /// Refuses what needs a config where there is none, and makes the first version where there is to be one.
    ///
    /// # Errors
    /// [`Code::BotNotCapable`] for a bot that does not offer one; [`Code::BotOffline`] while the bot was never seen;
    /// [`Code::ConfigSchemaUnusable`] when what it brought cannot be used; [`Code::StoreUnavailable`],
    /// [`Code::ConfigAuditUnavailable`].
    pub(crate) async fn require_config(&self) -> Result<(), Error> {
        self.inner.current.require_offered()?;
        self.inner.current.take_in_schema(&self.inner.schema.read().await?);
        self.inner.versions.ensure_first_version().await?;
        if self.current().version.is_none() {
            // Made a moment ago by somebody else, and not shown yet.
            self.inner.current.refresh();
        }
        Ok(())
    }

    /// Why the config cannot be changed because the bot does not offer one; `None` when it does or is not known.
    pub fn not_offered(&self) -> Option<Error> {
        let takes_no_change = self.inner.current.support().takes_no_change();
        takes_no_change.then(|| self.inner.current.refusal_without_config())
    }

    /// The schema that the bot brought, as text.
    ///
    /// # Errors
    /// Those of [`Configs::require_config`].
    pub(crate) async fn schema_text(&self) -> Result<String, Error> {
        if let Some(error) = self.not_offered() {
            return Err(error);
        }
        self.inner.current.take_in_schema(&self.inner.schema.read().await?);
        Ok(self.inner.schema.of_changes()?.served.clone())
    }

    /// A document as it may be shown.
    pub(crate) fn shown(&self, document: &ConfigDocument) -> WrittenValue {
        mask_document(&self.inner.schema.of_reads(), &document.written)
    }

    /// Whether it is known that no field of the config has this role.
    pub(crate) fn lacks_role(&self, role: FieldRole) -> bool {
        self.inner.schema.known().is_some_and(|schema| schema.pointer_of(role).is_none())
    }

    /// A change that replaces the value of the field with this role. Items of a list of targets come with `symbol` and
    /// `weight`, and go by the names that the bot's schema gives them.
    ///
    /// # Errors
    /// [`Code::BotNotCapable`] when no field has it, and those of [`Configs::require_config`].
    pub(crate) async fn change_of_role(&self, role: FieldRole, value: &Value) -> Result<ConfigChange, Error> {
        self.require_config().await?;
        let schema = self.inner.schema.of_changes()?;
        let Some(pointer) = schema.pointer_of(role) else {
            let detail =
                format!("no field of the bot's config has the role `{role}` (`x-role` of its schema)");
            return Err(Error::new(Code::BotNotCapable).detail(detail).context("role", role.as_str()));
        };
        let value =
            if role == FieldRole::Targets { schema.name_targets(pointer, value) } else { value.clone() };
        Ok(ConfigChange::json_patch(&json!([{"op": "add", "path": pointer, "value": value}])))
    }

    /// What is wrong with the record of changes or with what is committed; `None` when nothing is.
    pub fn record_fault(&self) -> Option<String> {
        self.inner.current.record_fault()
    }

    /// What differences do to risk together.
    pub(crate) fn risk(&self, lines: &[DiffLine]) -> ChangeRisk {
        self.inner.admission.risk(&self.inner.schema.of_reads(), lines)
    }

    /// What a change would do, with the bot's own answer. Changes nothing.
    ///
    /// # Errors
    /// Those of [`Configs::apply`] that do not depend on the moment.
    pub async fn plan(&self, change: &ConfigChange, options: &ApplyOptions) -> Result<ChangePlanView, Error> {
        self.require_config().await?;
        self.inner.admission.plan(change, options).await
    }

    /// Applies a change as a trial. Returns once the bot runs it, or with why it does not.
    ///
    /// # Errors
    /// Every code of the area `CFG`, [`Code::BotOffline`].
    pub async fn apply(
        &self,
        change: ConfigChange,
        actor: StoredActor,
        options: ApplyOptions,
    ) -> Result<TransactionView, Error> {
        if let Some(earlier) = self.inner.admission.find_earlier(&actor, &options).await? {
            return self.inner.admission.answer_again(&earlier);
        }
        self.require_config().await?;
        if let Some(live) = self.inner.current.live().filter(|_| options.if_match.is_some()) {
            return Err(bot_busy("config", &live.txn, &live.actor, live.state.as_str()));
        }
        let reason = options.reason.clone();
        let request = ChangeRequest { change, actor: actor.clone(), options };
        let answer = self.command(|reply| TrialCommand::Begin(Box::new(request), reply)).await;
        if let Err(error) = &answer {
            self.inner.current.note_refusal(error, reason, &actor);
        }
        answer
    }

    /// Makes a trial permanent.
    ///
    /// # Errors
    /// [`Code::ConfigTxnUnknown`], [`Code::ConfigTxnOver`], [`Code::ConfigConfirmTooLate`].
    pub async fn confirm(&self, txn: &str, actor: StoredActor) -> Result<TransactionView, Error> {
        let id = txn.to_owned();
        let answer = self.command(|reply| TrialCommand::Confirm(id, actor, reply)).await;
        answer.map_err(|error| self.no_such_change(error))
    }

    /// Undoes a trial.
    ///
    /// # Errors
    /// [`Code::ConfigTxnUnknown`], [`Code::ConfigTxnOver`].
    pub async fn cancel(&self, txn: &str, actor: StoredActor) -> Result<TransactionView, Error> {
        let id = txn.to_owned();
        let answer = self.command(|reply| TrialCommand::Cancel(id, actor, reply)).await;
        answer.map_err(|error| self.no_such_change(error))
    }

    /// A transaction, live or over.
    ///
    /// # Errors
    /// [`Code::ConfigTxnUnknown`].
    pub async fn txn(&self, txn: &str) -> Result<TransactionView, Error> {
        if let Some(live) = self.inner.current.live().filter(|live| live.txn == txn) {
            return Ok(TransactionView::clone(&live));
        }
        let found = load_transaction(&self.inner.store, txn).await;
        found.map(|txn| TransactionView::of(&txn)).map_err(|error| self.no_such_change(error))
    }

    /// The same, as soon as its trial begins or it has ended; as it is after `wait` otherwise.
    ///
    /// # Errors
    /// As [`Configs::txn`].
    pub(crate) async fn wait_for_txn(&self, txn: &str, wait: Duration) -> Result<TransactionView, Error> {
        let end = tokio::time::Instant::now() + wait;
        let mut changes = self.watch();
        let mut view = self.txn(txn).await?;
        let is_in_trial = view.state == TransactionState::Trial;
        while !view.terminal && (is_in_trial || view.state != TransactionState::Trial) {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { break },
                () = tokio::time::sleep_until(end) => break,
                () = self.inner.stopping.cancelled() => break,
            }
            view = self.txn(txn).await?;
        }
        Ok(view)
    }

    /// Of a bot without a config there are no changes to choose from.
    fn no_such_change(&self, error: Error) -> Error {
        self.not_offered().filter(|_| error.code() == Code::ConfigTxnUnknown).unwrap_or(error)
    }

    /// The number of a version by its name: `committed`, `previous`, `v17` or `17`.
    ///
    /// # Errors
    /// [`Code::ConfigVersionUnknown`].
    pub(crate) async fn version_number(&self, name: &str) -> Result<u64, Error> {
        self.inner.versions.number_of(name).await
    }

    /// One version with its document.
    ///
    /// # Errors
    /// [`Code::ConfigVersionUnknown`].
    pub(crate) async fn version(&self, number: u64) -> Result<(VersionSummaryView, ConfigDocument), Error> {
        self.inner.versions.load_with_summary(number).await
    }

    /// At most `limit` versions below `below`, newest first, and how many older ones were left out.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`].
    pub(crate) async fn list_versions(
        &self,
        below: u64,
        limit: u32,
    ) -> Result<(Vec<VersionSummaryView>, u64), Error> {
        self.inner.versions.list(below, limit).await
    }

    /// At most `limit` audit records above `after`, oldest first, and how many newer ones were left out.
    ///
    /// # Errors
    /// [`Code::ConfigAuditUnavailable`].
    pub(crate) async fn list_audit(&self, after: u64, limit: u32) -> Result<(Vec<Value>, usize), Error> {
        self.inner.audit.page(after, limit).await
    }

    /// A page of changes, newest first, each on one line.
    ///
    /// # Errors
    /// [`Code::ConfigAuditUnavailable`].
    pub(crate) async fn list_changes(&self, before: Option<u64>, limit: usize) -> Result<ChangePage, Error> {
        page_of_changes(&self.inner.audit, before, limit).await
    }

    /// The last line of the audit and its MAC.
    pub(crate) fn audit_head(&self) -> Arc<AuditHead> {
        self.inner.audit.head()
    }

    /// The first line of the audit that does not hold, if there is one.
    pub(crate) fn first_bad_seq(&self) -> Option<u64> {
        self.inner.audit.damage().map(|damage| damage.first_bad_seq)
    }

    /// Reads the whole audit and says whether it holds.
    ///
    /// # Errors
    /// [`Code::ConfigAuditUnavailable`].
    pub(crate) async fn verify_audit(&self) -> Result<AuditVerdict, Error> {
        let verdict = self.inner.audit.verify().await?;
        self.inner.current.refresh();
        Ok(verdict)
    }

    /// Puts a damaged audit file aside and goes on in a new one, which begins with this record.
    ///
    /// # Errors
    /// [`Code::ArgumentInvalid`] when it holds; [`Code::ConfigAuditUnavailable`].
    pub(crate) async fn accept_audit(&self, record: Map<String, Value>) -> Result<AuditHead, Error> {
        let head = self.inner.audit.accept(record).await?;
        self.inner.current.refresh();
        Ok(head)
    }

    /// The shortest trial that may be asked for.
    pub(crate) fn min_trial(&self) -> Duration {
        self.inner.min_trial
    }

    async fn command(
        &self,
        command: impl FnOnce(TrialReply) -> TrialCommand,
    ) -> Result<TransactionView, Error> {
        let (reply, answer) = oneshot::channel();
        let busy = |_| Error::new(Code::ConfigBusy).detail("too many changes wait for their turn");
        self.inner.commands.try_send(command(reply)).map_err(busy)?;
        answer.await.map_err(|_| Error::new(Code::Stopping))?
    }
}

fn spawn_tasks(tasks: &Tasks, services: Arc<TrialServices>, inbox: mpsc::Receiver<TrialCommand>) {
    let inbox = Arc::new(Mutex::new(inbox));
    let (current, versions, schema) =
        (services.current.clone(), services.versions.clone(), services.schema.clone());
    let stopping = tasks.stopping();
    tasks.supervise("config_trial", move || run_trials(services.clone(), inbox.clone(), stopping.clone()));
    let stopping = tasks.stopping();
    tasks.supervise("config_sync", move || {
        follow_bot(current.clone(), versions.clone(), schema.clone(), stopping.clone())
    });
}

/// Keeps what is shown up to date with the bot, until the stop; reads the schema of a bot that has a config at each of
/// its starts, and makes the first version.
async fn follow_bot(
    current: Arc<CurrentConfig>,
    versions: Arc<ConfigVersions>,
    schema: Arc<BotSchema>,
    stopping: CancellationToken,
) {
    let mut seen = current.watch_bot();
    let mut failed_at: Option<Instant> = None;
    loop {
        if failed_at.is_none_or(|at| at.elapsed() >= SCHEMA_RETRY) {
            let had = take_what_bot_brings(&current, &versions, &schema).await;
            failed_at = had.err().map(|error| {
                tracing::warn!("the bot's config cannot be taken in yet: {error}");
                Instant::now()
            });
        }
        current.refresh();
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = seen.changed() => if changed.is_err() { return },
        }
    }
}

async fn take_what_bot_brings(
    current: &CurrentConfig,
    versions: &ConfigVersions,
    schema: &BotSchema,
) -> Result<(), Error> {
    current.take_in_schema(&schema.read().await?);
    versions.ensure_first_version().await
}
