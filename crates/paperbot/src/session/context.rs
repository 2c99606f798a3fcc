//! The state that the session's parts share: broker, clock, the machine behind its lock, and the stores of its changes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::sync::Notify;

use super::limits::SessionSettings;
use super::machine::{SessionCheckKind, SessionMachine};
use super::model::MarketHours;
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
    /// The mark of the credentials that the broker refused last; `None` when it refused none.
    refused_mark: Mutex<Option<Option<(SystemTime, u64)>>>,
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
            refused_mark: Mutex::new(None),
            state_file,
        }
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, SessionMachine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the machine, then stores and publishes the change. Every change goes through this.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut SessionMachine, Now) -> R) -> R {
        let now = self.clock.now();
        let (result, before, after, refused_now) = {
            let mut machine = self.machine();
            let (before, refused_before) = (ReportedState::of(&machine, now), machine.credentials_refused);
            let result = change(&mut machine, now);
            let refused_now = machine.credentials_refused && !refused_before;
            (result, before, ReportedState::of(&machine, now), refused_now)
        };
        // What cannot be stored holds in memory, is logged, and is stored with the next change that can be.
        self.store_state();
        if refused_now {
            let mark = Some(self.credentials_mark());
            *self.refused_mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
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
        self.settings.market_hours_only
            && (self.broker_says_closed(now)
                || self.settings.limits.calendar.phase_at(now.wall) != MarketPhase::Core)
    }

    /// The trading hours that new positions keep to; `None` when they keep to none.
    pub(super) fn market_hours(&self, now: Now) -> Option<MarketHours> {
        if !self.settings.market_hours_only {
            return None;
        }
        let calendar = &self.settings.limits.calendar;
        let phase = calendar.phase_at(now.wall);
        if phase == MarketPhase::Core && self.broker_says_closed(now) {
            // The calendar does not know this closing, so it does not know its end either.
            let phase = MarketPhase::Closed;
            return Some(MarketHours { is_open: false, phase, next_open: None, next_close: None });
        }
        Some(MarketHours {
            is_open: phase == MarketPhase::Core,
            phase,
            next_open: calendar.next_open(now.wall),
            next_close: calendar.next_close(now.wall),
        })
    }

    fn broker_says_closed(&self, now: Now) -> bool {
        let broker_says = self.machine().broker_market_open;
        broker_says.is_some_and(|(at, open)| !open && now.mono.saturating_sub(at) < MARKET_ANSWER_MAX_AGE)
    }

    /// Whether the credentials are still those that the broker refused last, as far as their file shows.
    pub(super) fn has_refused_credentials(&self) -> bool {
        let refused = *self.refused_mark.lock().unwrap_or_else(PoisonError::into_inner);
        self.machine().credentials_refused && refused == Some(self.credentials_mark())
    }

    /// Differs from an earlier one when the file of the credentials was written since.
    fn credentials_mark(&self) -> Option<(SystemTime, u64)> {
        let file = std::fs::metadata(self.broker.credentials_file()?).ok()?;
        Some((file.modified().ok()?, file.len()))
    }

    pub(super) fn log_event(&self, event: &str, kind: SessionCheckKind, fields: &[(&str, Value)]) {
        let generation = self.machine().generation;
        self.publisher.log.event(self.clock.wall(), event, generation, kind.as_str(), fields);
    }
}
