//! Actions: the closed list of what a step can do.
//!
//! Each action is one file with everything about it: its name, typed input and output (their JSON schemas are what
//! references are checked against when a file is read), what it touches, how it may be repeated after a crash, a
//! prediction for dry runs, and the work itself. To add one: write the file, name it below (`mod`, and a row of
//! [`StepAction::ALL`]), and write the list in `schemas/workflow.schema.json` anew with
//! `UPDATE_DOCUMENTS=1 cargo test --workspace --lib workflows`.
//! There is no shell, no HTTP call and no path from a parameter among them, and there should be none.

mod action;
mod artifact_delete;
mod artifact_verify;
mod bot_cancel_orders;
mod bot_command;
mod bot_pause_trading;
mod bot_restart;
mod bot_resume_trading;
mod bot_status;
mod config_apply;
mod config_confirm;
mod config_plan;
mod config_revert;
mod config_trial;
mod context;
mod failure;
mod file_work;
mod health_facts;
mod health_probe;
mod health_verdict;
mod logs_collect;
mod needs;
mod note_raise;
mod spec;
mod wait_for;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use action::{ActionRow, ActionSchemas, WorkflowAction};

pub(crate) use bot_pause_trading::PauseTrading;
pub(crate) use bot_status::read_known_status;
pub(crate) use config_apply::ApplyConfig;
pub(crate) use config_confirm::ConfirmConfig;
pub(crate) use context::{ActionCall, ActionServices, AssumedChanges};
pub(crate) use failure::{ActionFailure, StepFailureClass};
pub(crate) use needs::ActionNeed;
pub(crate) use spec::{ActionClass, ActionRepeat, ActionSpec};

/// An action of the closed list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepAction(&'static ActionRow);

impl StepAction {
    /// Every action; `schemas/workflow.schema.json` lists the same names.
    const ALL: &[Self] = &[
        Self::of::<bot_status::BotStatus>(),
        Self::of::<PauseTrading>(),
        Self::of::<bot_resume_trading::ResumeTrading>(),
        Self::of::<bot_cancel_orders::CancelOrders>(),
        Self::of::<bot_restart::RestartBot>(),
        Self::of::<config_plan::PlanConfig>(),
        Self::of::<ApplyConfig>(),
        Self::of::<ConfirmConfig>(),
        Self::of::<config_revert::RevertConfig>(),
        Self::of::<health_probe::ProbeHealth>(),
        Self::of::<health_verdict::HealthVerdict>(),
        Self::of::<logs_collect::CollectLogs>(),
        Self::of::<artifact_verify::VerifyArtifact>(),
        Self::of::<artifact_delete::DeleteArtifact>(),
        Self::of::<note_raise::RaiseNote>(),
        Self::of::<wait_for::WaitFor>(),
    ];

    /// The row of the action that `A` implements.
    pub(crate) const fn of<A: WorkflowAction>() -> Self {
        Self(const { &ActionRow::of::<A>() })
    }

    pub(crate) fn spec(self) -> &'static ActionSpec {
        &self.0.spec
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.spec.name
    }

    /// Whether this is the action that `A` implements.
    pub(crate) fn is<A: WorkflowAction>(self) -> bool {
        self.name() == A::SPEC.name
    }

    /// Whether its output is what [`read_known_status`] foretells.
    pub(crate) fn shows_bot(self) -> bool {
        self.is::<bot_status::BotStatus>()
    }

    /// Whether it pauses trading.
    pub(crate) fn pauses_trading(self) -> bool {
        self.is::<PauseTrading>()
    }

    /// Whether it pauses or resumes trading.
    pub(crate) fn switches_trading(self) -> bool {
        self.pauses_trading() || self.is::<bot_resume_trading::ResumeTrading>()
    }

    pub(crate) fn input_schema(self) -> &'static Value {
        &self.schemas().input
    }

    pub(crate) fn output_schema(self) -> &'static Value {
        &self.schemas().output
    }

    fn schemas(self) -> &'static ActionSchemas {
        static SCHEMAS: LazyLock<BTreeMap<&str, ActionSchemas>> = LazyLock::new(|| {
            StepAction::ALL.iter().map(|action| (action.name(), (action.0.schemas)())).collect()
        });
        SCHEMAS.get(self.name()).expect("every action is in ALL")
    }

    /// See [`WorkflowAction::perform`].
    pub(crate) async fn perform(
        self,
        world: &ActionServices,
        input: &Value,
        call: &ActionCall,
    ) -> Result<Value, ActionFailure> {
        (self.0.perform)(world, input, call).await
    }

    /// See [`WorkflowAction::observe`].
    pub(crate) async fn observe(
        self,
        world: &ActionServices,
        input: &Value,
        first: &Value,
        call: &ActionCall,
    ) -> Result<Value, ActionFailure> {
        (self.0.observe)(world, input, first, call).await
    }

    /// See [`WorkflowAction::predict`].
    pub(crate) async fn predict(
        self,
        world: &ActionServices,
        input: &Value,
        call: &ActionCall,
        assumed: &mut AssumedChanges,
    ) -> Result<Value, ActionFailure> {
        (self.0.predict)(world, input, call, assumed).await
    }
}

impl<'de> Deserialize<'de> for StepAction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|action| action.name() == name);
        known.copied().ok_or_else(|| D::Error::custom(format!("`{name}` is no action")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    const SCHEMA_FILE: &str = "../../schemas/workflow.schema.json";
    const LIST_BEGINS: &str = "\"action\": {\n      \"enum\": [\n";
    const LIST_ENDS: &str = "\n      ]";

    /// The list as the schema file contains it, lines filled up to the usual width.
    fn listed() -> String {
        let mut lines = vec![String::new()];
        for (index, action) in StepAction::ALL.iter().enumerate() {
            let comma = if index + 1 < StepAction::ALL.len() { "," } else { "" };
            let item = format!("\"{}\"{comma}", action.name());
            let line = lines.last_mut().unwrap();
            if line.is_empty() {
                *line = format!("        {item}");
            } else if line.len() + 1 + item.len() <= 120 {
                line.push(' ');
                line.push_str(&item);
            } else {
                lines.push(format!("        {item}"));
            }
        }
        lines.join("\n")
    }

    #[test]
    fn the_schema_lists_every_action() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMA_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(LIST_BEGINS).unwrap();
        let (list, after) = rest.split_once(LIST_ENDS).unwrap();
        let now = listed();
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            std::fs::write(&path, format!("{before}{LIST_BEGINS}{now}{LIST_ENDS}{after}")).unwrap();
            return;
        }
        assert!(list == now, "{} differs from the actions: UPDATE_DOCUMENTS=1", path.display());
    }

    #[test]
    fn every_action_is_declared_whole_and_once() {
        let mut names = BTreeSet::new();
        for action in StepAction::ALL {
            assert!(names.insert(action.name()), "{action:?} stands twice");
            assert!(!action.spec().summary.is_empty(), "{action:?} does not say what it does");
            assert_eq!(action.input_schema()["type"], "object", "{action:?}");
        }
    }
}
