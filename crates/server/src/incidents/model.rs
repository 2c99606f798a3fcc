//! An incident, as it is stored and served, and what is known at this moment.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reading::{BREAKER, ROOTS, TOGETHER};
use botops_contract::{EventKind, Severity};
use botops_core::error::NextAction;

/// Whether an incident goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// Something of it is still wrong.
    Open,
    /// Everything works again, for less than two minutes: what breaks again now belongs to it.
    Quiet,
    /// Everything has worked for two minutes.
    Over,
}

impl IncidentState {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Quiet => "quiet",
            Self::Over => "over",
        }
    }
}

/// Who has to do something for an incident to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhoMustAct {
    /// Nobody: it works again.
    Nobody,
    /// Recovery of botops acts, or will.
    Recovery,
    /// A person: `person_must` says what to do.
    Person,
}

impl WhoMustAct {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Recovery => "recovery",
            Self::Person => "person",
        }
    }
}

/// What began it, in the words of the event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentCause {
    /// When it was told.
    pub at: DateTime<Utc>,
    /// The number of the event that told it.
    pub seq: u64,
    /// The component it is about; `null` where it is about none.
    pub component_id: Option<String>,
    /// The code of the error catalogue, or of the bot; `null` without one.
    pub error_code: Option<String>,
    /// What happened, in one sentence.
    pub message: String,
}

/// What was done about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentAttempt {
    /// When it began.
    pub at: DateTime<Utc>,
    /// The API key that did it, or `recovery`.
    pub by: String,
    /// What was done: the id of a workflow, `checkpoint_store`, or a control verb.
    pub what: String,
    /// The workflow run; `null` where there was none.
    pub run_id: Option<String>,
    /// How it ended: the state of the run, `done`, `failed`, `helped`, `did not help`, `could not begin`; `null` while it
    /// runs.
    pub outcome: Option<String>,
    /// The code of its failure; `null` without one.
    pub error_code: Option<String>,
}

/// The last change of the config before it or in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentConfigChange {
    /// The transaction.
    pub txn: String,
    /// The version that was tried.
    pub version: Option<u64>,
    /// When it was told last.
    pub at: DateTime<Utc>,
    /// The API key that asked for it.
    pub actor: Option<String>,
    /// The state of the transaction then.
    pub state: String,
}

/// One line of an incident's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEntry {
    /// The number of the event in the journal.
    pub seq: u64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What the event is about.
    pub kind: EventKind,
    /// Who told it: `botops` or `bot:<id>`.
    pub source: String,
    /// What happened, in one sentence.
    pub message: String,
    /// The code of a failure; left out without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The workflow run; left out without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// How often the same was told in a row; left out where it was told once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// What belongs together, from its first sign to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// `inc-` and the number of the event that began it.
    pub incident_id: String,
    /// `open`, `quiet` (it works again for less than two minutes) or `over`.
    pub state: IncidentState,
    /// The worst of its signs.
    pub severity: Severity,
    /// What it is, in one sentence: its first cause.
    pub title: String,
    /// When its first sign was told.
    pub began_at: DateTime<Utc>,
    /// When its last sign ended; `null` while it is open.
    pub ended_at: Option<DateTime<Utc>>,
    /// When its newest sign was told.
    pub last_sign_at: DateTime<Utc>,
    /// The components that it is about, and whether each is wrong still. `presence` is whether the bot answers, `config`
    /// a trial that was taken back, `workflow` a run that needs a person, `breaker` a circuit breaker that opened with it.
    pub components: BTreeMap<String, bool>,
    /// What began it: at most three, the roots first.
    pub causes: Vec<IncidentCause>,
    /// The config change before it or in it; `null` without one within ten minutes of a sign of it. One that was taken back
    /// stays, whatever is changed later.
    pub config_change: Option<IncidentConfigChange>,
    /// What was done about it while something was wrong: by recovery, and by operators what acts on the bot. Oldest first; at
    /// most eight, the newest.
    pub tried: Vec<IncidentAttempt>,
    /// Who has to do something for it to end.
    pub who_must_act: WhoMustAct,
    /// What a person must do; `null` where nobody must.
    pub person_must: Option<String>,
    /// What stays for a person after it, such as a run that was stopped halfway; left out where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<String>,
    /// Calls that may end it, ready to be sent once a person decided for it.
    pub next_actions: Vec<NextAction>,
    /// How often something of it broke again after it worked.
    pub repeats: u64,
    /// The alerts about it; at most eight, the newest.
    pub alert_ids: Vec<String>,
    /// The number of its newest event.
    pub last_seq: u64,
    /// How many events belong to it.
    pub event_count: u64,
    /// What happened, oldest first: the first twenty and the newest sixty events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<TimelineEntry>,
}

impl Incident {
    /// Whether something of it is wrong now.
    pub fn is_open(&self) -> bool {
        self.state == IncidentState::Open
    }

    /// Whether it is about the bot itself: that it is there, its health, its session, its trading or its breaker.
    pub fn is_of_bot(&self) -> bool {
        let is_of_bot = |component: &str| {
            ROOTS.contains(&component) || TOGETHER.contains(&component) || component == BREAKER
        };
        self.components.keys().any(|component| is_of_bot(component))
    }

    /// The number of the event that began it.
    pub fn first_seq(&self) -> u64 {
        self.incident_id.strip_prefix("inc-").and_then(|seq| seq.parse().ok()).unwrap_or_default()
    }

    /// Without its timeline, as lists have it.
    pub(super) fn brief(&self) -> Self {
        Self { timeline: Vec::new(), ..self.clone() }
    }
}

/// What recovery does about a component now.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveryNow {
    /// Whether a workflow or a verb is set for it, and nobody holds it.
    pub may_act: bool,
    /// What is left to a person, and how it is done.
    pub left_to_person: Option<String>,
    /// Calls with which a person does it.
    pub next_actions: Vec<NextAction>,
}

/// What is known of one part now.
#[derive(Debug, Clone, PartialEq)]
pub struct PartNow {
    /// It works: HEALTHY or WARNING; for `presence`, the bot answers.
    pub is_up: bool,
    /// Why it does not work, in one sentence; `None` while it does.
    pub reason: Option<String>,
    /// Since when it is so, where that is known.
    pub since: Option<DateTime<Utc>>,
    /// What recovery does about it; `None` where there is no recovery.
    pub recovery: Option<RecoveryNow>,
    /// What a person does about it where recovery does nothing; `None` where nothing more than `reason` is known.
    pub by_person: Option<PersonStep>,
}

/// What a person does about a part that does not work.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonStep {
    /// The instruction.
    pub must: String,
    /// Calls with which it is done; the first is the first to make.
    pub next_actions: Vec<NextAction>,
}

/// What other features know at this moment, by component; `presence` is whether the bot answers, `breaker` whether its circuit
/// breaker is closed, or was opened by an operator.
pub type NowKnown = BTreeMap<String, PartNow>;
