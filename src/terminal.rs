//! Output to a terminal, and the exit codes that belong to it.

use std::io::Write;
use std::process::ExitCode;

/// Prints a line on stdout; ignores a closed pipe.
pub(crate) fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a line on stderr that is no failure; ignores a closed pipe.
pub(crate) fn print_notice(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints a line on stderr; returns the exit code 1 of a command that failed.
pub(crate) fn report_failure(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "botops: {text}");
    ExitCode::FAILURE
}

/// Prints lines on stderr; returns the exit code 2 of a process that cannot start as configured.
pub(crate) fn report_refusal(lines: &[String]) -> ExitCode {
    for line in lines {
        let _ = writeln!(std::io::stderr(), "botops: {line}");
    }
    ExitCode::from(2)
}
