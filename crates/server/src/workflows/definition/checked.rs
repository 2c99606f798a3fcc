//! A workflow that can be run: read, checked, and pinned by the hash of its file.
//!
//! A file that passes has: known fields only, unique step ids, references that point backwards to values of the right
//! type, an undo (or `undo: none`) for every change before the pivot, at most one pivot, and a closed schema for its
//! parameters. What is doubtful but legal is a warning.

use std::sync::LazyLock;
use std::time::Duration;

use data_encoding::HEXLOWER;
use jsonschema::Validator;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::check::{DefinitionReport, check_definition};
use super::file::{WorkflowDefinition, WorkflowLock};
use super::json_schema::compile_schema;
use super::marked_document::{DefinitionFault, MarkedDocument};
use super::parameters::WorkflowParameters;
use super::strict_yaml::read_strict_yaml;
use crate::workflows::actions::ActionNeed;
use botops_contract::BotId;
use botops_core::error::Error;

/// The schema that every workflow file must satisfy; editors can use the same file.
const META_SCHEMA: &str = include_str!("../../../../../schemas/workflow.schema.json");

static META: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(META_SCHEMA).expect("the meta-schema is JSON");
    compile_schema(&schema).expect("the meta-schema is a schema")
});

/// Faults of one file that are told; more are counted.
const MOST_FAULTS: usize = 50;

/// Longest sentence of a fault, in characters.
const LONGEST_FAULT: usize = 300;

/// A checked workflow, pinned by the hash of its file.
#[derive(Debug)]
pub(crate) struct CheckedWorkflow {
    pub(crate) definition: WorkflowDefinition,
    pub(crate) sha256: String,
    /// The document as JSON, in the form in which the store keeps it.
    pub(crate) document: Value,
    /// Doubts that do not make the workflow unusable.
    pub(crate) warnings: Vec<DefinitionFault>,
    params: WorkflowParameters,
}

impl CheckedWorkflow {
    /// Reads and checks a file's text.
    pub(crate) fn from_text(text: &str) -> Result<Self, Vec<DefinitionFault>> {
        let marked = read_strict_yaml(text).map_err(|fault| bounded(vec![fault]))?;
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let mut workflow = Self::from_document(&marked, HEXLOWER.encode(&digest)).map_err(bounded)?;
        workflow.warnings = bounded(workflow.warnings);
        Ok(workflow)
    }

    /// Restores a workflow from the document that was stored when its run began.
    pub(crate) fn from_pinned(document: Value, sha256: String) -> Result<Self, Vec<DefinitionFault>> {
        Self::from_document(&MarkedDocument::without_positions(document), sha256)
    }

    fn from_document(marked: &MarkedDocument, sha256: String) -> Result<Self, Vec<DefinitionFault>> {
        let faults: Vec<DefinitionFault> =
            META.iter_errors(&marked.value).map(|error| schema_fault(marked, &error)).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let definition: WorkflowDefinition =
            serde_path_to_error::deserialize(&marked.value).map_err(|error| {
                let pointer =
                    format!("/{}", error.path().to_string().replace(['.', '['], "/").replace(']', ""));
                vec![
                    marked.fault_at(&pointer, botops_core::text::clean(&error.into_inner().to_string(), 200)),
                ]
            })?;
        let DefinitionReport { faults, warnings } = check_definition(marked, &definition);
        if !faults.is_empty() {
            return Err(faults);
        }
        let params = WorkflowParameters::new(&definition.params)
            .map_err(|message| vec![marked.fault_at("/params", message)])?;
        Ok(Self { definition, sha256, document: marked.value.clone(), warnings, params })
    }

    /// The parameters with defaults filled in, or an error with all their faults.
    pub(crate) fn accept_params(&self, params: Value) -> Result<Value, Error> {
        self.params.accept_params(&self.definition.id, params)
    }

    /// What a call without parameters gives; one that is required and has no default is left out.
    pub(crate) fn default_params(&self) -> Value {
        self.params.defaults()
    }

    /// The parameters that take only a few values, each with those.
    pub(crate) fn param_choices(&self) -> Vec<(String, Vec<Value>)> {
        self.params.choices()
    }

    /// Whether one of its steps ends the bot's process and starts it again.
    pub(crate) fn restarts_bot(&self) -> bool {
        self.definition.steps.iter().any(|step| step.uses.spec().restarts_bot)
    }

    /// Whether one of its steps tells the bot to do something, or restarts it.
    pub(crate) fn acts_on_bot(&self) -> bool {
        let specs = self.definition.steps.iter().map(|step| step.uses.spec());
        specs.into_iter().any(|spec| spec.name.starts_with("bot.") && spec.changes())
    }

    /// Whether one of its steps reads or changes the bot's config, so that a bot without one cannot run it.
    pub(crate) fn needs_config(&self) -> bool {
        self.definition.steps.iter().any(|step| step.uses.spec().needs.contains(&ActionNeed::Config))
    }

    /// The index of the pivot step, if there is one.
    pub(crate) fn pivot_index(&self) -> Option<usize> {
        self.definition.steps.iter().position(|step| step.pivot)
    }

    /// How long a run may take, in milliseconds.
    pub(crate) fn time_limit(&self) -> Duration {
        Duration::from_secs(self.definition.policy.timeout_s)
    }

    /// The key of the lock it takes; `None` when it takes none.
    pub(crate) fn lock_key(&self, bot: &BotId) -> Option<String> {
        let WorkflowLock::Bot = self.definition.policy.locks.first()?;
        Some(crate::operations_log::bot_lock(bot))
    }
}

fn schema_fault(marked: &MarkedDocument, error: &jsonschema::ValidationError<'_>) -> DefinitionFault {
    let pointer = error.instance_path().to_string();
    marked.fault_at(
        &pointer,
        format!("{}: {}", pointer_name(&pointer), botops_core::text::clean(&error.to_string(), 200)),
    )
}

fn pointer_name(pointer: &str) -> &str {
    if pointer.is_empty() { "the file" } else { pointer }
}

/// The faults as they may stand in an answer: a file may have as many as it has values, and quote each of its texts.
fn bounded(mut faults: Vec<DefinitionFault>) -> Vec<DefinitionFault> {
    let more = faults.len().saturating_sub(MOST_FAULTS);
    faults.truncate(MOST_FAULTS);
    for fault in &mut faults {
        fault.message = botops_core::text::clean(&fault.message, LONGEST_FAULT);
    }
    if let Some(last) = faults.last_mut().filter(|_| more > 0) {
        last.message.push_str(&format!(" (and {more} further faults)"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::CheckedWorkflow;

    const HEAD: &str = "workflow: v1\nid: probe\ntitle: Probe\nrisk: disruptive\nparams:\n  type: object\n  additionalProperties: false\n\
        \x20 properties: {reason: {type: string, maxLength: 99}, count: {type: integer, default: 3}}\n\
        policy: {locks: [bot], on_conflict: reject, timeout_s: 600, on_crash: resume}\nsteps:\n";

    /// The line (within the steps, from 1) and the message of the first fault.
    #[track_caller]
    fn refused(steps: &str, line: usize, words: &str) {
        let faults = CheckedWorkflow::from_text(&format!("{HEAD}{steps}")).map(|_| ()).unwrap_err();
        let first = &faults[0];
        assert!(first.message.contains(words), "{first}");
        assert_eq!(first.line, HEAD.lines().count() + line, "{first}");
        assert!(first.column > 1, "{first}");
    }

    #[track_caller]
    fn taken(steps: &str) {
        if let Err(faults) = CheckedWorkflow::from_text(&format!("{HEAD}{steps}")) {
            panic!("{}", faults[0]);
        }
    }

    /// The faults stand in answers, and each answer has a bound.
    #[test]
    fn faults_are_few_and_short_whatever_the_file_is() {
        let long = "x".repeat(30_000);
        let many: String = (0..900).map(|n| format!("m{n}: 1\n")).collect();
        let hidden = "a: \"\\u202e\"\nb: \"\\u0007\"\n".to_owned();
        let twice = format!("{long}: 1\n{long}: 2\n");
        for text in [format!("{HEAD}  - {{id: {long}, uses: {long}}}\n"), twice, many, hidden] {
            let faults = CheckedWorkflow::from_text(&text).map(|_| ()).unwrap_err();
            assert!(faults.len() <= 50, "{} faults", faults.len());
            for fault in &faults {
                assert!(fault.message.len() < 500, "{} bytes", fault.message.len());
                assert!(!fault.message.contains(['\u{202e}', '\u{7}', '\n']));
            }
        }
    }

    #[test]
    fn references_point_backwards_to_the_right_type() {
        taken(
            "  - {id: a, uses: bot.status}\n  - {id: b, uses: bot.restart, pivot: true, with: {expect_epoch: $steps.a.boot_epoch}}\n",
        );
        refused(
            "  - {id: b, uses: bot.restart, pivot: true, with: {expect_epoch: $steps.a.boot_epoch}}\n  - {id: a, uses: bot.status}\n",
            1,
            "comes later",
        );
        refused(
            "  - {id: a, uses: bot.status}\n  - {id: b, uses: bot.restart, pivot: true, with: {expect_epoch: $steps.a.open_positions}}\n",
            2,
            "integer",
        );
        refused(
            "  - {id: a, uses: bot.status}\n  - {id: b, uses: bot.restart, pivot: true, with: {expect_epoch: $steps.a.nothing}}\n",
            2,
            "no `nothing`",
        );
        refused("  - {id: b, uses: wait.for, with: {seconds: $params.reason}}\n", 1, "string");
        taken("  - {id: b, uses: wait.for, with: {seconds: $params.count}}\n");
        refused("  - {id: b, uses: wait.for, with: {seconds: $env.HOME}}\n", 1, "no reference");
        refused("  - {id: b, uses: wait.for, with: {seconds: 0}}\n", 1, "");
        refused("  - {id: b, uses: wait.for, with: {second: 1}}\n", 1, "no `second`");
        refused("  - {id: b, uses: wait.for}\n", 1, "`seconds` is missing");
        // A parameter that may be absent cannot feed a required input.
        refused(
            "  - {id: a, uses: artifact.verify, with: {artifact: $params.reason, sha256: x}}\n",
            1,
            "may be missing",
        );
    }

    #[test]
    fn conditions_compare_what_can_be_compared() {
        taken(
            "  - {id: a, uses: bot.status, expect: [{that: /phase, is: one_of, value: [running, paused]}]}\n",
        );
        refused(
            "  - {id: a, uses: bot.status, expect: [{that: /phase, is: one_of, value: [runing]}]}\n",
            1,
            "no such value",
        );
        refused("  - {id: a, uses: bot.status, expect: [{that: /phase, is: lt, value: 3}]}\n", 1, "compared");
        refused(
            "  - {id: a, uses: bot.status, expect: [{that: /open_positions, is: eq, value: none}]}\n",
            1,
            "compared",
        );
        refused(
            "  - {id: a, uses: bot.status, when: [{that: /phase, is: eq, value: running}]}\n",
            1,
            "before the step",
        );
        refused(
            "  - {id: a, uses: bot.status, expect: [{that: /phase, is: matches, value: '(?=x)'}]}\n",
            1,
            "no pattern",
        );
        refused(
            "  - {id: a, uses: bot.status, expect: [{that: /phase, is: exists, value: 1}]}\n",
            1,
            "takes no value",
        );
    }

    #[test]
    fn a_change_can_be_taken_back_or_says_that_it_cannot() {
        refused("  - {id: a, uses: bot.pause_trading}\n", 1, "needs `undo`");
        taken("  - {id: a, uses: bot.pause_trading, undo: none}\n");
        taken("  - {id: a, uses: bot.pause_trading, undo: {uses: bot.resume_trading}}\n");
        taken("  - {id: a, uses: bot.pause_trading, pivot: true}\n");
        refused(
            "  - {id: a, uses: bot.pause_trading, pivot: true}\n  - {id: b, uses: bot.resume_trading, pivot: true}\n",
            2,
            "at most one pivot",
        );
        refused("  - {id: a, uses: bot.pause_trading, pivot: true, undo: none}\n", 1, "past the pivot");
    }

    #[test]
    fn the_form_is_kept() {
        refused("  - {id: a, uses: shell.exec}\n", 1, "shell.exec");
        refused("  - {id: a, uses: bot.status, run: ls}\n", 1, "run");
        refused("  - {id: a, uses: bot.status}\n  - {id: a, uses: bot.status}\n", 2, "twice");
        refused("  - {id: A, uses: bot.status}\n", 1, "does not match");
    }
}
