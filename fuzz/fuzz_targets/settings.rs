//! Settings, as they stand in `.env`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| botops::fuzzing::check_settings(input));
