//! The executable `paperbot`: the reference bot alone, without botops.

use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "paperbot", version, about = "A small trading process on paper, beside which botops stands")]
struct PaperbotCommandLine {
    #[command(flatten)]
    options: botops_paperbot::PaperbotOptions,
}

fn main() -> ExitCode {
    match PaperbotCommandLine::try_parse() {
        Ok(given) => botops_paperbot::main(given.options),
        Err(error) => botops_paperbot::command_line::end_with(&error, "paperbot"),
    }
}
