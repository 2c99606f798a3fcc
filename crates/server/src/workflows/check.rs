//! Static checks of a definition: what can be known to be wrong before a run begins.
//!
//! References point backwards to values of the right type, every change before the pivot can be taken back or says
//! that it cannot, there is at most one pivot, and the worst case fits into the time.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::actions::{Action, Class};
use super::definition::{
    Definition, FailureClass, OnConflict, OnError, Operator, Predicate, Risk, Step, UndoRule, validator,
};
use super::types::{self, Shape};
use super::values::{self, Reference};
use super::yaml::{Fault, Marked, escape};

/// Keywords that a parameter schema may use. Validators ignore what they do not know, so a typo would pass silently.
const KEYWORDS: &[&str] = &[
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minItems",
    "maxItems",
    "uniqueItems",
    "default",
    "title",
    "description",
    "examples",
];

/// Goes through a definition and collects what is wrong with it.
pub(super) struct Checker<'a> {
    marked: &'a Marked,
    definition: &'a Definition,
    pub faults: Vec<Fault>,
    pub warnings: Vec<Fault>,
}

impl<'a> Checker<'a> {
    pub fn new(marked: &'a Marked, definition: &'a Definition) -> Self {
        Self { marked, definition, faults: Vec::new(), warnings: Vec::new() }
    }

    fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        self.faults.push(self.marked.fault(pointer, message));
    }

    /// Every check.
    pub fn all(&mut self) {
        let definition = self.definition;
        self.params_schema(&definition.params, "/params", true);
        if let Some(schema) = definition.params["properties"].as_object() {
            for (name, schema) in schema {
                self.default_fits(name, schema);
            }
        }
        let mut seen = BTreeSet::new();
        for (index, step) in definition.steps.iter().enumerate() {
            let at = format!("/steps/{index}");
            if !seen.insert(step.id.as_str()) {
                self.refuse(&format!("{at}/id"), format!("the step id `{}` stands twice", step.id));
            }
            self.step(index, step, &at);
        }
        for (name, value) in &definition.outputs {
            let pointer = format!("/outputs/{}", escape(name));
            self.reference_of(value, definition.steps.len(), &pointer);
        }
        self.pivot_and_undo();
        self.time_budget();
    }

    /// A closed schema out of known keywords, at any depth.
    fn params_schema(&mut self, schema: &Value, at: &str, is_root: bool) {
        let Some(members) = schema.as_object() else {
            return self.refuse(at, "a schema must be an object");
        };
        for keyword in members.keys() {
            if !KEYWORDS.contains(&keyword.as_str()) {
                let note = if keyword == "x-secret" { ": secrets are not taken as parameters" } else { "" };
                self.refuse(
                    &format!("{at}/{}", escape(keyword)),
                    format!("`{keyword}` is no keyword that is taken{note}"),
                );
            }
        }
        let is_object = schema["type"] == "object";
        if is_root && !is_object {
            self.refuse(at, "parameters must be of type object");
        }
        if is_object && schema["additionalProperties"] != Value::Bool(false) {
            self.refuse(at, "an object must say `additionalProperties: false`");
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (name, property) in properties {
                self.params_schema(property, &format!("{at}/properties/{}", escape(name)), false);
            }
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !properties.contains_key(name) {
                    self.refuse(
                        &format!("{at}/required"),
                        format!("`{name}` is required but not a property"),
                    );
                }
            }
        }
        if let Some(items) = schema.get("items") {
            self.params_schema(items, &format!("{at}/items"), false);
        }
    }

    fn default_fits(&mut self, name: &str, schema: &Value) {
        let Some(default) = schema.get("default") else { return };
        let at = format!("/params/properties/{}/default", escape(name));
        match validator(schema) {
            Ok(validator) if !validator.is_valid(default) => {
                self.refuse(&at, "the default does not fit its own schema");
            }
            Ok(_) => {}
            Err(message) => self.refuse(&at, message),
        }
    }

    fn step(&mut self, index: usize, step: &'a Step, at: &str) {
        let input = step.uses.input_schema();
        self.inputs(&step.with, input, index, &format!("{at}/with"), at);
        self.predicates(&step.when, None, index, &format!("{at}/when"));
        let output = Some(step.uses.output_schema());
        self.predicates(&step.expect, output, index, &format!("{at}/expect"));
        if let Some(until) = &step.until {
            self.predicates(&until.expect, output, index, &format!("{at}/until/expect"));
            if !step.uses.is_observable() {
                self.refuse(
                    &format!("{at}/until"),
                    format!("`{}` cannot be looked at again", step.uses.name()),
                );
            }
        }
        if let Some(retry) = &step.retry
            && retry.on.contains(&FailureClass::Unknown)
        {
            self.refuse(&format!("{at}/retry"), "what may have happened is not repeated blindly");
        }
        if let Some(UndoRule::With(undo)) = &step.undo {
            let at = format!("{at}/undo");
            // An undo may use what its own step put out.
            self.inputs(&undo.with, undo.uses.input_schema(), index + 1, &format!("{at}/with"), &at);
            self.predicates(&undo.when, None, index + 1, &format!("{at}/when"));
        }
    }

    fn inputs(&mut self, with: &Map<String, Value>, schema: &Value, before: usize, at: &str, of: &str) {
        for (name, value) in with {
            let pointer = format!("{at}/{}", escape(name));
            match types::member(schema, name) {
                Ok(shape) => self.fits(value, &shape, before, &pointer),
                Err(message) => self.refuse(&pointer, message),
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !with.contains_key(name) {
                self.refuse(of, format!("the input `{name}` is missing"));
            }
        }
    }

    /// A literal must be valid, a reference must have the right type, at any depth.
    fn fits(&mut self, value: &Value, target: &Shape, before: usize, at: &str) {
        if !values::has_reference(value) {
            match validator(&target.schema) {
                Ok(validator) => {
                    let literal = values::literal(value);
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
                    let shape = Shape::of(target.schema.get("items").cloned().unwrap_or(Value::Bool(true)));
                    self.fits(item, &shape, before, &format!("{at}/{index}"));
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    let pointer = format!("{at}/{}", escape(name));
                    match types::member(&target.schema, name) {
                        Ok(shape) => self.fits(member, &shape, before, &pointer),
                        Err(message) => self.refuse(&pointer, message),
                    }
                }
            }
            _ => {
                if let Some(source) = self.reference_of(value, before, at)
                    && let Err(message) = types::assignable(&source, target)
                {
                    self.refuse(at, message);
                }
            }
        }
    }

    /// The type of a reference, or a fault. `None` also for literals.
    fn reference_of(&mut self, value: &Value, before: usize, at: &str) -> Option<Shape> {
        let text = value.as_str()?;
        let reference = match Reference::parse(text)? {
            Ok(reference) => reference,
            Err(message) => {
                self.refuse(at, message);
                return None;
            }
        };
        let found = match &reference {
            Reference::Params(path) => types::at(&self.definition.params, path),
            Reference::Step(id, path) => self.output_of(id, path, before),
        };
        found.map_err(|message| self.refuse(at, format!("`{text}`: {message}"))).ok()
    }

    fn output_of(&self, id: &str, path: &[String], before: usize) -> Result<Shape, String> {
        let position = self.definition.steps.iter().position(|step| step.id == id);
        let Some(position) = position else { return Err(format!("there is no step `{id}`")) };
        let step = &self.definition.steps[position];
        if position >= before {
            return Err(format!("the step `{id}` comes later; references point backwards"));
        }
        let mut shape = types::at(step.uses.output_schema(), path)?;
        shape.may_be_absent |= !step.when.is_empty() || step.on_error == OnError::Continue;
        Ok(shape)
    }

    fn predicates(&mut self, predicates: &[Predicate], output: Option<&Value>, before: usize, at: &str) {
        for (index, predicate) in predicates.iter().enumerate() {
            let at = format!("{at}/{index}");
            let that = self.subject(&predicate.that, output, before, &format!("{at}/that"));
            let Some(that) = that else { continue };
            if let Err((part, message)) = self.operands(predicate, &that, before, &at) {
                self.refuse(&format!("{at}/{part}"), message);
            }
        }
    }

    fn subject(&mut self, that: &str, output: Option<&Value>, before: usize, at: &str) -> Option<Shape> {
        if that.starts_with('$') {
            return self.reference_of(&Value::String(that.to_owned()), before, at);
        }
        let Some(output) = output else {
            self.refuse(at, "a condition before the step can only look at `$params` and earlier `$steps`");
            return None;
        };
        let Some(path) = values::pointer(that) else {
            self.refuse(at, "this must be a pointer such as /phase, or a reference such as $params.mode");
            return None;
        };
        types::at(output, &path).map_err(|message| self.refuse(at, format!("`{that}`: {message}"))).ok()
    }

    /// Both sides of an operator have types that can be compared.
    fn operands(
        &mut self,
        predicate: &Predicate,
        that: &Shape,
        before: usize,
        at: &str,
    ) -> Result<(), (&'static str, String)> {
        use Operator::{Absent, Eq, Exists, Ge, Gt, Le, Lt, Matches, Ne, NoneOf, OneOf};
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
            values::pattern(pattern).map_err(|message| ("value", message))?;
            return types::kinds_meet(that, &types::text()).map_err(|message| ("that", message));
        }
        let side = if values::has_reference(value) {
            match self.reference_of(value, before, &format!("{at}/value")) {
                Some(shape) => shape,
                None => return Ok(()),
            }
        } else {
            Shape::of_literal(&values::literal(value))
        };
        match predicate.is {
            OneOf | NoneOf => {
                let listed = value.as_array().ok_or(("value", "a list of values is expected".to_owned()))?;
                for item in listed {
                    types::kinds_meet(that, &Shape::of_literal(item))
                        .map_err(|message| ("value", message))?;
                }
                Ok(())
            }
            Lt | Le | Gt | Ge => {
                types::kinds_meet(that, &types::number()).map_err(|message| ("that", message))?;
                types::kinds_meet(&side, &types::number()).map_err(|message| ("value", message))
            }
            Eq | Ne => types::kinds_meet(that, &side).map_err(|message| ("value", message)),
            Matches | Exists | Absent => Ok(()),
        }
    }

    fn pivot_and_undo(&mut self) {
        let steps = &self.definition.steps;
        let pivots: Vec<usize> =
            steps.iter().enumerate().filter(|(_, step)| step.pivot).map(|(index, _)| index).collect();
        for extra in pivots.iter().skip(1) {
            self.refuse(&format!("/steps/{extra}/pivot"), "a workflow has at most one pivot");
        }
        let pivot = pivots.first().copied().unwrap_or(usize::MAX);
        for (index, step) in steps.iter().enumerate() {
            let at = format!("/steps/{index}");
            if step.uses.spec().class == Class::Mutate && step.undo.is_none() && index < pivot {
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
        let mutates = steps.iter().any(|step| step.uses.spec().class == Class::Mutate);
        if mutates && self.definition.policy.locks.is_empty() {
            self.refuse("/policy/locks", "a workflow that changes the bot holds the lock `bot`");
        }
        if self.definition.policy.locks.len() > 1 {
            self.refuse("/policy/locks", "one lock at most");
        }
        let joins = self.definition.policy.on_conflict == OnConflict::Join;
        if joins && !self.definition.policy.locks.is_empty() {
            self.refuse("/policy/on_conflict", "only a workflow without locks can be joined");
        }
        if mutates && self.definition.risk == Risk::Read {
            self.refuse("/risk", "it changes the bot, so its risk is not `read`");
        }
    }

    /// The worst case should fit, else the run's own deadline cuts it off.
    fn time_budget(&mut self) {
        let worst: u64 = self.definition.steps.iter().map(worst_case_s).sum();
        let budget = self.definition.policy.timeout_s;
        if worst > budget {
            let message =
                format!("in the worst case the steps take {worst} s, more than timeout_s ({budget} s)");
            self.warnings.push(self.marked.fault("/policy/timeout_s", message));
        }
        self.trial_is_long_enough();
    }

    /// A trial must not end before the steps that watch and confirm it.
    fn trial_is_long_enough(&mut self) {
        let steps = &self.definition.steps;
        let Some(index) = steps.iter().position(|step| step.uses == Action::ConfigApply) else { return };
        let window = steps[index].with.get("confirm_within_s");
        let shortest = match window.and_then(Value::as_str).and_then(Reference::parse) {
            Some(Ok(Reference::Params(path))) => types::at(&self.definition.params, &path)
                .ok()
                .and_then(|shape| shape.schema["minimum"].as_u64()),
            _ => window.and_then(Value::as_u64),
        };
        let last = steps.iter().position(|step| step.uses == Action::ConfigConfirm).unwrap_or(index);
        let needed: u64 = steps.iter().take(last + 1).skip(index + 1).map(worst_case_s).sum();
        if let Some(shortest) = shortest.filter(|shortest| needed >= *shortest) {
            let at = format!("/steps/{index}/with/confirm_within_s");
            self.refuse(
                &at,
                format!("observing and confirming may take {needed} s, the trial only {shortest} s"),
            );
        }
    }
}

fn worst_case_s(step: &Step) -> u64 {
    if let Some(until) = step.until.as_ref().filter(|_| step.uses.spec().class == Class::Read) {
        // Looks share the time of the wait.
        return until.for_s;
    }
    let attempt = step.timeout_s.unwrap_or(step.uses.spec().timeout_s);
    let retries = step.retry.as_ref().map_or(0, |retry| u64::from(retry.max));
    let waits = step.retry.as_ref().map_or(0, |retry| retry.cap_ms * u64::from(retry.max) / 1_000);
    attempt * (retries + 1) + waits + step.until.as_ref().map_or(0, |until| until.for_s)
}

#[cfg(test)]
mod tests {
    use super::super::definition::Workflow;

    const HEAD: &str = "workflow: v1\nid: probe\ntitle: Probe\nrisk: disruptive\nparams:\n  type: object\n  additionalProperties: false\n\
        \x20 properties: {reason: {type: string, maxLength: 99}, count: {type: integer, default: 3}}\n\
        policy: {locks: [bot], on_conflict: reject, timeout_s: 600, on_crash: resume}\nsteps:\n";

    /// The line (within the steps, from 1) and the words of the first fault.
    #[track_caller]
    fn refused(steps: &str, line: usize, words: &str) {
        let faults = Workflow::read(&format!("{HEAD}{steps}")).map(|_| ()).unwrap_err();
        let first = &faults[0];
        assert!(first.message.contains(words), "{first}");
        assert_eq!(first.line, HEAD.lines().count() + line, "{first}");
        assert!(first.column > 1, "{first}");
    }

    #[track_caller]
    fn taken(steps: &str) {
        if let Err(faults) = Workflow::read(&format!("{HEAD}{steps}")) {
            panic!("{}", faults[0]);
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
        // A parameter that may be left out cannot feed an input that is required.
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
