//! How values of the command line are parsed, and how a wrong one is reported without repeating it.
//!
//! clap quotes the argument that it refuses, also where it came from the environment. Such a value may be a misplaced
//! secret, and what is printed ends up in a service manager's journal. So the message names the option and what it
//! takes, and leaves the value out.

use std::convert::Infallible;
use std::error::Error as _;
use std::process::ExitCode;
use std::time::Duration;

use botops_core::duration::parse_duration;
use botops_core::text::is_symbol;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use secrecy::SecretString;

/// Parses a duration such as `5s`, `200ms`, `2m` or bare seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "use a time such as 250ms or 1s".to_owned())
}

/// Parses the symbol of an instrument.
pub(crate) fn symbol(text: &str) -> Result<String, String> {
    let expected = "use symbols of up to 64 characters, without a space at either end";
    is_symbol(text).then(|| text.to_owned()).ok_or_else(|| expected.to_owned())
}

/// Wraps a value so that debug output does not show it.
#[expect(clippy::unnecessary_wraps, reason = "the form that a value parser has")]
pub(crate) fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.to_owned().into())
}

/// Prints clap's message and gives the exit code: 0 for help and version, 2 for a wrong command line.
pub fn end_with(error: &clap::Error, program: &str) -> ExitCode {
    if !error.use_stderr() {
        // Fails when standard output is closed, which is no error of this program.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
    } else {
        report_failure(program, &explain(error));
    }
    ExitCode::from(2)
}

#[expect(clippy::print_stderr, reason = "a process that cannot start says why on its terminal")]
fn report_failure(program: &str, what: &str) {
    eprintln!("{program}: {what}");
}

fn explain(error: &clap::Error) -> String {
    let option = text(error, ContextKind::InvalidArg).filter(|option| is_plain(option));
    let named =
        |what: &str| option.as_ref().map_or_else(|| what.to_owned(), |option| format!("{option}: {what}"));
    let mut said = match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => named(&format!(
            "{} cannot be used{}",
            if text(error, ContextKind::InvalidValue).is_some_and(|value| value.is_empty()) {
                "an empty value"
            } else {
                "the value"
            },
            reason(error)
        )),
        ErrorKind::UnknownArgument => named("there is no such argument here"),
        ErrorKind::InvalidSubcommand => "there is no such command".to_owned(),
        ErrorKind::MissingSubcommand => "a command is missing".to_owned(),
        ErrorKind::MissingRequiredArgument => named("it is missing"),
        ErrorKind::ArgumentConflict => named("it cannot be given twice, or beside what else was given"),
        ErrorKind::NoEquals => named("the value follows after `=`"),
        ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            named("it takes another number of values")
        }
        ErrorKind::InvalidUtf8 => named("the value is not UTF-8 text"),
        _ => named("the command line cannot be read"),
    };
    for (kind, label) in [
        (ContextKind::ValidValue, "it takes"),
        (ContextKind::SuggestedArg, "did you mean"),
        (ContextKind::SuggestedSubcommand, "did you mean"),
        (ContextKind::ValidSubcommand, "commands are"),
    ] {
        if let Some(known) = text(error, kind) {
            said.push_str(&format!("; {label} {known}"));
        }
    }
    said.push_str(". `--help` lists what can be given.");
    said
}

/// The value parser's own reason, when it quotes nothing that was given.
fn reason(error: &clap::Error) -> String {
    let given = text(error, ContextKind::InvalidValue).unwrap_or_default();
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    let quotes = reason.contains(['`', '\'', '"']) || (!given.is_empty() && reason.contains(&given));
    if reason.is_empty() || quotes { String::new() } else { format!(" ({reason})") }
}

/// Whether the text is an option as it is declared (`--port <PORT>`); anything else is what the user typed.
fn is_plain(option: &str) -> bool {
    let name = option.strip_prefix("--").and_then(|rest| rest.split([' ', ',']).next()).unwrap_or_default();
    let word = name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let place =
        option.starts_with('<') && option.chars().all(|c| c.is_ascii_uppercase() || "<>_.".contains(c));
    (word && (2..=24).contains(&name.len())) || place
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) if !texts.is_empty() => Some(texts.join(", ")),
        _ => None,
    }
}
