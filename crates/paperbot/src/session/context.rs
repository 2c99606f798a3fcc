//! The state that the session's parts share: broker, clock, the machine behind its lock, and the stores of its changes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;

use super::limits::SessionSettings;
use super::machine::{SessionCheckKind, SessionMachine};
use super::publisher::{ReportedState, SessionPublisher};
use super::state_file::SessionStateFile;
use crate::broker::BrokerAdapter;
use crate::calendar::MarketPhase;
use crate::clock::{Clock, Now};
use botops_core::tasks::Tasks;

/// How long the broker's answer that the market is closed is valid.
const MARKET_ANSWER_MAX_AGE: Duration = Duration::from_secs(900);

/// Shared by the handle and the keeper. The machine is changed only through [`SessionContext::update`].
pub(super) struct SessionContext {
    pub(super) broker: Box<dyn BrokerAdapter>,
    pub(super) settings: SessionSettings,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) publisher: SessionPublisher,
    pub(super) started: Now,
    /// Wakes the keeper before its next planned work.
    pub(super) wake: Notify,
    machine: Mutex<SessionMachine>,
    state_file: SessionStateFile,
}

impl SessionContext {
    pub(super) fn new(
        broker: Box<dyn BrokerAdapter>,
        settings: SessionSettings,
        clock: Clock,
        tasks: Tasks,
        publisher: SessionPublisher,
    ) -> Self {
        let now = clock.now();
        let (state_file, saved) = SessionStateFile::open(&settings.state_file);
        let mut machine = SessionMachine::new(settings.limits.clone(), &saved, now);
        machine.token_received(broker.generation());
        machine.set_token_lifetime(now, broker.token_lifetime());
        Self {
            broker,
            settings,
            clock,
            tasks,
            publisher,
            started: now,
            wake: Notify::new(),
            machine: Mutex::new(machine),
            state_file,
        }
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, SessionMachine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the machine, then stores and publishes the change. Every change goes through this.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut SessionMachine, Now) -> R) -> R {
        let now = self.clock.now();
        let (result, before, after) = {
            let mut machine = self.machine();
            let before = ReportedState::of(&machine, now);
            let result = change(&mut machine, now);
            (result, before, ReportedState::of(&machine, now))
        };
        if !self.store_state() {
            let text = "the session's state could not be stored";
            tracing::error!(file.path = %self.state_file.path().display(), "{text}");
        }
        self.publisher.publish_change(now, &before, &after);
        result
    }

    /// Stores the machine's state. False when that failed.
    pub(super) fn store_state(&self) -> bool {
        self.state_file.store(|| self.machine().saved())
    }

    /// Whether the calendar or a recent answer of the broker says that the market is closed.
    pub(super) fn is_market_closed(&self, now: Now) -> bool {
        if !self.settings.market_hours_only {
            return false;
        }
        let broker_says = self.machine().broker_market_open;
        let broker_closed = broker_says
            .is_some_and(|(at, open)| !open && now.mono.saturating_sub(at) < MARKET_ANSWER_MAX_AGE);
        broker_closed || self.settings.limits.calendar.phase_at(now.wall) != MarketPhase::Core
    }

    pub(super) fn log_event(&self, event: &str, kind: SessionCheckKind, fields: &[(&str, Value)]) {
        let generation = self.machine().generation;
        self.publisher.log.event(self.clock.wall(), event, generation, kind.as_str(), fields);
    }
}
