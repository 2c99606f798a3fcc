//! What must hold for whatever comes from outside: the properties that the targets in `fuzz/` look for a
//! counterexample of. Compiled for them and for the tests, which replay the seeds of `fuzz/seeds`.

pub use crate::workflows::check_workflow_file;

/// An answer of a bot: the first byte says to which call, the rest is the body.
pub fn check_bot_answer(input: &[u8]) {
    let Some((kind, body)) = input.split_first() else { return };
    if let Some(page) = crate::bots::check_bot_answer(*kind, body) {
        crate::performance::check_cursor(&page);
    }
}

/// A stream of events: the first byte says in pieces of how many bytes it comes.
pub fn check_event_stream(input: &[u8]) {
    let Some((piece, stream)) = input.split_first() else { return };
    crate::bots::check_event_stream(*piece, stream);
}

#[cfg(test)]
#[path = "../../../fuzz/mutations.rs"]
mod mutations;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::mutations::check_seeds;

    #[track_caller]
    fn replay(target: &str, check: impl Fn(&[u8])) {
        check_seeds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target), check);
    }

    #[test]
    fn the_seeds_of_bot_answers_hold() {
        replay("bot_answers", super::check_bot_answer);
    }

    #[test]
    fn the_seeds_of_event_stream_hold() {
        replay("event_stream", super::check_event_stream);
    }

    #[test]
    fn the_seeds_of_workflow_files_hold() {
        replay("workflow_files", |seed| super::check_workflow_file(&String::from_utf8_lossy(seed)));
    }
}
