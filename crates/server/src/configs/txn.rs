//! A config transaction: what it changes, where it stands, and how it is kept and shown.
//!
//! What was asked for is fixed when the row is admitted ([`Plan`]); what came of it grows ([`Progress`]). Both live in
//! the operations log, so that a restart finds everything it needs. Deliberately absent: moving from state to state,
//! which `trial.rs` does.

use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::audit::stamped;
use super::criteria::{Baseline, Criterion};
use super::diff::{Line, Risk};
use super::history::short;
use crate::operations_log::{OperationChange, OperationRow, StoredActor};
use botops_contract::VersionRef;
use botops_core::error::{Code, Error, FieldError};

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TxnState {
    /// Written down; the bot has not heard of it.
    Prepared,
    /// The bot would take it.
    Checked,
    /// Sent to the bot; its answer is awaited.
    Activating,
    /// The bot runs it, until the deadline.
    Trial,
    /// It proved good and is being made permanent.
    Confirming,
    /// It did not prove good and is being undone.
    Reverting,
    /// Permanent. Terminal.
    Committed,
    /// Refused before the bot ran it. Terminal.
    Rejected,
    /// Undone; `by` says on whose account. Terminal.
    RolledBack,
    /// It cannot be told what the bot runs. Terminal.
    FailedAttention,
}

impl TxnState {
    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Committed | Self::Rejected | Self::RolledBack | Self::FailedAttention)
    }

    /// The word on the wire and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Checked => "checked",
            Self::Activating => "activating",
            Self::Trial => "trial",
            Self::Confirming => "confirming",
            Self::Reverting => "reverting",
            Self::Committed => "committed",
            Self::Rejected => "rejected",
            Self::RolledBack => "rolled_back",
            Self::FailedAttention => "failed_attention",
        }
    }
}

/// On whose account a trial was undone or a change refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Somebody cancelled it.
    Operator,
    /// Nobody confirmed it in time.
    Deadline,
    /// A criterion was breached.
    Criteria,
    /// The bot went back by its own timer.
    BotTimer,
    /// The bot died and started from the committed config.
    BotCrash,
    /// botops was restarted in the middle.
    Recovery,
    /// The bot refused it.
    Bot,
    /// botops could not record it.
    Server,
}

/// Apply a change, or an earlier version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// `PUT config/apply`.
    Apply,
    /// `PUT config/rollback`.
    Rollback,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Rollback => "rollback",
        }
    }
}

/// Who makes a trial permanent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// botops, when all criteria held over the first half of the trial.
    #[default]
    Auto,
    /// The caller, with `POST config/txns/{id}/confirm`.
    Manual,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub action: Action,
    pub reason: String,
    pub confirm: Confirm,
    pub confirm_within_ms: u64,
    /// What `HEAD` named when it was admitted.
    pub base: VersionRef,
    pub candidate: VersionRef,
    pub file: String,
    pub restored_from: Option<u64>,
    pub diff: Vec<Line>,
    pub risk: Risk,
    /// Pointers that wait for a restart of the bot.
    pub restart: Vec<String>,
    pub schema_sha256: String,
    /// The bot is started again to try it.
    #[serde(default)]
    pub boot_once: bool,
}

/// What came of it so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub by: Option<By>,
    pub outcome: Option<String>,
    pub error: Option<StoredError>,
    pub deadline: Option<Deadline>,
    pub baseline: Option<Baseline>,
    /// The life of the bot that runs the trial.
    pub boot_epoch: Option<String>,
    /// How long the bot took to check it.
    pub check_ms: Option<u64>,
    pub samples: u32,
    #[serde(default)]
    pub watch: Vec<Criterion>,
    pub settled_by: Option<StoredActor>,
    /// The life of the bot that was asked to end, so that the next one reads its config: that one is ours to begin.
    #[serde(default)]
    pub ends_life: Option<String>,
}

/// A failure as it is kept, so that a repeated request gets the same answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoredError {
    /// The catalogue's code.
    pub error_code: String,
    /// What was special this time.
    pub cause: String,
    /// What is wrong with the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl StoredError {
    pub(super) fn to_error(&self) -> Error {
        let known = Code::ALL.iter().find(|code| code.row().code == self.error_code);
        Error::new(known.copied().unwrap_or(Code::Internal)).detail(&self.cause).fields(self.errors.clone())
    }
}

/// When a trial ends, on clocks that survive a restart of botops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deadline {
    pub wall_ms: i64,
    /// Milliseconds of the machine's uptime: a step of the wall clock does not move it.
    pub boot_ms: u64,
    /// Which boot of the machine that is.
    pub boot_id: String,
    /// When it was set, by the wall clock.
    pub set_ms: i64,
}

impl Deadline {
    pub fn after(window: Duration) -> Self {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let now = Utc::now().timestamp_millis();
        Self {
            wall_ms: now.saturating_add_unsigned(window_ms),
            boot_ms: uptime_ms().saturating_add(window_ms),
            boot_id: boot_id(),
            set_ms: now,
        }
    }

    /// How much time is left; zero when it is over, and when nobody can tell because the clock went back.
    pub fn left(&self) -> Duration {
        self.left_at(Utc::now().timestamp_millis(), uptime_ms(), &boot_id())
    }

    fn left_at(&self, now_ms: i64, uptime_ms: u64, boot_id: &str) -> Duration {
        if self.boot_id == boot_id {
            return Duration::from_millis(self.boot_ms.saturating_sub(uptime_ms));
        }
        if now_ms < self.set_ms {
            return Duration::ZERO;
        }
        Duration::from_millis(u64::try_from(self.wall_ms - now_ms).unwrap_or(0))
    }
}

fn uptime_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_ascii_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default();
    u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A transaction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Txn {
    pub id: String,
    pub state: TxnState,
    pub plan: Plan,
    pub progress: Progress,
    pub actor: StoredActor,
    pub parent_op: Option<String>,
    pub created_ms: i64,
    pub updated_ms: i64,
}

impl Txn {
    /// From its row.
    pub fn of(op: &OperationRow) -> Result<Self, serde_json::Error> {
        Ok(Self {
            id: op.op_id.clone(),
            state: serde_json::from_value(Value::String(op.state.clone()))?,
            plan: serde_json::from_value(op.params.clone())?,
            progress: serde_json::from_value(op.result.clone()).unwrap_or_default(),
            actor: op.actor.clone(),
            parent_op: op.parent_op.clone(),
            created_ms: op.created_ms,
            updated_ms: op.updated_ms,
        })
    }

    /// What its row becomes.
    pub fn as_move(&self) -> OperationChange {
        OperationChange {
            state: self.state.as_str().to_owned(),
            live: !self.state.is_terminal(),
            result: Some(json!(self.progress)),
            deadline_ms: self.progress.deadline.as_ref().map(|deadline| deadline.wall_ms),
        }
    }

    /// How much of the trial is left.
    pub fn left(&self) -> Duration {
        self.progress.deadline.as_ref().map(Deadline::left).unwrap_or_default()
    }

    /// What the audit keeps of this transition. The diff stands in the first and the last line alone.
    pub fn record(&self) -> Map<String, Value> {
        let mut record = stamped(self.state.as_str());
        let mut put = |key: &str, value: Value| {
            if !value.is_null() {
                record.insert(key.to_owned(), value);
            }
        };
        put("txn", json!(self.id));
        put("action", json!(self.plan.action));
        put("actor", json!(self.progress.settled_by.as_ref().unwrap_or(&self.actor)));
        put("reason", json!(self.plan.reason));
        put("base", json!(self.plan.base));
        put("new", json!(self.plan.candidate));
        put("restored_from", json!(self.plan.restored_from));
        put("run_id", json!(self.parent_op));
        if self.state == TxnState::Prepared || self.state.is_terminal() {
            put("diff", json!(self.plan.diff));
            put("risk", json!(self.plan.risk));
            put("schema_sha256", json!(self.plan.schema_sha256));
        }
        if self.state == TxnState::Checked {
            put("verdict", json!({"ok": true, "ms": self.progress.check_ms}));
        }
        let deadline = self.progress.deadline.as_ref().and_then(|deadline| time(deadline.wall_ms));
        put("confirm", json!({"mode": self.plan.confirm, "deadline": deadline}));
        put("bot_epoch", json!(self.progress.boot_epoch));
        put("by", json!(self.progress.by));
        put("outcome", json!(self.progress.outcome));
        put("error", json!(self.progress.error));
        put("server", json!(env!("CARGO_PKG_VERSION")));
        record
    }

    /// As users see it.
    pub fn view(&self, needed: u32) -> TxnView {
        let progress = &self.progress;
        let in_trial = self.state == TxnState::Trial;
        let hot = self.plan.diff.iter().map(|line| &line.path);
        let hot = hot.filter(|path| !self.plan.restart.contains(path)).cloned().collect();
        let confirm_by = progress.deadline.as_ref().and_then(|deadline| time(deadline.wall_ms));
        TxnView {
            txn: self.id.clone(),
            state: self.state,
            terminal: self.state.is_terminal(),
            action: self.plan.action,
            by: progress.by,
            outcome: progress.outcome.clone(),
            reason: self.plan.reason.clone(),
            actor: self.actor.clone(),
            settled_by: progress.settled_by.clone(),
            run_id: self.parent_op.clone(),
            base: self.plan.base.clone(),
            candidate: self.plan.candidate.clone(),
            version: self.plan.candidate.version,
            etag: etag(&self.plan.candidate),
            restored_from: self.plan.restored_from,
            diff: self.plan.diff.clone(),
            risk: self.plan.risk.clone(),
            effects: Effects { hot, restart: self.plan.restart.clone() },
            boot_once: self.plan.boot_once,
            confirm: self.plan.confirm,
            #[expect(clippy::cast_precision_loss, reason = "at most 900,000")]
            confirm_within_s: self.plan.confirm_within_ms as f64 / 1_000.0,
            confirm_by,
            confirm_left_ms: in_trial.then(|| u64::try_from(self.left().as_millis()).unwrap_or(u64::MAX)),
            samples: progress.samples,
            samples_needed: needed,
            watch: progress.watch.clone(),
            error: progress.error.clone(),
            created_at: time(self.created_ms).unwrap_or_default(),
            updated_at: time(self.updated_ms).unwrap_or_default(),
            next_poll_ms: (!self.state.is_terminal()).then_some(1_000),
        }
    }
}

/// `"v17-3fa9c1d2"`: the number makes it immune to a change back and forth, the hash names the content.
pub(super) fn etag(version: &VersionRef) -> String {
    format!("\"v{}-{}\"", version.version, short(&version.sha256))
}

fn time(ms: i64) -> Option<DateTime<Utc>> {
    Utc.timestamp_millis_opt(ms).single()
}

/// When the lines of a change take effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Effects {
    /// Pointers that take effect at once.
    pub hot: Vec<String>,
    /// Pointers that wait for the bot's next start.
    pub restart: Vec<String>,
}

/// A config change, from the first word to the last.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TxnView {
    /// Its id.
    pub txn: String,
    /// Where it stands.
    pub state: TxnState,
    /// Whether nothing follows.
    pub terminal: bool,
    /// Apply or rollback.
    pub action: Action,
    /// On whose account it was undone or refused.
    pub by: Option<By>,
    /// How it ended, in one sentence.
    pub outcome: Option<String>,
    /// Why it was asked for.
    pub reason: String,
    /// Who asked for it.
    pub actor: StoredActor,
    /// Who confirmed or cancelled it.
    pub settled_by: Option<StoredActor>,
    /// The workflow run that asked for it.
    pub run_id: Option<String>,
    /// What was committed when it began.
    pub base: VersionRef,
    /// What it would make permanent.
    pub candidate: VersionRef,
    /// The candidate's version number.
    pub version: u64,
    /// The candidate's ETag, good for `If-Match` once it is committed.
    pub etag: String,
    /// The earlier version that a rollback brings back.
    pub restored_from: Option<u64>,
    /// Every difference.
    pub diff: Vec<Line>,
    /// What the differences do to risk.
    pub risk: Risk,
    /// When the differences take effect.
    pub effects: Effects,
    /// True when the bot is started again to try it: it boots the candidate once, and after that what is committed.
    pub boot_once: bool,
    /// Who makes it permanent.
    pub confirm: Confirm,
    /// How long the trial may take.
    pub confirm_within_s: f64,
    /// When the trial is undone unless it is confirmed.
    pub confirm_by: Option<DateTime<Utc>>,
    /// What is left of it.
    pub confirm_left_ms: Option<u64>,
    /// Good samples in a row.
    pub samples: u32,
    /// Good samples that an automatic confirmation needs at least.
    pub samples_needed: u32,
    /// What the trial is watched for, as last seen.
    pub watch: Vec<Criterion>,
    /// Why it was refused or undone.
    pub error: Option<StoredError>,
    /// When it was admitted.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When to look again; `null` at the end.
    pub next_poll_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deadline of 60 s, set at 1,000,000 ms by the wall and 50,000 ms after the machine's start; what is left of it
    /// after 20 s by the machine's clock, in seconds.
    #[track_caller]
    fn check(wall_step_s: i64, rebooted: bool, left_s: u64) {
        let deadline =
            Deadline { wall_ms: 1_060_000, boot_ms: 110_000, boot_id: "a".to_owned(), set_ms: 1_000_000 };
        let now = 1_020_000 + wall_step_s * 1_000;
        let left = deadline.left_at(now, 70_000, if rebooted { "b" } else { "a" });
        assert_eq!(left.as_secs(), left_s);
    }

    #[test]
    fn a_step_of_the_wall_clock_does_not_move_a_deadline() {
        check(0, false, 40);
        check(3_600, false, 40);
        check(-3_600, false, 40);
    }

    #[test]
    fn after_a_reboot_the_wall_clock_counts_and_one_that_went_back_ends_the_trial() {
        check(0, true, 40);
        check(10, true, 30);
        check(3_600, true, 0);
        check(-21, true, 0);
        check(-3_600, true, 0);
    }
}
