//! The command line of botops; each command is one call.

use std::process::ExitCode;

fn main() -> ExitCode {
    botops::cli::run()
}
