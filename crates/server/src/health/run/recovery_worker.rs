//! Running recovery handlers, keeping the properties of their workflows, and holding recovery of a bot that an
//! operator stopped.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use botops_contract::EventKind;
use botops_core::duration::milliseconds;
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::events::Event;
use crate::health::inner::HealthInner;
use crate::health::memory::HealthMemory;
use crate::health::model::RecoveryHandler;
use crate::health::recovery::{CHECKPOINT_MS, HandlerEnd, RecoveryAction, RecoveryAttempt, RecoveryRun};

/// How long an attempt waits until a runner for workflows is set.
const RUNNER_WAIT: Duration = Duration::from_secs(30);

/// How often the properties of workflows that may soon be needed are read.
const DESCRIBE_EVERY: Duration = Duration::from_secs(1);

/// The component whose process operators stop and start.
const BOT: &str = "bot";

/// The name under which recovery is held while an operator keeps the bot stopped.
const HOLDER: &str = "shutdown by an operator";

/// Keeps the properties of the workflows that may soon have to recover a component.
pub(crate) async fn describe_workflows(inner: Arc<HealthInner>, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(DESCRIBE_EVERY) => {}
        }
        let wanted = {
            let memory = inner.lock();
            memory.recovery.workflows_in_demand(&memory.status)
        };
        let Some(runner) = inner.runner.borrow().clone().filter(|_| !wanted.is_empty()) else {
            continue;
        };
        for id in wanted {
            let fact = (runner.describe)(id.clone()).await;
            inner.lock().recovery.workflow_facts.insert(id, fact);
        }
    }
}

/// Runs handlers, one at a time. A workflow ends by its own deadline: to stop waiting for it would not stop its run.
pub(crate) async fn run_recovery(
    inner: Arc<HealthInner>,
    mut inbox: mpsc::UnboundedReceiver<RecoveryAttempt>,
    stopping: CancellationToken,
) {
    loop {
        let attempt = tokio::select! {
            () = stopping.cancelled() => return,
            attempt = inbox.recv() => attempt,
        };
        let Some(attempt) = attempt else { return };
        let started = Instant::now();
        let handled = AssertUnwindSafe(run_handler(&inner, &attempt)).catch_unwind();
        let outcome = tokio::select! {
            () = stopping.cancelled() => return,
            outcome = handled => {
                outcome.unwrap_or_else(|_| HandlerEnd::Failed("the handler panicked".to_owned()))
            }
        };
        let took = milliseconds(started.elapsed());
        let now = inner.now();
        let mut memory = inner.lock();
        let HealthMemory { status, recovery, changes, .. } = &mut *memory;
        recovery.end_attempt(&attempt, &outcome, took, now, changes);
        status.check_soon(&attempt.component, now);
        inner.publish_changes(&mut memory);
        drop(memory);
        inner.wake.notify_one();
    }
}

async fn run_handler(inner: &HealthInner, attempt: &RecoveryAttempt) -> HandlerEnd {
    let not_tried = |why: &str| HandlerEnd::NotTried(why.to_owned());
    match (&attempt.handler, &attempt.run) {
        (RecoveryHandler::Workflow(workflow), Some(run)) => {
            // An attempt that is resumed after a restart may come before the runner is set.
            let mut runner = inner.runner.subscribe();
            let runner = tokio::time::timeout(RUNNER_WAIT, runner.wait_for(Option::is_some)).await;
            let runner = runner.ok().and_then(Result::ok).and_then(|runner| runner.clone());
            let Some(runner) = runner else { return not_tried("nobody can run workflows") };
            let (workflow, run) = (workflow.clone(), run.clone());
            (runner.run)(RecoveryRun { workflow, key: run.key, reason: run.reason, asked_by: run.asked_by })
                .await
        }
        (RecoveryHandler::Workflow(_), None) => not_tried("no run was prepared"),
        (RecoveryHandler::CheckpointStore, _) => {
            let limit = Duration::from_millis(u64::try_from(CHECKPOINT_MS).unwrap_or(30_000));
            match tokio::time::timeout(limit, inner.store.checkpoint()).await {
                Ok(Ok(words)) => HandlerEnd::Done(words.to_owned()),
                Ok(Err(_)) => HandlerEnd::Failed("the disk does not let the store be mended".to_owned()),
                Err(_) => HandlerEnd::Failed(format!("no end within {limit:?}")),
            }
        }
    }
}

/// Holds recovery while the bot is stopped by an operator, and releases it when the bot is started again.
pub(crate) async fn follow_operators(inner: Arc<HealthInner>, stopping: CancellationToken) {
    let mut events = inner.events.subscribe();
    loop {
        let event = tokio::select! {
            () = stopping.cancelled() => return,
            event = events.recv() => event,
        };
        let event = match event {
            Ok(event) => event,
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => continue,
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        if is_shutdown(&event) {
            act_on_bot(&inner, RecoveryAction::Hold);
        } else if event.kind == EventKind::Lifecycle && event.source == "botops" {
            let is_held_by_us = {
                let memory = inner.lock();
                let bot = memory.recovery.of(BOT);
                bot.is_some_and(|bot| bot.machine.held_by.as_deref() == Some(HOLDER))
            };
            // The bot was away and is back, so it was started again.
            if is_held_by_us && event.data["presence"] == "connected" {
                act_on_bot(&inner, RecoveryAction::Release);
            }
        }
    }
}

fn act_on_bot(inner: &HealthInner, action: RecoveryAction) {
    let now = inner.now();
    let mut memory = inner.lock();
    let HealthMemory { status, recovery, changes, .. } = &mut *memory;
    let Some(bot) = status.components.get(BOT) else { return };
    if let Err(problem) = recovery.act(bot, action, HOLDER, now, changes) {
        tracing::warn!("recovery of {BOT}: {} did nothing: {problem}", action.as_str());
    }
    inner.publish_changes(&mut memory);
}

fn is_shutdown(event: &Event) -> bool {
    let data = &event.data;
    event.kind == EventKind::Control
        && data["verb"] == "shutdown"
        && data["outcome"] == "done"
        && data["dry_run"] != true
}
