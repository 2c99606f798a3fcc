//! Whether the bot would run a document: by its schema, and then by its own check.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use botops_contract::{CheckVerdict, ConfigViolation};
use serde_json::{Map, Value};

use super::super::panic_message::panic_message;
use super::config_finding::ConfigFinding;
use super::config_schema::ConfigSchema;
use super::schema_violations::violation;

/// What the bot says of a document that its schema takes.
pub(super) type CheckValues = Arc<dyn Fn(&Map<String, Value>) -> Vec<ConfigFinding> + Send + Sync>;

/// The schema with the bot's own check.
pub(super) struct ConfigCheck {
    pub(super) schema: ConfigSchema,
    pub(super) own: Option<CheckValues>,
}

impl ConfigCheck {
    /// The reasons against a document, and what is allowed and yet perhaps a mistake.
    pub(super) fn assess(&self, document: &Value) -> (Vec<ConfigViolation>, Vec<ConfigViolation>) {
        let found = self.schema.violations(document);
        if !found.is_empty() {
            return (found, Vec::new());
        }
        let (Some(own), Value::Object(values)) = (&self.own, document) else {
            let is_object = document.is_object();
            let found = (!is_object).then(|| violation("", "wrong_type", "expected object"));
            return (found.into_iter().collect(), Vec::new());
        };
        match catch_unwind(AssertUnwindSafe(|| own(values))) {
            Ok(findings) => ConfigFinding::split(findings),
            Err(panic) => {
                // A check that fails has not passed.
                let said = format!("the bot's check raised a panic: {}", panic_message(&*panic));
                tracing::error!("{said}");
                (vec![violation("", "check_failed", &said)], Vec::new())
            }
        }
    }

    /// The answer to a check of a document that is to replace the running one.
    pub(super) fn verdict(&self, running: &Value, document: &Value) -> CheckVerdict {
        self.schema.verdict(running, document, self.assess(document))
    }
}
