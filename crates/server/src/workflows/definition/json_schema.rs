//! Compiling JSON schemas that come from a workflow file.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// A validator that fetches nothing, uses patterns whose running time is linear, and checks formats.
pub(crate) fn compile_schema(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .should_validate_formats(true)
        .build(schema)
        .map_err(|error| botops_core::text::clean(&error.to_string(), 200))
}
