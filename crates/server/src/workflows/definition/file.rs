//! What a workflow file says, field by field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::workflows::actions::{StepAction, StepFailureClass};
use botops_core::error::Severity;

/// What a workflow may do to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowRisk {
    /// It only looks.
    Read,
    /// It changes the bot's config, as a trial.
    Config,
    /// It interrupts trading.
    Disruptive,
}

/// What happens when a run meets another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowOnConflict {
    /// The newcomer is refused and told who holds the lock.
    Reject,
    /// The newcomer waits its turn.
    Queue,
    /// A newcomer with the same parameters gets the run that is under way.
    Join,
}

/// What happens to a run whose step was cut off by a crash and whose effect cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkflowOnCrash {
    /// Go on where it can be told what happened; else undo, or ask for a human past the pivot.
    Resume,
    /// Undo, unless the pivot is behind.
    Undo,
    /// Stop and ask for a human.
    Halt,
}

/// A workflow as its file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkflowDefinition {
    #[serde(rename = "workflow")]
    pub(crate) _version: String,
    pub(crate) id: String,
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
    pub(crate) risk: WorkflowRisk,
    pub(crate) params: Value,
    pub(crate) policy: WorkflowPolicy,
    pub(crate) steps: Vec<WorkflowStep>,
    #[serde(default)]
    pub(crate) on_failure_after_pivot: Option<AfterPivotRule>,
    #[serde(default)]
    pub(crate) outputs: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkflowPolicy {
    pub(crate) locks: Vec<WorkflowLock>,
    pub(crate) on_conflict: WorkflowOnConflict,
    /// Runs that may wait.
    #[serde(default = "default_runs")]
    pub(crate) queue_max: u32,
    /// Runs of this workflow at a time, where no lock limits them.
    #[serde(default = "default_runs")]
    pub(crate) max_parallel: u32,
    pub(crate) timeout_s: u64,
    pub(crate) on_crash: WorkflowOnCrash,
}

fn default_runs() -> u32 {
    5
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkflowLock {
    /// The bot: one run or config transaction at a time.
    Bot,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkflowStep {
    pub(crate) id: String,
    pub(crate) uses: StepAction,
    #[serde(default)]
    pub(crate) with: Map<String, Value>,
    #[serde(default)]
    pub(crate) when: Vec<StepCondition>,
    /// One attempt may take this long; the action has a default.
    #[serde(default)]
    pub(crate) timeout_s: Option<u64>,
    #[serde(default)]
    pub(crate) retry: Option<RetryRule>,
    #[serde(default)]
    pub(crate) expect: Vec<StepCondition>,
    #[serde(default)]
    pub(crate) until: Option<UntilCondition>,
    #[serde(default)]
    pub(crate) undo: Option<UndoRule>,
    #[serde(default)]
    pub(crate) pivot: bool,
    #[serde(default)]
    pub(crate) on_error: StepOnError,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepOnError {
    #[default]
    Stop,
    Continue,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum UndoRule {
    /// `none`: the change cannot be taken back, and the author says so.
    Not(NoUndo),
    With(StepUndo),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NoUndo {
    None,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepUndo {
    pub(crate) uses: StepAction,
    #[serde(default)]
    pub(crate) with: Map<String, Value>,
    #[serde(default)]
    pub(crate) when: Vec<StepCondition>,
    #[serde(default)]
    pub(crate) timeout_s: Option<u64>,
    #[serde(default)]
    pub(crate) retry: Option<RetryRule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryRule {
    /// Further attempts after the first.
    pub(crate) max: u32,
    pub(crate) base_ms: u64,
    pub(crate) factor: f64,
    pub(crate) cap_ms: u64,
    /// Full jitter is the only kind there is; it is written so that a reader sees it.
    #[serde(rename = "jitter", default)]
    pub(crate) _jitter: Option<String>,
    pub(crate) on: Vec<StepFailureClass>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UntilCondition {
    pub(crate) every_ms: u64,
    pub(crate) for_s: u64,
    /// So many looks in a row must be good.
    #[serde(default = "default_stable")]
    pub(crate) stable: u32,
    pub(crate) expect: Vec<StepCondition>,
}

fn default_stable() -> u32 {
    1
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepCondition {
    pub(crate) that: String,
    pub(crate) is: ConditionOperator,
    #[serde(default)]
    pub(crate) value: Option<Value>,
    #[serde(default)]
    pub(crate) tolerance: Option<f64>,
    #[serde(default)]
    pub(crate) severity: ConditionSeverity,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ConditionSeverity {
    /// Not met, the step fails.
    #[default]
    Hard,
    /// Not met, it is recorded.
    Soft,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConditionOperator {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// One of a list.
    OneOf,
    /// None of a list.
    NoneOf,
    /// Matches a pattern.
    Matches,
    /// There is a value.
    Exists,
    /// There is none.
    Absent,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AfterPivotRule {
    pub(crate) leave: SafePosture,
    #[serde(default)]
    pub(crate) raise: Option<RaiseRule>,
}

/// How a run that failed past its pivot leaves the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SafePosture {
    TradingPaused,
    Nothing,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RaiseRule {
    pub(crate) severity: Severity,
    pub(crate) code: String,
}

impl WorkflowStep {
    /// The action that takes it back, `none`, or nothing where the file says nothing.
    pub(crate) fn undo_name(&self) -> Option<String> {
        self.undo.as_ref().map(|undo| match undo {
            UndoRule::With(undo) => undo.uses.name().to_owned(),
            UndoRule::Not(_) => "none".to_owned(),
        })
    }
}
