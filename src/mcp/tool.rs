//! The form of a tool: what clients are told about it, and what is enforced.

use std::sync::Arc;

use axum::http::Method;
use rmcp::model::{Tool as DescribedTool, ToolAnnotations};
use serde_json::{Value, json};

use super::arguments::{ToolArguments, is_dry_run, object};
use super::route::{RouteChoice, RouteMethod, ToolRoute};
use botops_core::error::{Code, Error};
use botops_core::exact_number::{read_exact_json, write_integers};
use botops_http::{InternalCall, KeyScope};

/// One row of the table of tools.
pub(super) struct McpTool {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// The scope without which the tool is neither listed nor called.
    pub(super) scope: KeyScope,
    /// The tool changes nothing.
    pub(super) reads: bool,
    /// The tool may end or undo something that cannot be restored.
    pub(super) destroys: bool,
    /// The same call again changes nothing more.
    pub(super) repeatable: bool,
    /// The tool has effects outside of botops: on the bot or its broker.
    pub(super) reaches_out: bool,
    /// JSON Schemas of the arguments, by name.
    pub(super) properties: fn() -> Value,
    pub(super) required: &'static [&'static str],
    /// Members that every result has.
    pub(super) returns: &'static [&'static str],
    /// The calls it can make. The last row fits any arguments, unless a required argument chooses among the rows.
    pub(super) routes: &'static [ToolRoute],
}

/// The argument that limits the size of any read.
const BUDGET: &str = "budget_tokens";

/// Template of a tool that reads.
pub(super) const READ: McpTool = McpTool {
    name: "",
    description: "",
    scope: KeyScope::Read,
    reads: true,
    destroys: false,
    repeatable: true,
    reaches_out: false,
    properties: || json!({}),
    required: &[],
    returns: &[],
    routes: &[],
};

/// Template of a tool that changes something.
pub(super) const CHANGE: McpTool =
    McpTool { reads: false, destroys: true, repeatable: false, reaches_out: true, ..READ };

impl McpTool {
    /// The tool as clients see it in the list.
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

    /// The arguments as they are meant: clients send `null` for what they leave out, `2.0` where an integer is wanted, and
    /// an object, a list, a number or a truth value as its text.
    pub(super) fn as_meant(&self, given: &ToolArguments) -> ToolArguments {
        let schema = self.input_schema();
        let meant = given.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
            let wanted = &schema["properties"][name]["type"];
            let parsed = value.as_str().and_then(|text| read_exact_json(text.as_bytes()).ok());
            let parsed = parsed.filter(|parsed| is_of_type(parsed, wanted));
            (name.clone(), parsed.unwrap_or_else(|| value.clone()))
        });
        let mut value = Value::Object(meant.collect());
        write_integers(&schema, &mut value);
        object(value)
    }

    /// The row that these arguments choose.
    pub(super) fn chosen_route(&self, given: &ToolArguments) -> Option<&'static ToolRoute> {
        self.routes.iter().find(|route| route.is_chosen(given))
    }

    /// Whether an argument does something in a call by this row. The argument that chooses among the rows (`view`, `verb`)
    /// also chooses the one that takes whatever is left.
    pub(super) fn uses(&self, route: &ToolRoute, name: &str) -> bool {
        let is_rest = matches!(route.choice, RouteChoice::Always);
        let is_read = route.method == RouteMethod::Get;
        route.uses(name)
            || (is_rest && self.selector() == Some(name))
            || (self.reads && is_read && name == BUDGET)
            || (!self.reads && matches!(name, "dry_run" | "idempotency_key"))
    }

    /// The argument whose value chooses among the rows.
    pub(super) fn selector(&self) -> Option<&'static str> {
        self.routes.iter().find_map(|route| match route.choice {
            RouteChoice::Is(name, _) | RouteChoice::IsWith(name, ..) => Some(name),
            RouteChoice::Always | RouteChoice::Given(_) => None,
        })
    }

    /// The REST call that these arguments make.
    ///
    /// # Errors
    /// [`Code::ArgumentInvalid`] when an argument that this call needs is missing.
    pub(super) fn request(&self, given: &ToolArguments) -> Result<InternalCall, Error> {
        let route = self.chosen_route(given).ok_or(Error::new(Code::Internal))?;
        let mut call = route.call(given, self.reads, self.required)?;
        if let Some(budget) = given.get(BUDGET).filter(|_| call.method == Method::GET) {
            let mark = if call.path.contains('?') { '&' } else { '?' };
            call.path.push_str(&format!("{mark}{BUDGET}={budget}"));
        }
        Ok(call)
    }

    /// Whether a call with these arguments changes something; a dry run does not.
    pub(super) fn is_change(&self, given: &ToolArguments) -> bool {
        !self.reads && !is_dry_run(given)
    }
}

/// Whether a value is of this type of a schema; never where a text is wanted, or where the schema leaves it open.
fn is_of_type(value: &Value, wanted: &Value) -> bool {
    match wanted.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("integer" | "number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => false,
    }
}
