//! The executable `botops`.

use std::process::ExitCode;

fn main() -> ExitCode {
    botops::cli::run()
}
