//! Static checks of a definition: everything that can be known to be wrong before a run begins.
//!
//! References point backwards to values of the right type, every change before the pivot has an undo or `undo: none`,
//! there is at most one pivot, and the worst case fits into the time limit.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::conditions;
use super::file::{
    ConditionOperator, StepCondition, StepOnError, UndoRule, WorkflowDefinition, WorkflowOnConflict,
    WorkflowRisk, WorkflowStep,
};
use super::json_schema::compile_schema;
use super::marked_document::{DefinitionFault, MarkedDocument, escape_pointer};
use super::parameters::check_parameter_schema;
use super::references::{self, ValueReference};
use super::schema_types::{self, SchemaType};
use super::time_budget::{find_short_trial, find_tight_limit};
use crate::workflows::actions::{ActionClass, StepFailureClass};

/// The faults and warnings of a definition.
pub(crate) struct DefinitionReport {
    pub(crate) faults: Vec<DefinitionFault>,
    pub(crate) warnings: Vec<DefinitionFault>,
}

/// Runs all checks and returns everything they find.
pub(crate) fn check_definition(marked: &MarkedDocument, definition: &WorkflowDefinition) -> DefinitionReport {
    let faults = check_parameter_schema(marked, &definition.params);
    let mut checker = DefinitionChecker { marked, definition, faults };
    checker.check_steps();
    checker.check_outputs();
    checker.check_pivot_and_undo();
    checker.check_policy();
    let mut faults = checker.faults;
    faults.extend(find_short_trial(marked, definition));
    DefinitionReport { faults, warnings: find_tight_limit(marked, definition).into_iter().collect() }
}

/// Visits a definition and collects its faults and warnings.
struct DefinitionChecker<'a> {
    marked: &'a MarkedDocument,
    definition: &'a WorkflowDefinition,
    faults: Vec<DefinitionFault>,
}

impl<'a> DefinitionChecker<'a> {
    fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        self.faults.push(self.marked.fault_at(pointer, message));
    }

    fn check_steps(&mut self) {
        let mut seen = BTreeSet::new();
        for (index, step) in self.definition.steps.iter().enumerate() {
            let at = format!("/steps/{index}");
            if !seen.insert(step.id.as_str()) {
                self.refuse(&format!("{at}/id"), format!("the step id `{}` stands twice", step.id));
            }
            self.check_step(index, step, &at);
        }
    }

    fn check_outputs(&mut self) {
        for (name, value) in &self.definition.outputs {
            let pointer = format!("/outputs/{}", escape_pointer(name));
            self.type_of_reference(value, self.definition.steps.len(), &pointer);
        }
    }

    fn check_step(&mut self, index: usize, step: &'a WorkflowStep, at: &str) {
        let input = step.uses.input_schema();
        self.check_inputs(&step.with, input, index, &format!("{at}/with"), at);
        self.check_conditions(&step.when, None, index, &format!("{at}/when"));
        let output = Some(step.uses.output_schema());
        self.check_conditions(&step.expect, output, index, &format!("{at}/expect"));
        if let Some(until) = &step.until {
            self.check_conditions(&until.expect, output, index, &format!("{at}/until/expect"));
            if !step.uses.spec().observable {
                self.refuse(
                    &format!("{at}/until"),
                    format!("`{}` cannot be looked at again", step.uses.name()),
                );
            }
        }
        if let Some(retry) = &step.retry
            && retry.on.contains(&StepFailureClass::Unknown)
        {
            self.refuse(&format!("{at}/retry"), "what may have happened is not repeated blindly");
        }
        if let Some(UndoRule::With(undo)) = &step.undo {
            let at = format!("{at}/undo");
            // An undo may refer to the output of its own step.
            self.check_inputs(&undo.with, undo.uses.input_schema(), index + 1, &format!("{at}/with"), &at);
            self.check_conditions(&undo.when, None, index + 1, &format!("{at}/when"));
        }
    }

    fn check_inputs(&mut self, with: &Map<String, Value>, schema: &Value, before: usize, at: &str, of: &str) {
        for (name, value) in with {
            let pointer = format!("{at}/{}", escape_pointer(name));
            match schema_types::member_type(schema, name) {
                Ok(shape) => self.check_value(value, &shape, before, &pointer),
                Err(message) => self.refuse(&pointer, message),
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !with.contains_key(name) {
                self.refuse(of, format!("the input `{name}` is missing"));
            }
        }
    }

    /// Checks a value at any depth: a literal must be valid, a reference must have the right type.
    fn check_value(&mut self, value: &Value, target: &SchemaType, before: usize, at: &str) {
        if !references::has_reference(value) {
            match compile_schema(&target.schema) {
                Ok(validator) => {
                    let literal = references::unescape_literal(value);
                    if let Some(error) = validator.iter_errors(&literal).next() {
                        self.refuse(at, botops_core::text::clean(&error.to_string(), 200));
                    }
                }
                Err(message) => self.refuse(at, message),
            }
            return;
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let shape =
                        SchemaType::of(target.schema.get("items").cloned().unwrap_or(Value::Bool(true)));
                    self.check_value(item, &shape, before, &format!("{at}/{index}"));
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    let pointer = format!("{at}/{}", escape_pointer(name));
                    match schema_types::member_type(&target.schema, name) {
                        Ok(shape) => self.check_value(member, &shape, before, &pointer),
                        Err(message) => self.refuse(&pointer, message),
                    }
                }
            }
            _ => {
                if let Some(source) = self.type_of_reference(value, before, at)
                    && let Err(message) = schema_types::check_assignable(&source, target)
                {
                    self.refuse(at, message);
                }
            }
        }
    }

    /// The type of a reference; `None` for a literal, and for a reference with a fault, which is recorded.
    fn type_of_reference(&mut self, value: &Value, before: usize, at: &str) -> Option<SchemaType> {
        let text = value.as_str()?;
        let reference = match ValueReference::parse(text)? {
            Ok(reference) => reference,
            Err(message) => {
                self.refuse(at, message);
                return None;
            }
        };
        let found = match &reference {
            ValueReference::Params(path) => schema_types::type_at(&self.definition.params, path),
            ValueReference::Step(id, path) => self.type_of_output(id, path, before),
        };
        found.map_err(|message| self.refuse(at, format!("`{text}`: {message}"))).ok()
    }

    fn type_of_output(&self, id: &str, path: &[String], before: usize) -> Result<SchemaType, String> {
        let position = self.definition.steps.iter().position(|step| step.id == id);
        let Some(position) = position else { return Err(format!("there is no step `{id}`")) };
        let step = &self.definition.steps[position];
        if position >= before {
            return Err(format!("the step `{id}` comes later; references point backwards"));
        }
        let mut shape = schema_types::type_at(step.uses.output_schema(), path)?;
        shape.may_be_absent |= !step.when.is_empty() || step.on_error == StepOnError::Continue;
        Ok(shape)
    }

    fn check_conditions(
        &mut self,
        predicates: &[StepCondition],
        output: Option<&Value>,
        before: usize,
        at: &str,
    ) {
        for (index, predicate) in predicates.iter().enumerate() {
            let at = format!("{at}/{index}");
            let that = self.type_of_subject(&predicate.that, output, before, &format!("{at}/that"));
            let Some(that) = that else { continue };
            if let Err((part, message)) = self.check_operands(predicate, &that, before, &at) {
                self.refuse(&format!("{at}/{part}"), message);
            }
        }
    }

    fn type_of_subject(
        &mut self,
        that: &str,
        output: Option<&Value>,
        before: usize,
        at: &str,
    ) -> Option<SchemaType> {
        if that.starts_with('$') {
            return self.type_of_reference(&Value::String(that.to_owned()), before, at);
        }
        let Some(output) = output else {
            self.refuse(at, "a condition before the step can only look at `$params` and earlier `$steps`");
            return None;
        };
        let Some(path) = references::parse_pointer(that) else {
            self.refuse(at, "this must be a pointer such as /phase, or a reference such as $params.mode");
            return None;
        };
        schema_types::type_at(output, &path)
            .map_err(|message| self.refuse(at, format!("`{that}`: {message}")))
            .ok()
    }

    /// Checks that the types of both sides of an operator can be compared.
    fn check_operands(
        &mut self,
        predicate: &StepCondition,
        that: &SchemaType,
        before: usize,
        at: &str,
    ) -> Result<(), (&'static str, String)> {
        use ConditionOperator::{Absent, Eq, Exists, Ge, Gt, Le, Lt, Matches, Ne, NoneOf, OneOf};
        let value = predicate.value.as_ref();
        if matches!(predicate.is, Exists | Absent) {
            return if value.is_none() {
                Ok(())
            } else {
                Err(("value", "this operator takes no value".to_owned()))
            };
        }
        let Some(value) = value else { return Err(("is", "a `value` is missing".to_owned())) };
        if predicate.tolerance.is_some() && !matches!(predicate.is, Eq | Ge | Le) {
            return Err(("tolerance", "a tolerance goes with eq, le and ge".to_owned()));
        }
        if predicate.is == Matches {
            let pattern = value.as_str().ok_or(("value", "a pattern is a text".to_owned()))?;
            conditions::compile_pattern(pattern).map_err(|message| ("value", message))?;
            return schema_types::check_comparable(that, &schema_types::any_text())
                .map_err(|message| ("that", message));
        }
        let side = if references::has_reference(value) {
            match self.type_of_reference(value, before, &format!("{at}/value")) {
                Some(shape) => shape,
                None => return Ok(()),
            }
        } else {
            SchemaType::of_literal(&references::unescape_literal(value))
        };
        match predicate.is {
            OneOf | NoneOf => {
                let listed = value.as_array().ok_or(("value", "a list of values is expected".to_owned()))?;
                for item in listed {
                    schema_types::check_comparable(that, &SchemaType::of_literal(item))
                        .map_err(|message| ("value", message))?;
                }
                Ok(())
            }
            Lt | Le | Gt | Ge => {
                schema_types::check_comparable(that, &schema_types::any_number())
                    .map_err(|message| ("that", message))?;
                schema_types::check_comparable(&side, &schema_types::any_number())
                    .map_err(|message| ("value", message))
            }
            Eq | Ne => schema_types::check_comparable(that, &side).map_err(|message| ("value", message)),
            Matches | Exists | Absent => Ok(()),
        }
    }

    fn check_pivot_and_undo(&mut self) {
        let steps = &self.definition.steps;
        let pivots: Vec<usize> =
            steps.iter().enumerate().filter(|(_, step)| step.pivot).map(|(index, _)| index).collect();
        for extra in pivots.iter().skip(1) {
            self.refuse(&format!("/steps/{extra}/pivot"), "a workflow has at most one pivot");
        }
        let pivot = pivots.first().copied().unwrap_or(usize::MAX);
        for (index, step) in steps.iter().enumerate() {
            let at = format!("/steps/{index}");
            if step.uses.spec().class == ActionClass::Mutate && step.undo.is_none() && index < pivot {
                self.refuse(
                    &at,
                    format!(
                        "`{}` changes the bot: it needs `undo`, `undo: none` or a pivot at or before it",
                        step.id
                    ),
                );
            }
            if step.undo.is_some() && index >= pivot {
                self.refuse(&format!("{at}/undo"), "past the pivot nothing is undone");
            }
        }
        if pivots.is_empty() && self.definition.on_failure_after_pivot.is_some() {
            self.refuse("/on_failure_after_pivot", "there is no pivot");
        }
    }

    fn check_policy(&mut self) {
        let mutates = self.definition.steps.iter().any(|step| step.uses.spec().class == ActionClass::Mutate);
        if mutates && self.definition.policy.locks.is_empty() {
            self.refuse("/policy/locks", "a workflow that changes the bot holds the lock `bot`");
        }
        if self.definition.policy.locks.len() > 1 {
            self.refuse("/policy/locks", "one lock at most");
        }
        let joins = self.definition.policy.on_conflict == WorkflowOnConflict::Join;
        if joins && !self.definition.policy.locks.is_empty() {
            self.refuse("/policy/on_conflict", "only a workflow without locks can be joined");
        }
        if mutates && self.definition.risk == WorkflowRisk::Read {
            self.refuse("/risk", "it changes the bot, so its risk is not `read`");
        }
    }
}
