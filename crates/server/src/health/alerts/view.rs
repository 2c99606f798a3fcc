//! An alert as readers, receivers and the event journal get it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use botops_contract::{EventKind, Severity};

use crate::events::NewEvent;

use super::machine::{Alert, AlertChange, AlertOverlay, AlertState};
use super::notice::{AlertNotice, NoticeRecord};
use crate::health::changes::NoticeEnd;
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
    /// Receivers that took the notice that it fires. What was queued for others is in `notices`.
    pub(crate) notified: Vec<String>,
    /// What became of its notices: of each kind, the newest to each receiver.
    pub(crate) notices: Vec<NoticeView>,
    /// The API key that acknowledged it; `null` when nobody did.
    pub(crate) acknowledged_by: Option<String>,
    /// When it was acknowledged.
    pub(crate) acknowledged_at: Option<DateTime<Utc>>,
    /// The note given with the acknowledgement.
    pub(crate) acknowledgement: Option<String>,
    /// The id of the alert before this one with the same fingerprint.
    pub(crate) previous: Option<String>,
}

/// A notice to one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NoticeView {
    /// Why it was sent.
    pub(crate) notice: AlertNotice,
    /// The receiver it is for.
    pub(crate) receiver: String,
    /// What became of it.
    pub(crate) state: NoticeState,
    /// When it was put into the receiver's queue.
    pub(crate) queued_at: DateTime<Utc>,
    /// When the receiver took it, or when it was given up; `null` while it waits.
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoticeState {
    /// The receiver took it.
    Delivered,
    /// It waits for the receiver.
    Queued,
    /// It waits, and the receiver's last try brought no proof that it took it; it is sent again under the same key.
    Failed,
    /// The receiver did not say within a day that it took it; it is not tried again.
    GivenUp,
}

fn notice_view(record: &NoticeRecord, failing: &BTreeSet<&'static str>) -> NoticeView {
    let state = match record.end {
        Some(NoticeEnd::Delivered) => NoticeState::Delivered,
        Some(NoticeEnd::GivenUp) => NoticeState::GivenUp,
        None if failing.contains(record.receiver.as_str()) => NoticeState::Failed,
        None => NoticeState::Queued,
    };
    NoticeView {
        notice: record.notice,
        receiver: record.receiver.clone(),
        state,
        queued_at: time(record.queued_at),
        ended_at: record.ended_at.map(time),
    }
}

/// An alert as readers see it; `failing` names the receivers that did not take their last message.
pub(crate) fn alert_view(alert: &Alert, failing: &BTreeSet<&'static str>) -> AlertView {
    let took_firing = |record: &&NoticeRecord| {
        record.notice == AlertNotice::Firing && record.end == Some(NoticeEnd::Delivered)
    };
    let mut notified: Vec<String> =
        alert.notices.iter().filter(took_firing).map(|record| record.receiver.clone()).collect();
    notified.sort();
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
        notified,
        notices: alert.notices.iter().map(|record| notice_view(record, failing)).collect(),
        acknowledged_by: alert.acked_by.clone(),
        acknowledged_at: alert.acked_at.map(time),
        acknowledgement: alert.ack_note.clone(),
        previous: alert.previous.clone(),
    }
}

/// The message a receiver is sent about one alert.
pub(crate) fn notice_body(alert: &Alert, notice: AlertNotice) -> serde_json::Value {
    let mut body = serde_json::to_value(alert_view(alert, &BTreeSet::new())).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        // How others were told is no news to a receiver, and changes while it reads.
        members.remove("notices");
    }
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
