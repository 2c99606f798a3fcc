//! The stream of a bot's events.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| botops_server::fuzzing::check_event_stream(input));
