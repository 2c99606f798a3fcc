//! What the process says in a terminal, and the exit codes that go with it.

use std::io::Write;
use std::process::ExitCode;

/// A line on stdout; a closed pipe is the reader's choice.
pub(crate) fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line on stderr, and the exit code of what failed.
pub(crate) fn report_failure(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "botops: {text}");
    ExitCode::FAILURE
}

/// Lines on stderr, and the exit code of what cannot start as it was configured.
pub(crate) fn report_refusal(lines: &[String]) -> ExitCode {
    for line in lines {
        let _ = writeln!(std::io::stderr(), "botops: {line}");
    }
    ExitCode::from(2)
}
