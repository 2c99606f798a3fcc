//! Definitions: what a workflow file says, checked once when it is read.
//!
//! Hidden from users: the reader of strict YAML, the meta-schema, the rules for types. There are no expressions and
//! no string interpolation: a reference stands for a whole value, so that nothing a caller sends can become part of a
//! command, a path or another reference.

mod catalogue;
mod check;
mod checked;
mod conditions;
mod file;
#[cfg(any(test, fuzzing))]
mod fuzz_properties;
mod json_schema;
mod library;
mod marked_document;
mod parameters;
mod pinned_definitions;
mod references;
mod schema_types;
mod strict_yaml;
mod time_budget;

pub(crate) use catalogue::{KnownWorkflow, WorkflowListing};
pub(crate) use checked::CheckedWorkflow;
pub(crate) use conditions::{
    ConditionOutlook, WorkflowCriterion, all_met, evaluate_conditions, foresee_conditions,
};
pub(crate) use file::{
    RaiseRule, RetryRule, SafePosture, StepCondition, StepOnError, StepUndo, UndoRule, UntilCondition,
    WorkflowOnConflict, WorkflowOnCrash, WorkflowRisk, WorkflowStep,
};
#[cfg(any(test, fuzzing))]
pub use fuzz_properties::check_workflow_file;
pub(crate) use library::WorkflowLibrary;
pub(crate) use marked_document::WorkflowFinding;
pub(crate) use pinned_definitions::pin_definition;
pub(crate) use references::RunValues;
