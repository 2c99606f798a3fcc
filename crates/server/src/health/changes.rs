//! What a change of health's memory leaves to be stored and published.

use std::time::Duration;

use botops_contract::{EventKind, Severity};
use botops_core::durable_deadline::DurableDeadline;
use serde::{Deserialize, Serialize};

use super::model::HealthLevel;
use crate::events::NewEvent;

/// A row to store, in the order in which the changes were made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum HealthRow {
    Transition {
        component: String,
        at: i64,
        level: Option<HealthLevel>,
        maintenance: bool,
        reason: Option<String>,
    },
    Alert(AlertRow),
    /// An alert that ended before it fired.
    Forgotten {
        alert: String,
    },
    Outbox(OutboxRow),
    /// A notice that its receiver took, or that was given up.
    NoticeEnded {
        key: String,
        at: i64,
        end: NoticeEnd,
    },
    /// A value by kind and id (a silence, a window, recovery of a component, the config); `None` deletes it.
    Thing {
        kind: &'static str,
        id: String,
        body: Option<String>,
    },
    /// A checker that was added, with its specification; `None` when it was removed.
    Checker {
        id: String,
        spec: Option<String>,
    },
}

/// An alert as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AlertRow {
    pub(crate) id: String,
    pub(crate) fingerprint: String,
    pub(crate) opened: i64,
    pub(crate) closed: Option<i64>,
    /// The alert as JSON.
    pub(crate) body: String,
}

/// A notice to one receiver, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OutboxRow {
    pub(crate) key: String,
    pub(crate) receiver: String,
    pub(crate) group: String,
    pub(crate) created: i64,
    /// When it is given up, whatever is done to the wall clock.
    pub(crate) given_up: DurableDeadline,
    pub(crate) body: serde_json::Value,
}

impl OutboxRow {
    /// Time after which a notice is given up: its content is no longer news.
    pub(crate) const LIFE: Duration = Duration::from_secs(86_400);

    /// How long it has waited, as far as that is known.
    pub(crate) fn age(&self) -> Duration {
        Self::LIFE.saturating_sub(self.given_up.left_at_most())
    }
}

/// How the delivery of a notice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoticeEnd {
    /// The receiver took it.
    Delivered,
    /// The receiver did not take it within a day, and it is no longer tried.
    GivenUp,
}

/// What a change leaves to be stored and published.
#[derive(Debug, Default)]
pub(crate) struct HealthChanges {
    pub(crate) rows: Vec<HealthRow>,
    pub(crate) events: Vec<NewEvent>,
}

impl HealthChanges {
    /// Stores a row, after those before it.
    pub(crate) fn store(&mut self, row: HealthRow) {
        self.rows.push(row);
    }

    /// Publishes an event of health.
    pub(crate) fn publish(&mut self, severity: Severity, message: String, data: serde_json::Value) {
        self.events.push(NewEvent::own(EventKind::Health, severity, message, data));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.events.is_empty()
    }
}
