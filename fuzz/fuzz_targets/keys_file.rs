//! The file of the named keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| botops::fuzzing::check_keys_file(input));
