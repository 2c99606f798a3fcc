//! What each receiver took and refused since botops started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// A failed delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ReceiverFailureView {
    /// When it failed.
    pub(crate) at: DateTime<Utc>,
    /// What the receiver answered, or why there was no answer, and whether it may have taken the message all the same. Text
    /// of a receiver is untrusted.
    #[schema(example = "it answers 400: no such channel")]
    pub(crate) answered: String,
}

/// Whether a receiver takes what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReceiverState {
    /// Nothing was sent to it since botops started.
    Untried,
    /// It took the last message.
    Ok,
    /// It did not say that it took the last message, which is sent again under the same key.
    Failing,
}

/// A receiver of alerts: what it took, what waits for it, and its last failure.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ReceiverView {
    /// Its name: `jsonl`, `webhook` or `alertmanager`.
    pub(crate) receiver: &'static str,
    /// Whether it takes what it is sent.
    pub(crate) state: ReceiverState,
    /// Notices that wait for it; 0 for Alertmanager, which is sent the present state.
    pub(crate) waiting: usize,
    /// Messages it took since botops started.
    pub(crate) delivered: u64,
    /// Tries that failed since botops started.
    pub(crate) failed: u64,
    /// Notices that were given up since botops started, because it did not say within a day that it took them.
    pub(crate) given_up: u64,
    /// When it last took a message; `null` when it took none since botops started.
    pub(crate) last_delivered_at: Option<DateTime<Utc>>,
    /// Its last failure since botops started; `null` when there was none. It stays after a success.
    pub(crate) last_failure: Option<ReceiverFailureView>,
    /// When it is tried again at the latest; `null` unless it is failing.
    pub(crate) next_try_at: Option<DateTime<Utc>>,
}

/// What all receivers took and refused since botops started.
#[derive(Debug)]
pub(crate) struct ReceiverLog {
    /// In the order in which they were named.
    receivers: Mutex<Vec<ReceiverView>>,
}

impl ReceiverLog {
    pub(crate) fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let untried = |receiver| ReceiverView {
            receiver,
            state: ReceiverState::Untried,
            waiting: 0,
            delivered: 0,
            failed: 0,
            given_up: 0,
            last_delivered_at: None,
            last_failure: None,
            next_try_at: None,
        };
        Self { receivers: Mutex::new(names.into_iter().map(untried).collect()) }
    }

    /// Records that a receiver took a message.
    pub(crate) fn record_delivered(&self, receiver: &str) {
        self.change(receiver, |view| {
            view.state = ReceiverState::Ok;
            view.delivered += 1;
            view.last_delivered_at = Some(Utc::now());
            view.next_try_at = None;
        });
    }

    /// Records that a receiver did not take a message; it is tried again after `pause`.
    pub(crate) fn record_failed(&self, receiver: &str, answered: &str, pause: Duration) {
        self.change(receiver, |view| {
            view.state = ReceiverState::Failing;
            view.failed += 1;
            view.last_failure = Some(ReceiverFailureView { at: Utc::now(), answered: answered.to_owned() });
            view.next_try_at = Some(Utc::now() + pause);
        });
    }

    /// Records that this many notices were given up.
    pub(crate) fn record_given_up(&self, receiver: &str, count: usize) {
        self.change(receiver, |view| view.given_up += u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Messages taken and tries that failed, of all receivers.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let receivers = self.lock();
        receivers.iter().fold((0, 0), |(taken, failed), view| (taken + view.delivered, failed + view.failed))
    }

    /// All receivers; `waiting` has the number of notices in each queue.
    pub(crate) fn views(&self, waiting: &BTreeMap<String, usize>) -> Vec<ReceiverView> {
        let mut views = self.lock().clone();
        for view in &mut views {
            view.waiting = waiting.get(view.receiver).copied().unwrap_or_default();
        }
        views
    }

    /// Names of the receivers that did not take their last message.
    pub(crate) fn failing(&self) -> BTreeSet<&'static str> {
        let receivers = self.lock();
        let failing = receivers.iter().filter(|view| view.state == ReceiverState::Failing);
        failing.map(|view| view.receiver).collect()
    }

    fn change(&self, receiver: &str, change: impl FnOnce(&mut ReceiverView)) {
        if let Some(view) = self.lock().iter_mut().find(|view| view.receiver == receiver) {
            change(view);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ReceiverView>> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
