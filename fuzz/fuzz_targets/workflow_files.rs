//! The YAML of workflows.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| botops_server::fuzzing::check_workflow_file(text));
