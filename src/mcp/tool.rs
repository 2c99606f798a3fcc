//! What a tool is: what is said of it to clients, and what is enforced.

use std::sync::Arc;

use axum::http::Method;
use rmcp::model::{Tool as DescribedTool, ToolAnnotations};
use serde_json::{Value, json};

use super::arguments::{ToolArguments, is_dry_run, object};
use super::route::ToolRoute;
use botops_core::error::{Code, Error};
use botops_http::{Call, Scope};

/// A tool and everything that is said and enforced about it.
pub(super) struct McpTool {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// The scope without which the tool is neither listed nor called.
    pub(super) scope: Scope,
    /// Changes nothing.
    pub(super) reads: bool,
    /// May end or undo something that cannot be had back.
    pub(super) destroys: bool,
    /// The same call again changes nothing more.
    pub(super) repeatable: bool,
    /// Reaches beyond botops: the bot, its broker.
    pub(super) reaches_out: bool,
    /// JSON Schemas of the arguments, by name.
    pub(super) properties: fn() -> Value,
    pub(super) required: &'static [&'static str],
    /// Members that every result has.
    pub(super) returns: &'static [&'static str],
    /// The calls it makes. The last one is always chosen, unless an argument that is required chooses.
    pub(super) routes: &'static [ToolRoute],
}

/// The argument by which any read is cut to size.
const BUDGET: &str = "budget_tokens";

/// What every read shares.
pub(super) const READ: McpTool = McpTool {
    name: "",
    description: "",
    scope: Scope::Read,
    reads: true,
    destroys: false,
    repeatable: true,
    reaches_out: false,
    properties: || json!({}),
    required: &[],
    returns: &[],
    routes: &[],
};

/// What every change shares.
pub(super) const CHANGE: McpTool =
    McpTool { reads: false, destroys: true, repeatable: false, reaches_out: true, ..READ };

impl McpTool {
    /// What a client is told.
    pub(super) fn described(&self) -> DescribedTool {
        let output = object(json!({"type": "object", "required": self.returns}));
        let annotations = ToolAnnotations::from_raw(
            None,
            Some(self.reads),
            Some(self.destroys),
            Some(self.repeatable),
            Some(self.reaches_out),
        );
        DescribedTool::new(self.name, self.description, Arc::new(object(self.input_schema())))
            .with_raw_output_schema(Arc::new(output))
            .with_annotations(annotations)
    }

    /// The JSON Schema of the arguments.
    pub(super) fn input_schema(&self) -> Value {
        let mut properties = object((self.properties)());
        if self.reads {
            properties.insert(BUDGET.to_owned(), json!({"type": "integer", "minimum": 50}));
        }
        let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        schema
    }

    /// The REST call that these arguments come to.
    ///
    /// # Errors
    /// [`Code::ArgumentInvalid`] when an argument is missing that this call needs.
    pub(super) fn request(&self, given: &ToolArguments) -> Result<Call, Error> {
        let route = self.routes.iter().find(|route| route.is_chosen(given));
        let mut call = route.ok_or(Error::new(Code::Internal))?.call(given, self.reads, self.required)?;
        if let Some(budget) = given.get(BUDGET).filter(|_| call.method == Method::GET) {
            let mark = if call.path.contains('?') { '&' } else { '?' };
            call.path.push_str(&format!("{mark}{BUDGET}={budget}"));
        }
        Ok(call)
    }

    /// Whether a call with these arguments changes something, beyond a dry run.
    pub(super) fn is_change(&self, given: &ToolArguments) -> bool {
        !self.reads && !is_dry_run(given)
    }
}
