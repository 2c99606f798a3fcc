//! MCP at `/mcp`: the same operations for agents, stateless, in both eras of the protocol.
//!
//! The guard has already checked the key, the rate and the size. What happens for every call happens once, in
//! `call_tool`: the tool's scope, its arguments, a deadline and a net for panics (both in [`Inside`]), the one form of
//! failure, and the record of changes. There are no sessions and no state that is not in the store: a workflow run is
//! its own task.

mod arguments;
mod lookup;
mod resources;
mod results;
mod route;
mod server;
mod tasks;
mod tool;
mod tools;

pub(crate) use server::{MCP_PATH, McpOptions, router};
