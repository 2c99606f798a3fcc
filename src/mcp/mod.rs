//! MCP at `/mcp`: the same operations for agents, without sessions, for older and newer versions of the protocol.
//!
//! The guard has already checked the key, the rate and the size. Each tool call passes the same steps in `server.rs`:
//! the tool's scope, its arguments, the call itself with a deadline and panics caught (both in `InternalCaller`), the
//! form of failures, and the record of changes. No state is kept outside of the store: a workflow run is its own task.

mod arguments;
#[cfg(any(test, fuzzing))]
mod fuzz_properties;
mod lenient;
mod lookup;
mod message_form;
mod resources;
mod results;
mod route;
mod server;
mod tasks;
mod tool;
mod tools;

#[cfg(any(test, fuzzing))]
pub(crate) use fuzz_properties::check_tool_call;
pub(crate) use server::{MCP_PATH, McpOptions, router};
