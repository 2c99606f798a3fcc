//! Recovery of components: one state machine per component, one budget for the process, handlers that are workflows.

mod machine;
mod person;
mod rules;
#[cfg(test)]
mod rules_tests;
mod runner;

pub use machine::HandlerEnd;
pub use person::PersonMust;
pub use runner::{RecoveryRun, WorkflowFact, WorkflowRunner};

pub(crate) use machine::{RecoveryBudget, RecoveryMachine, RecoveryPhase, attempt_rules};
pub(crate) use rules::{
    CHECKPOINT_MS, ComponentRecovery, RecoveryAction, RecoveryAttempt, RecoveryBook, handler_rules,
};
