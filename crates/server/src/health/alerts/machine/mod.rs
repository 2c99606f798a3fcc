//! The state machine of one alert: pending, firing, resolved, and which notices leave.
//!
//! Pure: a condition and a moment come in, changes come out. One invariant rules everything here: **a receiver that
//! was notified of the firing is notified of the end**, whatever silence, maintenance or acknowledgement holds then,
//! and one that was not is sent nothing. Overlays (silenced, maintenance, …) hold back first notices and reminders
//! and nothing else; they are a list on the alert, not a state.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::notice::{AlertNotice, NoticeRecord};
use crate::health::changes::AlertRow;
use crate::health::model::{ClockReading, HealthLevel};
use crate::health::status::AlertTiming;

/// What identifies an alert. Value, message and severity are not part of it.
pub(crate) type AlertLabels = BTreeMap<String, String>;

/// The state of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlertState {
    /// The condition holds, but not yet for as long as its level requires.
    Pending,
    /// The condition holds, or ended less than the keep-firing time ago.
    Firing,
    /// The condition has ended, or its component or rule was removed.
    Resolved,
}

/// Why a notice is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AlertOverlay {
    /// A silence matches.
    Silenced,
    /// A maintenance window is open.
    Maintenance,
    /// A component it depends on is down.
    Parent,
    /// The component's status changes too often to be trusted. A rise in level is notified all the same.
    Flapping,
}

/// The alerts that a component can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AlertKind {
    Unhealthy,
    Flapping,
    Unchecked,
    RecoveryExhausted,
}

impl AlertKind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Unhealthy, Self::Flapping, Self::Unchecked, Self::RecoveryExhausted];

    /// The kind of an alert, from its labels; `None` for one stored by another version.
    pub(crate) fn of(alert: &Alert) -> Option<Self> {
        let name = alert.labels.get("alertname")?;
        Self::ALL.into_iter().find(|kind| name == kind.name())
    }

    /// The `alertname` label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unhealthy => "ComponentUnhealthy",
            Self::Flapping => "ComponentFlapping",
            Self::Unchecked => "ComponentUnchecked",
            Self::RecoveryExhausted => "RecoveryExhausted",
        }
    }
}

/// Whether the condition of an alert holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlertCondition {
    /// It holds, at this level.
    True(HealthLevel),
    /// It does not hold.
    False,
    /// No data. An alert that fires goes on: absence of data is not recovery.
    Unknown,
    /// The component or the rule is gone.
    Removed,
}

/// The input of one step of the state machine.
#[derive(Debug, Clone)]
pub(crate) struct AlertEvaluation<'a> {
    pub(crate) condition: AlertCondition,
    /// The reasons for which notices are held back now.
    pub(crate) overlays: &'a [AlertOverlay],
    /// False during the startup grace and while a component it depends on was not checked yet: pending stays pending.
    pub(crate) may_fire: bool,
    /// True for the DOWN of a required component: its notices skip the wait for others of the group.
    pub(crate) is_urgent: bool,
    /// What is wrong, in one sentence.
    pub(crate) summary: &'a str,
}

impl AlertEvaluation<'_> {
    /// The component is no longer watched.
    pub(crate) const REMOVED: Self = Self {
        condition: AlertCondition::Removed,
        overlays: &[],
        may_fire: false,
        is_urgent: false,
        summary: "",
    };
}

/// Moments in milliseconds on the monotonic clock of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct AlertMarks {
    pub(crate) since: i64,
    pub(crate) fired: Option<i64>,
    pub(crate) clearing: Option<i64>,
    pub(crate) noticed: Option<i64>,
}

/// One alert, as it is kept in memory and stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) id: String,
    pub(crate) fingerprint: String,
    pub(crate) labels: AlertLabels,
    /// The root component of the dependencies; notices of one group are sent together.
    pub(crate) group: String,
    pub(crate) state: AlertState,
    pub(crate) level: HealthLevel,
    pub(crate) summary: String,
    /// When the condition began to hold, in wall milliseconds.
    pub(crate) starts_at: i64,
    pub(crate) fired_at: Option<i64>,
    pub(crate) clearing_since: Option<i64>,
    pub(crate) ends_at: Option<i64>,
    /// `cleared` or `removed`; `None` while it has not ended.
    pub(crate) end_reason: Option<String>,
    /// True while it is not known whether the condition holds.
    pub(crate) is_stale: bool,
    pub(crate) overlays: Vec<AlertOverlay>,
    /// The worst level that was notified; `None` when no receiver was notified at all.
    pub(crate) told: Option<HealthLevel>,
    /// Receivers that the firing was queued for; each is notified of the end as well.
    pub(crate) told_to: Vec<String>,
    /// What became of its notices; of each kind, the newest to each receiver.
    #[serde(default)]
    pub(crate) notices: Vec<NoticeRecord>,
    /// How long the first notice was held back, in milliseconds.
    pub(crate) held_ms: i64,
    pub(crate) reminders: u32,
    pub(crate) acked_by: Option<String>,
    pub(crate) acked_at: Option<i64>,
    pub(crate) ack_note: Option<String>,
    /// The alert before this one with the same fingerprint.
    pub(crate) previous: Option<String>,
    pub(crate) marks: AlertMarks,
    /// Wall clock minus monotonic clock, in milliseconds, of the run that stored the marks.
    pub(crate) offset: i64,
}

/// What a step changed about an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlertChange {
    /// The alert became pending.
    Pending,
    /// The alert ended before it fired.
    Cancelled,
    Fired,
    Resolved,
    /// A notice goes to the receivers.
    Notice(AlertNotice),
    /// Something that readers see has changed and must be stored.
    Touched,
}

/// The identity of an alert: a hash of its sorted labels.
pub(crate) fn fingerprint(labels: &AlertLabels) -> String {
    let mut digest = Sha256::new();
    for (name, value) in labels {
        // The lengths keep {a: "bc"} and {ab: "c"} apart.
        digest.update(format!("{}:{name}={}:{value};", name.len(), value.len()));
    }
    HEXLOWER.encode(digest.finalize().get(..8).unwrap_or_default())
}

/// The key by which a receiver recognises a notice that it has received before.
pub(crate) fn idempotency_key(alert: &Alert, notice: AlertNotice, receiver: &str) -> String {
    let what = match notice {
        AlertNotice::Firing => "firing".to_owned(),
        AlertNotice::Resolved => "resolved".to_owned(),
        AlertNotice::Rise => format!("rise-{}", alert.level.number()),
        AlertNotice::Reminder => format!("reminder-{}", alert.reminders),
    };
    format!("{}/{}/{what}/{receiver}", alert.fingerprint, alert.starts_at)
}

/// Advances one alert by one step. `slot` is empty while the alert is inactive; an alert that has ended is left in it
/// for the caller to remove.
pub(crate) fn advance_alert(
    slot: &mut Option<Alert>,
    birth: impl FnOnce() -> Alert,
    evaluation: &AlertEvaluation<'_>,
    timing: &AlertTiming,
    now: ClockReading,
) -> Vec<AlertChange> {
    let mut changes = Vec::new();
    if slot.is_none() {
        let AlertCondition::True(level) = evaluation.condition else { return changes };
        let mut alert = birth();
        alert.level = level;
        alert.starts_at = now.wall;
        alert.marks = AlertMarks { since: now.mono, ..AlertMarks::default() };
        evaluation.summary.clone_into(&mut alert.summary);
        changes.push(AlertChange::Pending);
        *slot = Some(alert);
    }
    let Some(alert) = slot else { return changes };
    let before = (alert.level, alert.is_stale, alert.overlays.clone(), alert.clearing_since);
    alert.is_stale = evaluation.condition == AlertCondition::Unknown;
    if let AlertCondition::True(level) = evaluation.condition {
        alert.level = level;
        evaluation.summary.clone_into(&mut alert.summary);
    }
    alert.overlays = evaluation.overlays.to_vec();
    match alert.state {
        AlertState::Pending => match evaluation.condition {
            AlertCondition::False | AlertCondition::Removed => {
                changes.push(AlertChange::Cancelled);
                return changes;
            }
            AlertCondition::Unknown => {}
            AlertCondition::True(level) => {
                if evaluation.may_fire && now.mono - alert.marks.since >= wait_before_firing(timing, level) {
                    alert.state = AlertState::Firing;
                    alert.fired_at = Some(now.wall);
                    alert.marks.fired = Some(now.mono);
                    changes.push(AlertChange::Fired);
                }
            }
        },
        AlertState::Firing => keep_or_end(alert, evaluation.condition, timing, now, &mut changes),
        AlertState::Resolved => return changes,
    }
    if alert.state == AlertState::Firing {
        send_notices(alert, evaluation, timing, now, &mut changes);
    }
    if changes.is_empty()
        && before != (alert.level, alert.is_stale, alert.overlays.clone(), alert.clearing_since)
    {
        changes.push(AlertChange::Touched);
    }
    changes
}

fn keep_or_end(
    alert: &mut Alert,
    condition: AlertCondition,
    timing: &AlertTiming,
    now: ClockReading,
    changes: &mut Vec<AlertChange>,
) {
    match condition {
        AlertCondition::True(_) => {
            alert.clearing_since = None;
            alert.marks.clearing = None;
        }
        AlertCondition::Unknown => {}
        AlertCondition::False => {
            let since = *alert.marks.clearing.get_or_insert(now.mono);
            let clearing_since = *alert.clearing_since.get_or_insert(now.wall);
            if now.mono - since >= timing.keep_firing_for_ms {
                alert.end(clearing_since, "cleared", changes);
            }
        }
        AlertCondition::Removed => alert.end(now.wall, "removed", changes),
    }
}

fn send_notices(
    alert: &mut Alert,
    evaluation: &AlertEvaluation<'_>,
    timing: &AlertTiming,
    now: ClockReading,
    changes: &mut Vec<AlertChange>,
) {
    if alert.marks.clearing.is_some() || alert.is_stale {
        return;
    }
    let fired = alert.marks.fired.unwrap_or(now.mono);
    let since_notice = alert.marks.noticed.map_or(i64::MAX, |noticed| now.mono - noticed);
    // A level that no receiver has been notified of passes flapping; a silence that matches still holds it back.
    let is_held = alert
        .overlays
        .iter()
        .any(|overlay| *overlay != AlertOverlay::Flapping || alert.level <= HealthLevel::Warning);
    let is_silenced = alert.overlays.contains(&AlertOverlay::Silenced);
    let wait = if evaluation.is_urgent { 0 } else { timing.group_wait_ms };
    let notice = match alert.told {
        None if !is_held && now.mono - fired >= wait => {
            alert.held_ms = now.mono - fired;
            AlertNotice::Firing
        }
        None => return,
        Some(told) if alert.level > told => {
            if is_silenced || (since_notice < timing.change_gap_ms && !evaluation.is_urgent) {
                return;
            }
            AlertNotice::Rise
        }
        Some(_) if !is_held && alert.acked_at.is_none() && since_notice >= timing.reminder_ms => {
            alert.reminders += 1;
            AlertNotice::Reminder
        }
        Some(_) => return,
    };
    alert.told = alert.told.max(Some(alert.level));
    alert.marks.noticed = Some(now.mono);
    changes.push(AlertChange::Notice(notice));
}

fn wait_before_firing(timing: &AlertTiming, level: HealthLevel) -> i64 {
    match level {
        HealthLevel::Healthy | HealthLevel::Warning => timing.for_warning_ms,
        HealthLevel::Critical => timing.for_critical_ms,
        HealthLevel::Down => timing.for_down_ms,
    }
}

impl Alert {
    /// A pending alert; [`advance_alert`] sets its level, its start and its summary.
    pub(crate) fn new(id: String, labels: AlertLabels, group: String) -> Self {
        Self {
            id,
            fingerprint: fingerprint(&labels),
            labels,
            group,
            state: AlertState::Pending,
            level: HealthLevel::Warning,
            summary: String::new(),
            starts_at: 0,
            fired_at: None,
            clearing_since: None,
            ends_at: None,
            end_reason: None,
            is_stale: false,
            overlays: Vec::new(),
            told: None,
            told_to: Vec::new(),
            notices: Vec::new(),
            held_ms: 0,
            reminders: 0,
            acked_by: None,
            acked_at: None,
            ack_note: None,
            previous: None,
            marks: AlertMarks::default(),
            offset: 0,
        }
    }

    fn end(&mut self, ends_at: i64, reason: &str, changes: &mut Vec<AlertChange>) {
        self.state = AlertState::Resolved;
        self.ends_at = Some(ends_at);
        self.end_reason = Some(reason.to_owned());
        changes.push(AlertChange::Resolved);
        if self.told.is_some() {
            changes.push(AlertChange::Notice(AlertNotice::Resolved));
        }
    }

    /// Converts marks stored by another run to this run's monotonic clock.
    pub(crate) fn resume(&mut self, now: ClockReading) {
        let by = self.offset - now.offset();
        self.marks.since += by;
        for mark in [&mut self.marks.fired, &mut self.marks.clearing, &mut self.marks.noticed] {
            *mark = mark.map(|mark| mark + by);
        }
        self.offset = now.offset();
    }

    /// Records that a notice was put into the outbox; it takes the place of an older one of its kind.
    pub(crate) fn record_queued(&mut self, record: NoticeRecord) {
        self.notices.retain(|old| (old.notice, &old.receiver) != (record.notice, &record.receiver));
        self.notices.push(record);
    }

    /// The component it is about, from its labels.
    pub(crate) fn component(&self) -> Option<&str> {
        self.labels.get("component").map(String::as_str)
    }

    /// The alert as a row to store.
    pub(crate) fn row(&self) -> AlertRow {
        AlertRow {
            id: self.id.clone(),
            fingerprint: self.fingerprint.clone(),
            opened: self.starts_at,
            closed: self.ends_at,
            body: serde_json::to_string(self).unwrap_or_default(),
        }
    }

    /// True when it has fired and has not ended.
    pub(crate) fn is_firing(&self) -> bool {
        self.state == AlertState::Firing
    }
}

#[cfg(test)]
mod tests;
