//! The members of a workflow file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::workflows::actions::{ActionNeed, StepAction, StepFailureClass};
use botops_contract::{FieldRole, Verb};
use botops_core::error::Severity;

/// The effect a workflow may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowRisk {
    /// It reads and changes nothing.
    Read,
    /// It changes the bot's config, as a trial.
    Config,
    /// It may interrupt trading.
    Disruptive,
}

/// What happens to a run when another one holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowOnConflict {
    /// The new run is refused, and the answer names the holder of the lock.
    Reject,
    /// The new run waits its turn.
    Queue,
    /// A new run with the same parameters is not started; the answer shows the run in progress.
    Join,
}

/// What happens to a run whose step was cut off by a crash, so that its effect is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkflowOnCrash {
    /// Go on where the effect can be found out; otherwise undo, or stop for a person past the pivot.
    Resume,
    /// Undo, unless the run is past its pivot.
    Undo,
    /// Stop for a person.
    Halt,
}

/// The contents of a workflow file.
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
    #[serde(default)]
    pub(crate) needs: WorkflowNeeds,
    pub(crate) params: Value,
    pub(crate) policy: WorkflowPolicy,
    pub(crate) steps: Vec<WorkflowStep>,
    #[serde(default)]
    pub(crate) on_failure_after_pivot: Option<AfterPivotRule>,
    #[serde(default)]
    pub(crate) outputs: BTreeMap<String, Value>,
}

/// What a bot must have for the workflow, beside what its steps need by themselves.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkflowNeeds {
    #[serde(default)]
    pub(crate) capabilities: Vec<NeededCapability>,
    /// Roles that fields of the bot's config must have.
    #[serde(default)]
    pub(crate) roles: Vec<FieldRole>,
}

impl WorkflowNeeds {
    /// Each of them, capabilities first.
    pub(crate) fn each(&self) -> impl Iterator<Item = ActionNeed> {
        let capabilities = self.capabilities.iter().map(|needed| needed.0);
        capabilities.chain(self.roles.iter().map(|role| ActionNeed::Role(*role)))
    }
}

/// A capability by its name: `config`, or a command verb.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct NeededCapability(ActionNeed);

impl TryFrom<String> for NeededCapability {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == ActionNeed::Config.name() {
            return Ok(Self(ActionNeed::Config));
        }
        let verb =
            name.parse::<Verb>().map_err(|_| "a capability is `config` or a command verb".to_owned())?;
        Ok(Self(ActionNeed::Verb(verb)))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkflowPolicy {
    pub(crate) locks: Vec<WorkflowLock>,
    pub(crate) on_conflict: WorkflowOnConflict,
    /// How many runs may wait in the queue.
    #[serde(default = "default_runs")]
    pub(crate) queue_max: u32,
    /// How many runs of this workflow may be in progress, where no lock limits them.
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
    /// The bot's lock: one run or config transaction at a time.
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
    /// Seconds one attempt may take; the action's default when absent.
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
    /// `undo: none`: the author states that the change cannot be undone.
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
    /// Full jitter is the only kind; a file may name it for its readers.
    #[serde(rename = "jitter", default)]
    pub(crate) _jitter: Option<String>,
    pub(crate) on: Vec<StepFailureClass>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UntilCondition {
    pub(crate) every_ms: u64,
    pub(crate) for_s: u64,
    /// How many samples in a row must meet the conditions.
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
    /// The step fails when the condition is not met.
    #[default]
    Hard,
    /// The result is recorded; the step does not fail.
    Soft,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConditionOperator {
    /// Equal to the value.
    Eq,
    /// Not equal to the value.
    Ne,
    /// Less than the value.
    Lt,
    /// Less than or equal to the value.
    Le,
    /// Greater than the value.
    Gt,
    /// Greater than or equal to the value.
    Ge,
    /// One of the listed values.
    OneOf,
    /// None of the listed values.
    NoneOf,
    /// The whole or a part matches the pattern.
    Matches,
    /// The reference leads to a value.
    Exists,
    /// The reference leads to no value.
    Absent,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AfterPivotRule {
    pub(crate) leave: SafePosture,
    #[serde(default)]
    pub(crate) raise: Option<RaiseRule>,
}

/// The state in which a run that failed past its pivot leaves the bot.
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
    /// The undo action, `none` for `undo: none`, or `None` when the file names neither.
    pub(crate) fn undo_name(&self) -> Option<String> {
        self.undo.as_ref().map(|undo| match undo {
            UndoRule::With(undo) => undo.uses.name().to_owned(),
            UndoRule::Not(_) => "none".to_owned(),
        })
    }
}
