//! The bot's config: checked, applied as a watched trial, undone by itself unless it proved good, audited.
//!
//! [`Configs::current`] is what runs and what is committed, without I/O. [`Configs::apply`] checks a change on three
//! levels and puts it before the bot as a trial with a deadline on both sides; it becomes permanent when `HEAD` is
//! replaced, and only then. Kept from users: the protocol with the bot and its durable points, files, the audit's
//! chain, recovery after a kill. Deliberately absent: approvals by a second key, plan tokens, changes kept for a bot
//! that is offline.

mod api;
mod audit;
mod begin;
mod boot_once;
mod chain;
mod criteria;
mod diff;
mod disk;
mod document;
mod door;
mod history;
mod rules;
mod schema;
mod settle;
mod snapshot;
mod trial;
mod txn;
mod versions;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::bots::{Bots, Supervisor};
use crate::events::Events;
use crate::operations_log::{self, OperationKind, OperationRow, StoredActor};
use crate::store::Store;
use botops_core::error::{Code, Error};
use botops_core::tasks::Tasks;

pub use api::routes;
pub use audit::verify_file as verify_audit_file;
pub use chain::{AuditHead, AuditVerdict};
pub use criteria::Criterion;
pub use diff::{Direction, Line, Risk};
pub use document::Change;
pub use door::{ApplyOptions, PlanView, Verdict};
pub use schema::{Finding, Level};
pub use snapshot::{Snapshot, SyncState};
pub use txn::{Action, By, Confirm, TxnState, TxnView};
pub use versions::VersionView;

use audit::Audit;
use door::Wish;
use history::History;
use schema::Schema;
use snapshot::{Committed, Known, RejectedView};
use trial::Command;

/// Changes that wait for their turn; more are refused at once.
const QUEUE: usize = 128;

/// What the config feature needs to know.
#[derive(Debug, Clone)]
pub struct ConfigsOptions {
    /// Where the folder `config` and the audit's key lie.
    pub data_dir: PathBuf,
    /// How often the bot's state is read, which is how often a trial is judged.
    pub poll_interval: Duration,
    /// The shortest trial that may be asked for.
    pub min_trial: Duration,
    /// Who starts the bot again for a change that it only reads at its start.
    pub supervisor: Supervisor,
}

/// Handle to the config; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Configs {
    shared: Arc<Shared>,
}

/// What the handle, the trial task and the sync task share.
#[derive(Debug)]
pub(in crate::configs) struct Shared {
    options: ConfigsOptions,
    store: Store,
    events: Events,
    bots: Bots,
    audit: Audit,
    schema: Schema,
    history: History,
    /// What `HEAD` names; `None` when it does not hold.
    head: ArcSwapOption<Committed>,
    live: ArcSwapOption<TxnView>,
    last_rejected: ArcSwapOption<RejectedView>,
    /// What the bot acknowledged last, which may be newer than its last report.
    known: ArcSwapOption<Known>,
    snapshot: ArcSwap<Snapshot>,
    changes: watch::Sender<Arc<Snapshot>>,
    refreshing: std::sync::Mutex<()>,
    commands: mpsc::Sender<Command>,
    /// Grows with each start; the bot refuses a message with an older one.
    generation: AtomicU64,
}

impl Configs {
    /// Opens the folder and the audit, makes version 1 when there is none, and takes up what a crash interrupted.
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
        let history =
            History::open(&folder).map_err(|error| Error::new(Code::StoreUnavailable).caused_by(error))?;
        let key_file = options.data_dir.join("audit.key");
        let audit = Audit::open(&folder.join("config_history.jsonl"), &key_file, store.clone()).await?;
        let generation = next_generation(&store).await?;
        let (commands, inbox) = mpsc::channel(QUEUE);
        let schema = Schema::built_in();
        let snapshot = Arc::new(Snapshot::empty(bots.id().clone()));
        let shared = Arc::new(Shared {
            options,
            store,
            events,
            bots,
            audit,
            schema,
            history,
            head: ArcSwapOption::empty(),
            live: ArcSwapOption::empty(),
            last_rejected: ArcSwapOption::empty(),
            known: ArcSwapOption::empty(),
            snapshot: ArcSwap::new(snapshot.clone()),
            changes: watch::Sender::new(snapshot),
            refreshing: std::sync::Mutex::new(()),
            commands,
            generation: AtomicU64::new(generation),
        });
        shared.open_head().await?;
        shared.load_last_rejected().await?;
        shared.refresh();
        let inbox = Arc::new(Mutex::new(inbox));
        let (for_trial, stopping) = (shared.clone(), tasks.stopping());
        tasks.supervise("config_trial", move || {
            trial::run(for_trial.clone(), inbox.clone(), stopping.clone())
        });
        let (for_sync, stopping) = (shared.clone(), tasks.stopping());
        tasks.supervise("config_sync", move || snapshot::follow(for_sync.clone(), stopping.clone()));
        Ok(Self { shared })
    }

    /// What runs, what is committed, and how the two stand to each other. Never waits.
    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Whether the bot runs what is committed. Never waits.
    pub fn sync(&self) -> SyncState {
        self.current().sync
    }

    /// Changes when the committed version, the sync or the live transaction does.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.shared.changes.subscribe()
    }

    /// Checks a document or patch on up to three levels. Never changes anything.
    ///
    /// # Errors
    /// [`Code::ConfigPatchInvalid`], [`Code::ConfigVersionUnknown`], [`Code::ConfigDamaged`].
    pub async fn validate(&self, change: &Change, upto: Level) -> Result<Verdict, Error> {
        self.shared.validate(change, upto).await
    }

    /// The differences between two documents, each `running`, `committed`, `trial`, `previous` or `v17`.
    ///
    /// # Errors
    /// [`Code::ConfigVersionUnknown`].
    pub async fn diff(&self, from: &str, to: &str) -> Result<Vec<Line>, Error> {
        let (from, to) = (self.shared.resolve(from).await?, self.shared.resolve(to).await?);
        Ok(self.shared.lines(&from.value, &to.value))
    }

    /// The differences between a document by name and a candidate.
    ///
    /// # Errors
    /// [`Code::ConfigVersionUnknown`], [`Code::ConfigPatchInvalid`].
    pub async fn diff_to(&self, from: &str, change: &Change) -> Result<Vec<Line>, Error> {
        let from = self.shared.resolve(from).await?;
        let to = self.shared.candidate(&from.value, change).await?;
        Ok(self.shared.lines(&from.value, &to.value))
    }

    /// What a change would do, with the bot's own verdict. Changes nothing.
    ///
    /// # Errors
    /// Those of [`Configs::apply`] that do not depend on the moment.
    pub async fn plan(&self, change: &Change, options: &ApplyOptions) -> Result<PlanView, Error> {
        self.shared.plan(change, options).await
    }

    /// Applies a change as a trial. Returns once the bot runs it, or with why it does not.
    ///
    /// # Errors
    /// Every code of the area `CFG`, [`Code::BotOffline`], [`Code::IdempotencyMismatch`].
    pub async fn apply(
        &self,
        change: Change,
        actor: StoredActor,
        options: ApplyOptions,
    ) -> Result<TxnView, Error> {
        if let Some(earlier) = self.shared.replay(&actor, &options).await? {
            return self.shared.answer_again(&earlier);
        }
        if let Some(live) = self.shared.live.load_full().filter(|_| options.if_match.is_some()) {
            return Err(trial::busy("config", &live.txn, &live.actor, live.state.as_str()));
        }
        let wish = Wish { change, actor, options };
        self.ask(|reply| Command::Begin(Box::new(wish), reply)).await
    }

    /// Makes a trial permanent.
    ///
    /// # Errors
    /// [`Code::ConfigTxnUnknown`], [`Code::ConfigTxnOver`], [`Code::ConfigConfirmTooLate`].
    pub async fn confirm(&self, txn: &str, actor: StoredActor) -> Result<TxnView, Error> {
        let id = txn.to_owned();
        self.ask(|reply| Command::Confirm(id, actor, reply)).await
    }

    /// Undoes a trial.
    ///
    /// # Errors
    /// [`Code::ConfigTxnUnknown`], [`Code::ConfigTxnOver`].
    pub async fn cancel(&self, txn: &str, actor: StoredActor) -> Result<TxnView, Error> {
        let id = txn.to_owned();
        self.ask(|reply| Command::Cancel(id, actor, reply)).await
    }

    /// A transaction, live or over.
    ///
    /// # Errors
    /// [`Code::ConfigTxnUnknown`].
    pub async fn txn(&self, txn: &str) -> Result<TxnView, Error> {
        if let Some(live) = self.shared.live.load_full().filter(|live| live.txn == txn) {
            return Ok(TxnView::clone(&live));
        }
        self.shared.stored_txn(txn).await
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<TxnView, Error>>) -> Command,
    ) -> Result<TxnView, Error> {
        let (reply, answer) = oneshot::channel();
        let busy = |_| Error::new(Code::ConfigBusy).detail("too many changes wait for their turn");
        self.shared.commands.try_send(command(reply)).map_err(busy)?;
        answer.await.map_err(|_| Error::new(Code::Stopping))?
    }
}

impl Shared {
    /// Refuses when a change could not be recorded.
    fn check_writable(&self) -> Result<(), Error> {
        if let Some(damage) = self.audit.damage() {
            return Err(Error::new(Code::ConfigAuditDamaged)
                .detail(format!(
                    "line {} of the audit does not hold: {}",
                    damage.first_bad_seq, damage.reason
                ))
                .context("first_bad_seq", damage.first_bad_seq));
        }
        Ok(())
    }

    /// What the same request started before.
    async fn replay(
        &self,
        actor: &StoredActor,
        options: &ApplyOptions,
    ) -> Result<Option<OperationRow>, Error> {
        let Some((key, digest)) = options.idempotency.clone() else { return Ok(None) };
        let key_id = actor.key_id.clone();
        self.store.read(move |connection| operations_log::replay(connection, &key_id, &key, &digest)).await
    }

    /// What `HEAD` names, or why there is nothing.
    fn committed(&self) -> Result<Arc<Committed>, Error> {
        self.head.load_full().ok_or_else(|| Error::new(Code::ConfigDamaged))
    }

    /// The differences, with secrets masked.
    fn lines(&self, from: &Value, to: &Value) -> Vec<Line> {
        diff::lines(&self.schema, from, to, &|value| self.audit.mask(value))
    }

    async fn stored_txn(&self, txn: &str) -> Result<TxnView, Error> {
        let id = txn.to_owned();
        let op = self.store.read(move |connection| Ok(operations_log::load(connection, &id)?)).await?;
        let unknown = || Error::new(Code::ConfigTxnUnknown).context("txn", botops_core::text::clean(txn, 80));
        let op = op.filter(|op| op.kind == OperationKind::Config).ok_or_else(unknown)?;
        let txn = txn::Txn::of(&op).map_err(|error| Error::new(Code::Internal).caused_by(error))?;
        Ok(txn.view(trial::SAMPLES))
    }
}

async fn next_generation(store: &Store) -> Result<u64, Error> {
    let next: i64 = store
        .write(|connection| {
            Ok(connection.query_row(
                "INSERT INTO meta(key, value) VALUES('config_gen', '1')
                 ON CONFLICT(key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)
                 RETURNING CAST(value AS INTEGER)",
                [],
                |row| row.get(0),
            )?)
        })
        .await?;
    Ok(u64::try_from(next).unwrap_or_default())
}
