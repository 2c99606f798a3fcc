//! An alert as readers, receivers and the event journal get it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use botops_contract::{EventKind, Severity};

use crate::events::NewEvent;

use super::machine::{Alert, AlertChange, AlertNotice, AlertOverlay, AlertState};
use crate::health::units::{seconds, time};

/// An alert with its state, what holds it back, and who was notified of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct AlertView {
    /// The id to acknowledge it by.
    pub(crate) alert_id: String,
    /// Hash of its labels: the same for each alert about the same problem of the same component.
    pub(crate) fingerprint: String,
    /// The labels that identify it; silences match on them.
    pub(crate) labels: BTreeMap<String, String>,
    /// The component it is about.
    pub(crate) component_id: String,
    /// `pending`, `firing` or `resolved`.
    pub(crate) state: AlertState,
    /// How urgent it is, from the level of its condition.
    pub(crate) severity: Severity,
    /// What is wrong, in one sentence.
    pub(crate) summary: String,
    /// When the condition began to hold; before the alert fired.
    pub(crate) starts_at: DateTime<Utc>,
    /// When it ended; `null` while it is open.
    pub(crate) ends_at: Option<DateTime<Utc>>,
    /// Why it ended: `cleared`, or `removed` with its component; `null` while it is open.
    pub(crate) end_reason: Option<String>,
    /// True while it is not known whether the condition still holds.
    pub(crate) stale: bool,
    /// The reasons for which notices are held back now; empty when none are.
    pub(crate) overlays: Vec<AlertOverlay>,
    /// Receivers that were notified, and will be notified of the end.
    pub(crate) notified: Vec<String>,
    /// The API key that acknowledged it; `null` when nobody did.
    pub(crate) acknowledged_by: Option<String>,
    /// When it was acknowledged.
    pub(crate) acknowledged_at: Option<DateTime<Utc>>,
    /// The note given with the acknowledgement.
    pub(crate) acknowledgement: Option<String>,
    /// The id of the alert before this one with the same fingerprint.
    pub(crate) previous: Option<String>,
}

/// An alert as readers see it.
pub(crate) fn alert_view(alert: &Alert) -> AlertView {
    AlertView {
        alert_id: alert.id.clone(),
        fingerprint: alert.fingerprint.clone(),
        labels: alert.labels.clone(),
        component_id: alert.labels.get("component").cloned().unwrap_or_default(),
        state: alert.state,
        severity: alert.level.severity(),
        summary: alert.summary.clone(),
        starts_at: time(alert.starts_at),
        ends_at: alert.ends_at.map(time),
        end_reason: alert.end_reason.clone(),
        stale: alert.is_stale,
        overlays: alert.overlays.clone(),
        notified: alert.told_to.clone(),
        acknowledged_by: alert.acked_by.clone(),
        acknowledged_at: alert.acked_at.map(time),
        acknowledgement: alert.ack_note.clone(),
        previous: alert.previous.clone(),
    }
}

/// The message a receiver is sent about one alert.
pub(crate) fn notice_body(alert: &Alert, notice: AlertNotice) -> serde_json::Value {
    let mut body = serde_json::to_value(alert_view(alert)).unwrap_or_default();
    let status = if notice == AlertNotice::Resolved { "resolved" } else { "firing" };
    body["status"] = json!(status);
    body["notice"] = json!(notice);
    body["held_seconds"] = json!(seconds(alert.held_ms));
    body
}

/// The event that a change of an alert causes; `None` for changes that are not worth one.
pub(crate) fn alert_event(alert: &Alert, change: AlertChange) -> Option<NewEvent> {
    let (kind, words) = match change {
        AlertChange::Fired => ("alert.firing", "fires"),
        AlertChange::Resolved => ("alert.resolved", "is resolved"),
        AlertChange::Notice(AlertNotice::Rise) => ("alert.rise", "got worse"),
        AlertChange::Pending | AlertChange::Cancelled | AlertChange::Notice(_) | AlertChange::Touched => {
            return None;
        }
    };
    let name = alert.labels.get("alertname").map_or("an alert", String::as_str);
    let severity = if change == AlertChange::Resolved { Severity::Low } else { alert.level.severity() };
    let message = format!("{name} {words}: {}", alert.summary);
    let data = json!({"event_type": kind, "component_id": alert.labels.get("component"), "alert_id": alert.id,
        "fingerprint": alert.fingerprint, "overlays": alert.overlays});
    Some(NewEvent::own(EventKind::Health, severity, message, data))
}

/// A severity's name on the wire.
pub(crate) fn severity_name(severity: Severity) -> &'static str {
    severity.as_str()
}
