//! The trial: one task that takes changes, puts them before the bot, watches, and makes them permanent or undoes them.
//!
//! All transitions of the config happen here, one at a time, so no two of them race. Each is durable (row, event and
//! audit record in one store transaction) before the next step is taken; the points are named D1 to D7, R1 and R2
//! below. `HEAD`'s rename between D5 and D7 is the only commit point: until then every failure means "go back to
//! `HEAD`", after it "stay". What the bot runs is asked of the bot, never guessed. Deliberately absent: giving up
//! early. While it cannot be told what the bot runs, or the bot refuses to end the trial, the transaction stays live and
//! is looked into again, with growing waits; some time after its deadline it is handed to a person and the lock is free.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::criteria::{STRIKES, breach};
use super::door::Wish;
use super::snapshot::rejected;
use super::txn::{By, Confirm, Txn, TxnState, TxnView};
use super::{Shared, versions};
use crate::events::NewEvent;
use crate::operations_log::{self, StoredActor};
use botops_contract::{EventKind, Severity};
use botops_core::error::{Code, Error};
use botops_core::failpoints;

/// Good samples that an automatic confirmation needs at least.
pub(super) const SAMPLES: u32 = 3;

/// A confirmation with less time left than this might meet the bot's own timer.
pub(super) const TOO_LATE: Duration = Duration::from_millis(500);

/// The bot's timer runs this much longer than ours, so that ours normally decides.
pub(super) const BOT_GRACE: Duration = Duration::from_secs(2);

/// A report that was on its way when the bot acknowledged something arrives within this time.
pub(super) const IN_FLIGHT: Duration = Duration::from_millis(200);

/// How soon the bot is asked again; the wait doubles with each try in the same state.
const RETRY: Duration = Duration::from_millis(250);

/// The longest wait for a bot that does not answer: it may come back at any moment.
const SILENCE_WAIT: Duration = Duration::from_secs(2);

/// The longest wait for a bot that answers and refuses: its next answer is seldom another one.
const REFUSAL_WAIT: Duration = Duration::from_secs(30);

/// A trial is looked at this often even when no report comes.
const TICK: Duration = Duration::from_millis(250);

/// A transaction that nothing is known about this long after its deadline needs a person.
pub(super) const GIVE_UP: Duration = Duration::from_secs(60);

/// A bot that still refuses to keep a change or to go back, this long after its own timer should have ended the trial,
/// needs a person.
pub(super) const REFUSALS_END: Duration = Duration::from_secs(15);

pub(super) type Reply = oneshot::Sender<Result<TxnView, Error>>;

/// What the task is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Begin(Box<Wish>, Reply),
    Confirm(String, StoredActor, Reply),
    Cancel(String, StoredActor, Reply),
}

/// Takes commands and drives the live transaction, until the stop. A trial that is live then goes on in the bot
/// until its timer ends it, or is taken up by the next start.
pub(super) async fn run(
    shared: Arc<Shared>,
    inbox: Arc<Mutex<mpsc::Receiver<Command>>>,
    stopping: CancellationToken,
) {
    let mut inbox = inbox.lock().await;
    let mut seen = shared.bots.watch();
    let mut desk = Desk { shared, live: None };
    while let Err(error) = desk.take_up().await {
        tracing::error!("config transactions cannot be taken up: {error}");
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    loop {
        let wake = desk.live.as_ref().map(Live::wakes_at);
        tokio::select! {
            () = stopping.cancelled() => return,
            command = inbox.recv() => match command {
                Some(command) => desk.handle(command).await,
                None => return,
            },
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {
                desk.drive().await;
            }
            changed = seen.changed(), if desk.live.is_some() => {
                if changed.is_err() {
                    return;
                }
                desk.drive().await;
            }
        }
    }
}

/// The live transaction with what is known of it in this process only.
#[derive(Debug)]
pub(super) struct Live {
    pub txn: Txn,
    /// True while it must be asked what the bot runs.
    pub in_doubt: bool,
    /// When to look again while something is awaited.
    pub retry_at: Instant,
    /// When the trial began, as far as this process saw.
    pub began: Instant,
    pub ends_at: Instant,
    /// Tries in this state that did not bring it to its end.
    pub tries: u32,
    /// What the bot refused last, and why.
    pub refused: Option<String>,
    pub last_sample: Option<Instant>,
    pub strikes: u32,
    /// The bot is to be started again, to boot the candidate once.
    pub boots: bool,
    /// An ending that could not be recorded yet.
    pub ending: Option<(TxnState, By, String)>,
}

impl Live {
    pub fn new(txn: Txn, in_doubt: bool) -> Self {
        let now = Instant::now();
        let left = txn.left();
        let window = Duration::from_millis(txn.plan.confirm_within_ms);
        // A trial that is taken up after a restart began when it began.
        let began = now.checked_sub(window.saturating_sub(left)).filter(|_| !left.is_zero()).unwrap_or(now);
        let (retry_at, ends_at) = (now, now + left);
        Self {
            txn,
            in_doubt,
            retry_at,
            began,
            ends_at,
            tries: 0,
            refused: None,
            last_sample: None,
            strikes: 0,
            boots: false,
            ending: None,
        }
    }

    fn wakes_at(&self) -> Instant {
        let waits = self.in_doubt || self.ending.is_some() || self.txn.state != TxnState::Trial;
        if waits { self.retry_at } else { self.ends_at.min(Instant::now() + TICK) }
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.ends_at
    }

    /// It is being undone because the bot was no longer heard, and for nothing else.
    pub fn fell_silent(&self) -> bool {
        let progress = &self.txn.progress;
        let mut breached = progress.watch.iter().filter(|criterion| criterion.breached).peekable();
        // A life that botops ended itself says nothing.
        progress.by == Some(By::Criteria)
            && progress.ends_life.is_none()
            && breached.peek().is_some()
            && breached.all(|criterion| criterion.name == "heartbeat")
    }
}

/// The task's own hands.
#[derive(Debug)]
pub(super) struct Desk {
    pub shared: Arc<Shared>,
    pub live: Option<Live>,
}

impl Desk {
    async fn handle(&mut self, command: Command) {
        match command {
            Command::Begin(wish, reply) => {
                let answer = self.begin(*wish).await;
                // Whoever asked may be gone; the transaction is not.
                let _ = reply.send(answer);
                if let Err(error) = self.shared.audit.flush().await {
                    tracing::error!("the audit file waits for its last lines: {error}");
                }
            }
            Command::Confirm(id, actor, reply) => {
                let answer = self.confirm(&id, actor).await;
                let _ = reply.send(answer);
            }
            Command::Cancel(id, actor, reply) => {
                let answer = self.cancel(&id, actor).await;
                let _ = reply.send(answer);
            }
        }
    }

    async fn confirm(&mut self, id: &str, actor: StoredActor) -> Result<TxnView, Error> {
        let Some(live) = self.live.as_mut().filter(|live| live.txn.id == id) else {
            return self.over(id, TxnState::Committed).await;
        };
        match live.txn.state {
            TxnState::Confirming => return Ok(live.txn.view(SAMPLES)),
            TxnState::Reverting => return Err(Error::new(Code::ConfigConfirmTooLate).context("txn", id)),
            TxnState::Trial if !live.in_doubt => {}
            state => return Err(busy("config", id, &live.txn.actor, state.as_str())),
        }
        if live.ends_at.saturating_duration_since(Instant::now()) < TOO_LATE {
            return Err(Error::new(Code::ConfigConfirmTooLate).context("txn", id));
        }
        live.txn.progress.settled_by = Some(actor);
        self.make_permanent().await;
        if self.live.as_ref().is_some_and(|live| live.in_doubt) {
            self.look_into().await;
        }
        match &self.live {
            // Being undone is no confirmation, also while nothing of it can be recorded.
            Some(live) if live.txn.state == TxnState::Reverting => {
                let outcome = live.txn.progress.outcome.as_deref().unwrap_or("it is being undone");
                let error = Error::new(Code::ConfigTxnOver).detail(format!("it is reverting: {outcome}"));
                Err(error.context("txn", id).context("state", live.txn.state.as_str()))
            }
            Some(live) => Ok(live.txn.view(SAMPLES)),
            None => self.over(id, TxnState::Committed).await,
        }
    }

    async fn cancel(&mut self, id: &str, actor: StoredActor) -> Result<TxnView, Error> {
        let Some(live) = self.live.as_mut().filter(|live| live.txn.id == id) else {
            return self.over(id, TxnState::RolledBack).await;
        };
        if matches!(live.txn.state, TxnState::Confirming) {
            let error = Error::new(Code::ConfigTxnOver).detail("it is being made permanent");
            return Err(error.context("txn", id).context("state", live.txn.state.as_str()));
        }
        if live.txn.state != TxnState::Reverting {
            let text = format!("cancelled by {}", actor.key_id);
            live.txn.progress.settled_by = Some(actor);
            self.undo(By::Operator, &text).await;
        }
        match &self.live {
            Some(live) => Ok(live.txn.view(SAMPLES)),
            None => self.over(id, TxnState::RolledBack).await,
        }
    }

    /// A transaction that has ended: fine when it ended as wanted.
    async fn over(&self, id: &str, wanted: TxnState) -> Result<TxnView, Error> {
        let view = self.shared.stored_txn(id).await?;
        if view.state == wanted {
            return Ok(view);
        }
        let code = match (wanted, view.by) {
            (TxnState::Committed, Some(By::Deadline | By::BotTimer)) => Code::ConfigConfirmTooLate,
            _ => Code::ConfigTxnOver,
        };
        Err(Error::new(code)
            .detail(format!("it is {}: {}", view.state.as_str(), view.outcome.unwrap_or_default()))
            .context("txn", id)
            .context("state", view.state.as_str()))
    }

    /// One look at the live transaction.
    async fn drive(&mut self) {
        let Some(live) = &mut self.live else { return };
        if let Some((state, by, outcome)) = live.ending.take() {
            return self.end(state, by, &outcome).await;
        }
        if live.boots && live.txn.state == TxnState::Activating {
            return self.boot().await;
        }
        if live.in_doubt {
            if Instant::now() >= live.retry_at {
                self.look_into().await;
            }
            return;
        }
        match live.txn.state {
            TxnState::Trial => self.watch().await,
            TxnState::Confirming | TxnState::Reverting if Instant::now() < live.retry_at => {}
            TxnState::Confirming => self.send_commit().await,
            TxnState::Reverting => self.send_revert().await,
            _ => live.in_doubt = true,
        }
    }

    /// Judges the trial by the bot's last report.
    async fn watch(&mut self) {
        let Some(live) = &mut self.live else { return };
        if live.is_over() {
            let text = match live.txn.plan.confirm {
                Confirm::Manual => "nobody confirmed it in time",
                Confirm::Auto => "the criteria did not hold long enough",
            };
            return self.undo(By::Deadline, text).await;
        }
        let seen = self.shared.bots.snapshot();
        if seen.presence == crate::bots::Presence::Exited {
            let text = "the bot died during the trial; it starts from the committed config";
            return self.end(TxnState::RolledBack, By::BotCrash, text).await;
        }
        let is_fresh = seen.received.is_some_and(|received| {
            received > live.began + IN_FLIGHT && live.last_sample.is_none_or(|last| received > last)
        });
        let Some(baseline) = &live.txn.progress.baseline else { return };
        let watch = baseline.judge(&seen, self.shared.options.poll_interval, live.began.elapsed());
        let breached = breach(&watch);
        let all_hold = watch.iter().all(|criterion| criterion.ok);
        let session_holds = watch.iter().all(|criterion| criterion.ok || criterion.name != "session");
        live.txn.progress.watch = watch;
        if let Some(text) = breached {
            return self.undo(By::Criteria, &text).await;
        }
        if !is_fresh {
            return;
        }
        live.last_sample = seen.received;
        let runs_candidate = seen.report.as_ref().is_some_and(|report| {
            report.config.running.sha256 == live.txn.plan.candidate.sha256
                && Some(&report.boot_epoch) == live.txn.progress.boot_epoch.as_ref()
        });
        if !runs_candidate {
            live.in_doubt = true;
            live.retry_at = Instant::now();
            return self.look_into().await;
        }
        live.strikes = if session_holds { 0 } else { live.strikes + 1 };
        live.txn.progress.samples = if all_hold { live.txn.progress.samples + 1 } else { 0 };
        let half = Duration::from_millis(live.txn.plan.confirm_within_ms / 2);
        let good = live.txn.plan.confirm == Confirm::Auto
            && live.txn.progress.samples >= SAMPLES
            && live.began.elapsed() >= half
            && live.ends_at.saturating_duration_since(Instant::now()) >= TOO_LATE;
        if live.strikes >= STRIKES {
            return self.undo(By::Criteria, "the broker session degraded during the trial").await;
        }
        if good {
            return self.make_permanent().await;
        }
        let txn = live.txn.clone();
        self.show(&txn);
    }

    /// Writes down where the transaction stands now.
    pub(super) async fn record(&self, live: &mut Live, state: TxnState) -> Result<(), Error> {
        if live.txn.state != state {
            (live.tries, live.refused) = (0, None);
        }
        live.txn.state = state;
        live.txn.updated_ms = operations_log::now_ms();
        let txn = live.txn.clone();
        let (queue, record) = (self.shared.audit.queue(), txn.record());
        let to = txn.as_move();
        let data = json!({"by": txn.progress.by, "outcome": txn.progress.outcome});
        let (id, version) = (txn.id.clone(), txn.plan.candidate.version);
        // What `HEAD` names is committed, whatever the bot says to it.
        let is_committed = state == TxnState::Committed
            || (state == TxnState::FailedAttention && self.head_is_candidate(&txn));
        self.shared
            .store
            .write(move |connection| {
                if operations_log::advance(connection, &id, &to, &to.state, &data)? {
                    if is_committed {
                        versions::mark_committed(connection, version, operations_log::now_ms())?;
                    }
                    queue(connection, record)?;
                }
                Ok(())
            })
            .await?;
        self.tell(&txn);
        if !state.is_terminal() {
            self.show(&txn);
        }
        Ok(())
    }

    /// Ends the live transaction; when that cannot be recorded now, it is tried again.
    pub(super) async fn end(&mut self, state: TxnState, by: By, outcome: &str) {
        let Some(mut live) = self.live.take() else { return };
        live.txn.progress.by = (state != TxnState::Committed).then_some(by);
        live.txn.progress.outcome = Some(outcome.to_owned());
        let before = live.txn.state;
        if let Err(error) = self.record(&mut live, state).await {
            tracing::error!("the end of config change {} cannot be recorded yet: {error}", live.txn.id);
            live.txn.state = before;
            live.ending = Some((state, by, outcome.to_owned()));
            live.retry_at = Instant::now() + Duration::from_secs(1);
            self.live = Some(live);
            return;
        }
        failpoints::point(if state == TxnState::Committed { "config.d7" } else { "config.r2" });
        if let Some(last) = rejected(&live.txn) {
            self.shared.last_rejected.store(Some(Arc::new(last)));
        }
        self.shared.live.store(None);
        self.shared.refresh();
        if let Err(error) = self.shared.audit.flush().await {
            tracing::error!("the audit file waits for its last lines: {error}");
        }
    }

    /// Shows the live transaction to readers.
    pub(super) fn show(&self, txn: &Txn) {
        self.shared.live.store(Some(Arc::new(txn.view(SAMPLES))));
        self.shared.refresh();
    }

    fn tell(&self, txn: &Txn) {
        let severity = match (txn.state, txn.progress.by) {
            (TxnState::FailedAttention, _) | (_, Some(By::BotCrash)) => Severity::Critical,
            (TxnState::Activating, _) if txn.progress.outcome.is_some() => Severity::High,
            (_, Some(By::Criteria | By::BotTimer | By::Recovery)) => Severity::High,
            (TxnState::RolledBack | TxnState::Rejected, _) => Severity::Medium,
            _ => Severity::Low,
        };
        let version = txn.plan.candidate.version;
        let state = txn.state.as_str().replace('_', " ");
        let mut message = format!("config version {version} is {state}");
        if let Some(outcome) = &txn.progress.outcome {
            message = format!("{message}: {outcome}");
        }
        tracing::info!(config.txn = %txn.id, config.state = txn.state.as_str(), "{message}");
        let data = json!({
            "txn": txn.id, "state": txn.state, "by": txn.progress.by, "version": version,
            "base": txn.plan.base, "reason": txn.plan.reason, "actor": txn.actor.key_id,
        });
        self.shared.events.publish(NewEvent::own(EventKind::Config, severity, message, data));
    }

    pub(super) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Relaxed)
    }

    /// The bot has heard of a higher generation than ours, which happens when the store came from a backup.
    pub(super) fn outrun(&self, theirs: u64) {
        if theirs <= self.generation() {
            return;
        }
        self.shared.generation.store(theirs + 1, Ordering::Relaxed);
        self.shared.store.post("the config generation", move |connection| {
            connection
                .execute("UPDATE meta SET value = ?1 WHERE key = 'config_gen'", [(theirs + 1).to_string()])?;
            Ok(())
        });
    }

    /// The next look at a bot that did not answer, or that is about to.
    pub(super) fn wait_a_little(&mut self) {
        self.wait(SILENCE_WAIT);
    }

    /// The next try with a bot that refused.
    pub(super) fn wait_after_refusal(&mut self) {
        self.wait(REFUSAL_WAIT);
    }

    fn wait(&mut self, longest: Duration) {
        if let Some(live) = &mut self.live {
            let wait = (RETRY * 2_u32.pow(live.tries.min(8))).min(longest);
            live.tries += 1;
            live.retry_at = Instant::now() + wait;
        }
    }
}

pub(super) fn busy(kind: &str, id: &str, actor: &StoredActor, state: &str) -> Error {
    let (operation, path) = match kind {
        "workflow" => ("get_workflow_run", format!("/api/v1/workflows/runs/{id}")),
        _ => ("get_config_txn", format!("/api/v1/config/txns/{id}")),
    };
    Error::new(Code::ConfigBusy)
        .detail(format!("{kind} {id} of key `{}` is {state}", actor.key_id))
        .context("holder", json!({"kind": kind, "id": id, "actor": actor.key_id, "state": state}))
        .next(operation, "GET", path, None, Some("read"))
}
