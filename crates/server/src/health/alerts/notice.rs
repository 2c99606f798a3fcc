//! Notices about alerts, and what became of each.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::health::changes::NoticeEnd;

/// Why a notice is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AlertNotice {
    /// The alert fires; the first notice about it.
    Firing,
    /// The level has become worse than any that was notified.
    Rise,
    /// The alert still fires after the reminder interval.
    Reminder,
    /// The alert has ended.
    Resolved,
}

/// A notice to one receiver, as it is kept with its alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoticeRecord {
    /// The key in the outbox.
    pub(crate) key: String,
    pub(crate) receiver: String,
    pub(crate) notice: AlertNotice,
    /// When it was put into the outbox, in wall milliseconds.
    pub(crate) queued_at: i64,
    /// How it ended; `None` while it waits for its receiver.
    pub(crate) end: Option<NoticeEnd>,
    /// When it ended, in wall milliseconds; `None` while it waits, and where an older version did not keep it.
    pub(crate) ended_at: Option<i64>,
}
