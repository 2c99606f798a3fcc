//! The trait that every action implements, and the row through which the list holds it.
//!
//! Input and output are typed in the implementation and JSON in the row.

use std::fmt;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::{ActionFailure, StepFailureClass};
use super::spec::ActionSpec;
use botops_core::error::Code;

/// An action that a step can perform. Everything about an action is in the file that implements this.
pub(crate) trait WorkflowAction {
    /// Its name, its class, and how it may be repeated.
    const SPEC: ActionSpec;
    /// The members of `with`. References of a workflow file are checked against the schema of this type.
    type Input: DeserializeOwned + JsonSchema + Send;
    /// What later steps can refer to, by its schema.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send;

    /// Performs the action. It may be called again with the same `call.key` after a crash, and must then have its
    /// effect once.
    fn perform(
        world: &ActionServices,
        input: Self::Input,
        call: &ActionCall,
    ) -> impl Future<Output = Result<Self::Output, ActionFailure>> + Send;

    /// Predicts the output without changing anything.
    ///
    /// Reads are performed. Changes ask the bot for a dry run where it has one, and record in `assumed` what later
    /// steps will find.
    fn predict(
        world: &ActionServices,
        input: Self::Input,
        call: &ActionCall,
        assumed: &mut AssumedChanges,
    ) -> impl Future<Output = Result<Self::Output, ActionFailure>> + Send;

    /// Reads the state it reported in `_first` again, without acting. An action that changes something must override
    /// this.
    fn observe(
        world: &ActionServices,
        input: Self::Input,
        _first: Self::Output,
        call: &ActionCall,
    ) -> impl Future<Output = Result<Self::Output, ActionFailure>> + Send {
        async move {
            if Self::SPEC.changes() {
                return Err(ActionFailure::precondition("this action cannot be looked at again"));
            }
            Self::perform(world, input, call).await
        }
    }
}

type Outcome<'a> = BoxFuture<'a, Result<Value, ActionFailure>>;
type Perform = for<'a> fn(&'a ActionServices, &'a Value, &'a ActionCall) -> Outcome<'a>;
type Observe = for<'a> fn(&'a ActionServices, &'a Value, &'a Value, &'a ActionCall) -> Outcome<'a>;
type Predict =
    for<'a> fn(&'a ActionServices, &'a Value, &'a ActionCall, &'a mut AssumedChanges) -> Outcome<'a>;

/// A row of the list of actions: one [`WorkflowAction`] with JSON for input and output.
pub(crate) struct ActionRow {
    pub(super) spec: ActionSpec,
    pub(super) schemas: fn() -> ActionSchemas,
    pub(super) perform: Perform,
    pub(super) observe: Observe,
    pub(super) predict: Predict,
}

impl fmt::Debug for ActionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spec.name)
    }
}

impl ActionRow {
    pub(super) const fn of<A: WorkflowAction>() -> Self {
        Self {
            spec: A::SPEC,
            schemas: || ActionSchemas { input: schema::<A::Input>(), output: schema::<A::Output>() },
            perform: |world, input, call| {
                async move { to_json(A::perform(world, from_json(input)?, call).await?) }.boxed()
            },
            observe: |world, input, first, call| {
                async move { to_json(A::observe(world, from_json(input)?, from_json(first)?, call).await?) }
                    .boxed()
            },
            predict: |world, input, call, assumed| {
                async move { to_json(A::predict(world, from_json(input)?, call, assumed).await?) }.boxed()
            },
        }
    }
}

/// The JSON schemas of an action's input and output, for checking references.
#[derive(Debug)]
pub(crate) struct ActionSchemas {
    pub(crate) input: Value,
    pub(crate) output: Value,
}

/// The schema of a type with everything inlined: a path into it must be followed without resolving `$ref`s.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    serde_json::to_value(settings.into_generator().into_root_schema_for::<T>()).expect("a schema is JSON")
}

fn from_json<T: DeserializeOwned>(input: &Value) -> Result<T, ActionFailure> {
    serde_path_to_error::deserialize(input).map_err(|error| {
        let (path, what) = (error.path().to_string(), error.into_inner().to_string());
        let message = format!("the input does not fit at `{path}`: {}", botops_core::text::clean(&what, 200));
        ActionFailure::new(StepFailureClass::Invalid, Code::WorkflowStepFailed, message)
    })
}

fn to_json<T: Serialize>(output: T) -> Result<Value, ActionFailure> {
    serde_json::to_value(output).map_err(|error| {
        let message = format!("the output is no JSON ({error})");
        ActionFailure::new(StepFailureClass::Unknown, Code::Internal, message)
    })
}
