//! Definitions: what a workflow file says, checked once when it is read.
//!
//! A file that passes has: known fields only, unique step ids, references that point backwards to values of the right
//! type, an undo (or an admitted lack of one) for every change before the pivot, at most one pivot, and a closed
//! schema for its parameters. What is doubtful but legal is a finding. Hidden from users: the reader, the meta-schema
//! and the type rules. Deliberately absent: expressions and string interpolation. A reference is a whole value.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use jsonschema::{PatternOptions, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::actions::Action;
use super::check::Checker;
use super::yaml::{self, Fault, Marked, escape};
use botops_core::error::{Code, Error, FieldError, Severity};

/// The schema that every workflow file follows; also served to editors.
pub(super) const META_SCHEMA: &str = include_str!("../../../../schemas/workflow.schema.json");

static META: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(META_SCHEMA).expect("the meta-schema is JSON");
    validator(&schema).expect("the meta-schema is a schema")
});

/// What a workflow may do to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WorkflowRisk)]
pub enum Risk {
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
#[schema(as = WorkflowOnConflict)]
pub enum OnConflict {
    /// The newcomer is refused and told who holds the lock.
    Reject,
    /// The newcomer waits its turn.
    Queue,
    /// A newcomer with the same parameters gets the run that is under way.
    Join,
}

/// What happens to a run whose step was cut off by a crash and whose effect cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnCrash {
    /// Go on where it can be told what happened; else undo, or ask for a human past the pivot.
    Resume,
    /// Undo, unless the pivot is behind.
    Undo,
    /// Stop and ask for a human.
    Halt,
}

/// A workflow as it stands in its file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    #[serde(rename = "workflow")]
    pub _version: String,
    pub id: String,
    pub title: String,
    #[serde(default)]
    pub description: Option<String>,
    pub risk: Risk,
    pub params: Value,
    pub policy: Policy,
    pub steps: Vec<Step>,
    #[serde(default)]
    pub on_failure_after_pivot: Option<AfterPivot>,
    #[serde(default)]
    pub outputs: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub locks: Vec<Lock>,
    pub on_conflict: OnConflict,
    /// Runs that may wait.
    #[serde(default = "five")]
    pub queue_max: u32,
    /// Runs of this workflow at a time, where no lock limits them.
    #[serde(default = "five")]
    pub max_parallel: u32,
    pub timeout_s: u64,
    pub on_crash: OnCrash,
}

fn five() -> u32 {
    5
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lock {
    /// The bot: one run or config transaction at a time.
    Bot,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub id: String,
    pub uses: Action,
    #[serde(default)]
    pub with: Map<String, Value>,
    #[serde(default)]
    pub when: Vec<Predicate>,
    /// One attempt may take this long; the action has a default.
    #[serde(default)]
    pub timeout_s: Option<u64>,
    #[serde(default)]
    pub retry: Option<Retry>,
    #[serde(default)]
    pub expect: Vec<Predicate>,
    #[serde(default)]
    pub until: Option<Until>,
    #[serde(default)]
    pub undo: Option<UndoRule>,
    #[serde(default)]
    pub pivot: bool,
    #[serde(default)]
    pub on_error: OnError,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnError {
    #[default]
    Stop,
    Continue,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum UndoRule {
    /// `none`: the change cannot be taken back, and the author says so.
    Not(NoUndo),
    With(Undo),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum NoUndo {
    None,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    pub uses: Action,
    #[serde(default)]
    pub with: Map<String, Value>,
    #[serde(default)]
    pub when: Vec<Predicate>,
    #[serde(default)]
    pub timeout_s: Option<u64>,
    #[serde(default)]
    pub retry: Option<Retry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Further attempts after the first.
    pub max: u32,
    pub base_ms: u64,
    pub factor: f64,
    pub cap_ms: u64,
    /// Full jitter is the only kind there is; it is written so that a reader sees it.
    #[serde(rename = "jitter", default)]
    pub _jitter: Option<String>,
    pub on: Vec<FailureClass>,
}

/// What a failed attempt means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = StepFailureClass)]
pub enum FailureClass {
    /// It was not delivered, or the connection broke.
    Transport,
    /// No answer in time.
    Timeout,
    /// The peer has no room now.
    Busy,
    /// The disk failed.
    Io,
    /// The peer understood and said no.
    Rejected,
    /// The input does not fit.
    Invalid,
    /// The world is not as it must be.
    Precondition,
    /// The key behind the run may not do this.
    Unauthorized,
    /// An expectation was not met.
    Expectation,
    /// Whether it happened cannot be told.
    Unknown,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Until {
    pub every_ms: u64,
    pub for_s: u64,
    /// So many looks in a row must be good.
    #[serde(default = "one")]
    pub stable: u32,
    pub expect: Vec<Predicate>,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Predicate {
    pub that: String,
    pub is: Operator,
    #[serde(default)]
    pub value: Option<Value>,
    #[serde(default)]
    pub tolerance: Option<f64>,
    #[serde(default)]
    pub severity: Weight,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Weight {
    /// Not met, the step fails.
    #[default]
    Hard,
    /// Not met, it is recorded.
    Soft,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConditionOperator)]
pub enum Operator {
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
pub(super) struct AfterPivot {
    pub leave: Posture,
    #[serde(default)]
    pub raise: Option<Raise>,
}

/// How a run that failed past its pivot leaves the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Posture {
    TradingPaused,
    Nothing,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raise {
    pub severity: Severity,
    pub code: String,
}

/// Something about a file that its author should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WorkflowFinding)]
pub struct Finding {
    /// `error` keeps the file out; `warning` does not.
    #[schema(example = "warning")]
    pub severity: &'static str,
    /// The file, without its folder.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What it is.
    pub message: String,
}

/// A checked workflow, pinned by the hash of its file.
#[derive(Debug)]
pub(super) struct Workflow {
    pub definition: Definition,
    pub sha256: String,
    /// The document as JSON, as it is pinned in the store.
    pub document: Value,
    /// Doubts that do not keep it out.
    pub warnings: Vec<Fault>,
    params: Validator,
}

impl Workflow {
    /// Reads and checks a file's text.
    pub fn read(text: &str) -> Result<Self, Vec<Fault>> {
        let marked = yaml::read(text).map_err(|fault| vec![fault])?;
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        Self::compile(&marked, HEXLOWER.encode(&digest))
    }

    /// Takes a document that was pinned when its run began.
    pub fn pinned(document: Value, sha256: String) -> Result<Self, Vec<Fault>> {
        Self::compile(&Marked::bare(document), sha256)
    }

    fn compile(marked: &Marked, sha256: String) -> Result<Self, Vec<Fault>> {
        let faults: Vec<Fault> =
            META.iter_errors(&marked.value).map(|error| of_schema(marked, &error)).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let definition: Definition = serde_path_to_error::deserialize(&marked.value).map_err(|error| {
            let pointer = format!("/{}", error.path().to_string().replace(['.', '['], "/").replace(']', ""));
            vec![marked.fault(&pointer, botops_core::text::clean(&error.into_inner().to_string(), 200))]
        })?;
        let mut check = Checker::new(marked, &definition);
        check.all();
        let Checker { faults, warnings, .. } = check;
        if !faults.is_empty() {
            return Err(faults);
        }
        let params =
            validator(&definition.params).map_err(|message| vec![marked.fault("/params", message)])?;
        Ok(Self { definition, sha256, document: marked.value.clone(), warnings, params })
    }

    /// The parameters with defaults filled in, or everything that is wrong with them.
    pub fn accept(&self, params: Value) -> Result<Value, Error> {
        let mut params = if params.is_null() { Value::Object(Map::new()) } else { params };
        if let (Some(given), Some(known)) =
            (params.as_object_mut(), self.definition.params["properties"].as_object())
        {
            for (name, schema) in known {
                if let Some(default) = schema.get("default") {
                    given.entry(name.clone()).or_insert_with(|| default.clone());
                }
            }
        }
        let mut fields: Vec<FieldError> =
            self.params.iter_errors(&params).take(50).map(|error| wrong_param(&error)).collect();
        if let Some(pointer) = with_nul(&params, "/params") {
            fields.push(FieldError {
                pointer,
                got: Value::Null,
                expected: "text without NUL characters".to_owned(),
            });
        }
        if fields.is_empty() {
            return Ok(params);
        }
        let count = fields.len();
        Err(Error::new(Code::WorkflowParamsInvalid)
            .detail(format!("{count} parameter(s) of `{}` do not fit its schema", self.definition.id))
            .context("workflow_id", self.definition.id.clone())
            .next(
                "get_workflow",
                "GET",
                format!("/api/v1/workflows/{}", self.definition.id),
                None,
                Some("read"),
            )
            .fields(fields))
    }

    /// Whether a step of it ends the bot's process and starts it again.
    pub fn restarts_bot(&self) -> bool {
        self.definition.steps.iter().any(|step| step.uses == Action::BotRestart)
    }

    /// Where the pivot is, if there is one.
    pub fn pivot(&self) -> Option<usize> {
        self.definition.steps.iter().position(|step| step.pivot)
    }
}

/// NUL is legal JSON, but no tool downstream of a log or a shell takes it well.
fn with_nul(value: &Value, pointer: &str) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(|| pointer.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| with_nul(item, &format!("{pointer}/{index}")))
        }
        Value::Object(members) => {
            members.iter().find_map(|(name, member)| with_nul(member, &format!("{pointer}/{}", escape(name))))
        }
        _ => None,
    }
}

/// A validator that fetches nothing, refuses patterns that could run for ever, and checks formats.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .should_validate_formats(true)
        .build(schema)
        .map_err(|error| botops_core::text::clean(&error.to_string(), 200))
}

fn of_schema(marked: &Marked, error: &jsonschema::ValidationError<'_>) -> Fault {
    let pointer = error.instance_path().to_string();
    marked.fault(
        &pointer,
        format!("{}: {}", shown(&pointer), botops_core::text::clean(&error.to_string(), 200)),
    )
}

fn wrong_param(error: &jsonschema::ValidationError<'_>) -> FieldError {
    let pointer = format!("/params{}", error.instance_path());
    let got = match error.instance().as_ref() {
        Value::String(text) => Value::String(botops_core::redact::line(&botops_core::text::clean(text, 80))),
        Value::Array(items) => Value::String(format!("a list of {}", items.len())),
        Value::Object(_) => Value::String("an object".to_owned()),
        other => other.clone(),
    };
    let expected = botops_core::text::clean(&error.masked_with("it").to_string(), 300);
    FieldError { pointer, got, expected }
}

fn shown(pointer: &str) -> &str {
    if pointer.is_empty() { "the file" } else { pointer }
}
