//! The task that takes changes one at a time, watches the live trial, and decides when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::begin::{TrialStart, TrialStarter};
use super::finish::TrialDriver;
use super::live::{LiveTrial, RECORD_AGAIN, TOO_LATE};
use super::services::TrialServices;
use crate::bots::{BotSnapshot, Presence};
use crate::configs::admission::{ChangeRequest, bot_busy};
use crate::configs::current::REPORT_IN_FLIGHT;
use crate::configs::transaction::{
    ConfirmMode, EndedBy, SAMPLES_NEEDED, STRIKES, TransactionState, TransactionView, breach_text,
    load_transaction,
};
use crate::operations_log::StoredActor;
use botops_core::error::{Code, Effect, Error};

pub(crate) type TrialReply = oneshot::Sender<Result<TransactionView, Error>>;

/// What the task is asked to do, with where the answer goes.
#[derive(Debug)]
pub(crate) enum TrialCommand {
    Begin(Box<ChangeRequest>, TrialReply),
    Confirm(String, StoredActor, TrialReply),
    Cancel(String, StoredActor, TrialReply),
}

impl TrialCommand {
    /// Answers what was asked before it could be read which change is live.
    fn refuse_unread(self) {
        let (Self::Begin(_, reply) | Self::Confirm(_, _, reply) | Self::Cancel(_, _, reply)) = self;
        let detail = "the store cannot be read, so it is not known which change is live; nothing was done";
        // Whoever asked may be gone.
        let _ = reply.send(Err(Error::new(Code::StoreUnavailable).detail(detail)));
    }
}

/// Takes commands and drives the live transaction, until the stop. A trial that is live then goes on in the bot
/// until its timer ends it, or is taken up by the next start.
pub(crate) async fn run_trials(
    services: Arc<TrialServices>,
    inbox: Arc<Mutex<mpsc::Receiver<TrialCommand>>>,
    stopping: CancellationToken,
) {
    let mut inbox = inbox.lock().await;
    let mut seen = services.bots.watch();
    let mut task = TrialTask::new(services);
    while let Err(error) = task.driver.resume_transaction().await {
        tracing::error!("config transactions cannot be taken up: {error}");
        tokio::select! {
            () = stopping.cancelled() => return,
            command = inbox.recv() => match command {
                Some(command) => command.refuse_unread(),
                None => return,
            },
            () = tokio::time::sleep(RECORD_AGAIN) => {}
        }
    }
    loop {
        let live = task.driver.live.as_ref();
        let (is_live, wake) = (live.is_some(), live.map(LiveTrial::next_wakeup));
        let audit_again = task.driver.audit_again;
        tokio::select! {
            () = stopping.cancelled() => return,
            command = inbox.recv() => match command {
                Some(command) => task.handle(command).await,
                None => return,
            },
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now).into()), if is_live => {
                task.drive().await;
            }
            () = tokio::time::sleep_until(audit_again.unwrap_or_else(Instant::now).into()), if audit_again.is_some() => {
                task.driver.flush_audit().await;
            }
            changed = seen.changed(), if is_live => {
                if changed.is_err() {
                    return;
                }
                task.drive().await;
            }
        }
    }
}

/// The one task by which the config changes.
#[derive(Debug)]
struct TrialTask {
    services: Arc<TrialServices>,
    starter: TrialStarter,
    driver: TrialDriver,
}

/// What the last report of the bot calls for.
#[derive(Debug, PartialEq, Eq)]
enum WatchDecision {
    /// Nothing: the trial goes on.
    GoOn,
    /// Nothing: the trial goes on, and a sample was counted that readers may see.
    Sampled,
    /// The bot does not say that it runs the candidate.
    AskBot,
    MakePermanent,
    RollBack(EndedBy, String),
    /// The process of the bot that ran the candidate has died.
    BotDied,
}

impl TrialTask {
    fn new(services: Arc<TrialServices>) -> Self {
        Self {
            starter: TrialStarter::new(services.clone()),
            driver: TrialDriver::new(services.clone()),
            services,
        }
    }

    async fn handle(&mut self, command: TrialCommand) {
        match command {
            TrialCommand::Begin(request, reply) => {
                let answer = self.begin(*request).await;
                // Whoever asked may be gone; the transaction is not.
                let _ = reply.send(answer);
                self.driver.flush_audit().await;
            }
            TrialCommand::Confirm(id, actor, reply) => {
                let answer = self.confirm(&id, actor).await;
                let _ = reply.send(answer);
            }
            TrialCommand::Cancel(id, actor, reply) => {
                let answer = self.cancel(&id, actor).await;
                let _ = reply.send(answer);
            }
        }
    }

    async fn begin(&mut self, request: ChangeRequest) -> Result<TransactionView, Error> {
        let admission = &self.services.admission;
        if let Some(earlier) = admission.find_earlier(&request.actor, &request.options).await? {
            return admission.answer_again(&earlier);
        }
        // A change that names no base is refused for that, whatever else goes on.
        if let Some(live) = self.driver.live.as_ref().filter(|_| request.options.if_match.is_some()) {
            return Err(bot_busy("config", &live.txn.id, &live.txn.actor, live.txn.state.as_str()));
        }
        match self.starter.start(request).await? {
            TrialStart::Repeated(view) => Ok(*view),
            TrialStart::Live(live, answer) => {
                self.driver.live = Some(*live);
                answer.map(|view| *view)
            }
            TrialStart::Rejected(live, error) => Err(self.driver.reject(*live, error).await),
        }
    }

    async fn confirm(&mut self, id: &str, actor: StoredActor) -> Result<TransactionView, Error> {
        let Some(live) = self.driver.live.as_mut().filter(|live| live.txn.id == id) else {
            return self.answer_ended(id, TransactionState::Committed).await;
        };
        match live.txn.state {
            TransactionState::Confirming => return Ok(TransactionView::of(&live.txn)),
            TransactionState::Reverting => {
                let outcome = live.txn.progress.outcome.as_deref().unwrap_or("nobody confirmed it in time");
                let error = Error::new(Code::ConfigConfirmTooLate);
                return Err(error.detail(format!("it is being undone: {outcome}")).context("txn", id));
            }
            state if live.ending.is_some() => return Err(over(id, state, live)),
            TransactionState::Trial if !live.in_doubt => {}
            state => return Err(bot_busy("config", id, &live.txn.actor, state.as_str())),
        }
        if live.left() < TOO_LATE {
            return Err(Error::new(Code::ConfigConfirmTooLate).context("txn", id));
        }
        live.txn.progress.settled_by = Some(actor);
        self.driver.make_permanent().await;
        if self.driver.live.as_ref().is_some_and(|live| live.in_doubt) {
            self.driver.ask_bot_what_it_runs().await;
        }
        match &self.driver.live {
            // Being undone is no confirmation, also while nothing of it can be recorded.
            Some(live) if live.txn.state == TransactionState::Reverting => {
                // Neither recorded nor acknowledged by the bot: a restart of botops could still find it confirmed.
                Err(over(id, live.txn.state, live).effect(Effect::Unknown))
            }
            Some(live) => Ok(TransactionView::of(&live.txn)),
            None => self.answer_ended(id, TransactionState::Committed).await,
        }
    }

    async fn cancel(&mut self, id: &str, actor: StoredActor) -> Result<TransactionView, Error> {
        let Some(live) = self.driver.live.as_mut().filter(|live| live.txn.id == id) else {
            return self.answer_ended(id, TransactionState::RolledBack).await;
        };
        if matches!(live.txn.state, TransactionState::Confirming) {
            let error = Error::new(Code::ConfigTxnOver).detail("it is being made permanent");
            return Err(error.context("txn", id).context("state", live.txn.state.as_str()));
        }
        if live.ending.is_some() && live.txn.state != TransactionState::Reverting {
            return Err(over(id, live.txn.state, live));
        }
        if live.txn.state != TransactionState::Reverting {
            let text = format!("cancelled by {}", actor.key_id);
            live.txn.progress.settled_by = Some(actor);
            self.driver.roll_back_trial(EndedBy::Operator, &text).await;
        }
        match &self.driver.live {
            Some(live) => Ok(TransactionView::of(&live.txn)),
            None => self.answer_ended(id, TransactionState::RolledBack).await,
        }
    }

    /// The answer to a confirm or cancel of a transaction that has ended: its view when it ended as wanted.
    async fn answer_ended(&self, id: &str, wanted: TransactionState) -> Result<TransactionView, Error> {
        let view = TransactionView::of(&load_transaction(&self.services.store, id).await?);
        if view.state == wanted {
            return Ok(view);
        }
        let code = match (wanted, view.by) {
            (TransactionState::Committed, Some(EndedBy::Deadline | EndedBy::BotTimer)) => {
                Code::ConfigConfirmTooLate
            }
            _ => Code::ConfigTxnOver,
        };
        Err(Error::new(code)
            .detail(format!("it is {}: {}", view.state.as_str(), view.outcome.unwrap_or_default()))
            .context("txn", id)
            .context("state", view.state.as_str()))
    }

    /// Does for the live transaction what its state calls for now.
    async fn drive(&mut self) {
        let Some(live) = &mut self.driver.live else { return };
        if live.ending.is_some() && Instant::now() < live.retry_at {
            return;
        }
        if let Some((state, by, outcome)) = live.ending.take() {
            return self.driver.end(state, by, &outcome).await;
        }
        if live.boots && live.txn.state == TransactionState::Activating {
            return self.driver.boot_candidate().await;
        }
        if live.in_doubt {
            if Instant::now() >= live.retry_at {
                self.driver.ask_bot_what_it_runs().await;
            }
            return;
        }
        match live.txn.state {
            TransactionState::Trial => {
                if live.unrecorded && self.services.store.writable() && Instant::now() >= live.retry_at {
                    self.driver.record_begin().await;
                }
                self.watch().await;
            }
            TransactionState::Confirming | TransactionState::Reverting if Instant::now() < live.retry_at => {}
            TransactionState::Confirming => self.driver.send_commit().await,
            TransactionState::Reverting => self.driver.send_revert().await,
            _ => live.in_doubt = true,
        }
    }

    /// Evaluates the trial by the bot's last report.
    async fn watch(&mut self) {
        let Some(live) = &mut self.driver.live else { return };
        match evaluate_trial(live, &self.services.bots.snapshot(), self.services.poll_interval) {
            WatchDecision::GoOn => {}
            WatchDecision::Sampled => self.services.current.show_live(&live.txn),
            WatchDecision::AskBot => {
                live.mark_unproven_now();
                self.driver.ask_bot_what_it_runs().await;
            }
            WatchDecision::MakePermanent => self.driver.make_permanent().await,
            WatchDecision::RollBack(by, why) => self.driver.roll_back_trial(by, &why).await,
            WatchDecision::BotDied => {
                let text = "the bot died during the trial; it starts from the committed config";
                self.driver.end(TransactionState::RolledBack, EndedBy::BotCrash, text).await;
            }
        }
    }
}

/// The refusal of a change that is over, or is about to be.
fn over(id: &str, state: TransactionState, live: &LiveTrial) -> Error {
    let outcome = live.txn.progress.outcome.as_deref().unwrap_or("its end is not recorded yet");
    Error::new(Code::ConfigTxnOver)
        .detail(format!("it is {}: {outcome}", state.as_str()))
        .context("txn", id)
        .context("state", state.as_str())
}

/// What the bot's last report means for the trial. Counts a sample when the report is a new one.
fn evaluate_trial(live: &mut LiveTrial, seen: &BotSnapshot, poll_interval: Duration) -> WatchDecision {
    if live.is_over() {
        let text = match live.txn.plan.confirm {
            ConfirmMode::Manual => "nobody confirmed it in time",
            ConfirmMode::Auto => "the criteria did not hold long enough",
        };
        return WatchDecision::RollBack(EndedBy::Deadline, text.to_owned());
    }
    if seen.presence == Presence::Exited {
        return WatchDecision::BotDied;
    }
    let is_fresh = seen.received.is_some_and(|received| {
        received > live.began + REPORT_IN_FLIGHT && live.last_sample.is_none_or(|last| received > last)
    });
    let Some(baseline) = &live.txn.progress.baseline else { return WatchDecision::GoOn };
    let watch = baseline.evaluate(seen, poll_interval, live.began.elapsed());
    let breached = breach_text(&watch);
    let all_hold = watch.iter().all(|criterion| criterion.ok);
    let session_holds = watch.iter().all(|criterion| criterion.ok || criterion.name != "session");
    live.txn.progress.watch = watch;
    if let Some(text) = breached {
        return WatchDecision::RollBack(EndedBy::Criteria, text);
    }
    if !is_fresh {
        return WatchDecision::GoOn;
    }
    live.last_sample = seen.received;
    let runs_candidate = seen.report.as_ref().is_some_and(|report| {
        let running = report.config.as_ref().map(|config| &config.running.sha256);
        running == Some(&live.txn.plan.candidate.sha256) && report.boot_epoch == live.txn.progress.boot_epoch
    });
    if !runs_candidate {
        return WatchDecision::AskBot;
    }
    live.strikes = if session_holds { 0 } else { live.strikes + 1 };
    live.txn.progress.samples = if all_hold { live.txn.progress.samples + 1 } else { 0 };
    if live.strikes >= STRIKES {
        let text = "the broker session degraded during the trial";
        return WatchDecision::RollBack(EndedBy::Criteria, text.to_owned());
    }
    if confirms_itself(live) { WatchDecision::MakePermanent } else { WatchDecision::Sampled }
}

/// Whether the criteria held over the first half of the trial, and enough of it is left to make it permanent.
fn confirms_itself(live: &LiveTrial) -> bool {
    let half = Duration::from_millis(live.txn.plan.confirm_within_ms / 2);
    live.txn.plan.confirm == ConfirmMode::Auto
        && live.txn.progress.samples >= SAMPLES_NEEDED
        && live.began.elapsed() >= half
        && live.left() >= TOO_LATE
}
