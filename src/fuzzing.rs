//! What must hold for whatever comes from outside: the properties that the targets in `fuzz/` look for a
//! counterexample of. Compiled for them and for the tests, which replay the seeds of `fuzz/seeds`.

/// A keys file: the first two bytes say where a secret stands in it by mistake.
pub fn check_keys_file(input: &[u8]) {
    let Some(([high, low], text)) = input.split_first_chunk() else { return };
    crate::settings::check_keys_file(u16::from_be_bytes([*high, *low]), &String::from_utf8_lossy(text));
}

/// Settings as they stand in `.env`: the first two bytes say in which value a secret stands.
pub fn check_settings(input: &[u8]) {
    let Some(([high, low], file)) = input.split_first_chunk() else { return };
    crate::settings::check_settings(u16::from_be_bytes([*high, *low]), file);
}

/// The call of a tool: the first byte says which, the second in which argument a secret stands, the rest are the arguments.
pub fn check_tool_arguments(input: &[u8]) {
    let Some(([tool, place], arguments)) = input.split_first_chunk() else { return };
    crate::mcp::check_tool_call(*tool, *place, &String::from_utf8_lossy(arguments));
}

#[cfg(test)]
#[path = "../fuzz/mutations.rs"]
mod mutations;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::mutations::check_seeds;

    #[track_caller]
    fn replay(target: &str, check: fn(&[u8])) {
        check_seeds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target), check);
    }

    #[test]
    fn the_seeds_of_keys_file_hold() {
        replay("keys_file", super::check_keys_file);
    }

    #[test]
    fn the_seeds_of_settings_hold() {
        replay("settings", super::check_settings);
    }

    #[test]
    fn the_seeds_of_tool_arguments_hold() {
        replay("tool_arguments", super::check_tool_arguments);
    }
}
