//! From the values in force to others, through the bot's own `apply`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::bot_handle::BotHandle;
use super::super::panic_message::panic_message;
use super::super::sdk_problem::{ProblemKind, report_problem};
use super::call_progress::CallProgress;
use super::config_values::ConfigValues;

/// What the bot does with new values.
pub(super) type ApplyValues = Arc<dyn Fn(&Map<String, Value>) -> Result<(), String> + Send + Sync>;

/// The values in force, and the way to others. One change at a time.
#[derive(Clone)]
pub(super) struct ValueSwitch {
    values: ConfigValues,
    apply: Option<ApplyValues>,
    bot: BotHandle,
}

/// Why other values are not in force.
#[derive(Debug)]
pub(super) enum NotInForce {
    /// The bot's `apply` failed, with this sentence.
    Failed(String),
    /// Nobody waits for them any more.
    GivenUp,
}

impl ValueSwitch {
    pub(super) fn new(values: ConfigValues, apply: Option<ApplyValues>, bot: BotHandle) -> Self {
        Self { values, apply, bot }
    }

    /// Has the bot run these values, however long that takes.
    ///
    /// # Errors
    /// What the bot's `apply` said; it runs what it ran before.
    pub(super) fn change(&self, values: Map<String, Value>) -> Result<(), String> {
        let before = self.values.load();
        if let Err(said) = self.apply(&values) {
            self.take_back(&before);
            return Err(said);
        }
        self.values.replace(values);
        Ok(())
    }

    /// The same for whoever may give up meanwhile: then what ran before is applied again.
    ///
    /// # Errors
    /// Why they are not in force; the bot runs what it ran before.
    pub(super) fn change_while_wanted(
        &self,
        values: Map<String, Value>,
        progress: &CallProgress,
    ) -> Result<(), NotInForce> {
        let before = self.values.load();
        if let Err(said) = self.apply(&values) {
            self.take_back(&before);
            return Err(NotInForce::Failed(said));
        }
        if !progress.put_in_force() {
            self.take_back(&before);
            let said = "an apply took too long; what ran before was applied again";
            report_problem(&self.bot, "config", ProblemKind::of_config("APPLY_LATE"), said);
            return Err(NotInForce::GivenUp);
        }
        self.values.replace(values);
        Ok(())
    }

    fn apply(&self, values: &Map<String, Value>) -> Result<(), String> {
        let Some(apply) = &self.apply else { return Ok(()) };
        let applied = catch_unwind(AssertUnwindSafe(|| apply(values)));
        let said = match applied {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(said)) => botops_core::redact::line(&botops_core::text::clean(&said, 300)),
            Err(panic) => format!("a panic: {}", panic_message(&*panic)),
        };
        tracing::error!("the bot's apply raised {said}");
        Err(format!("the bot's apply raised {said}"))
    }

    fn take_back(&self, before: &Map<String, Value>) {
        if let Err(said) = self.apply(before) {
            let said = format!("the values of before could not be applied again: {said}");
            report_problem(&self.bot, "config", ProblemKind::of_config("APPLY_FAILED"), &said);
        }
    }
}
