//! What botops reads of a bot: hello, state, config, the answer to a command, trades.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| botops_server::fuzzing::check_bot_answer(input));
