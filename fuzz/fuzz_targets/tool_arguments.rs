//! Arguments of the MCP tools, and names of resources.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| botops::fuzzing::check_tool_arguments(input));
