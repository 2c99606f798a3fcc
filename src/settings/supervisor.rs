//! How the bot's process is restarted. Only the settings choose it: no request can name a program.

use std::collections::BTreeMap;
use std::path::Path;

use botops_server::bots::SupervisorDriver;
use secrecy::SecretString;

use super::reader::SettingsReader;
use super::row::SettingRow;
use super::table::{
    BOT_IPC_SOCKET, BOT_IPC_TOKEN_FILE, BOT_IPC_URL, BOT_SUPERVISOR, BOT_SUPERVISOR_COMMAND,
    BOT_SUPERVISOR_ENVIRONMENT, BOT_SUPERVISOR_PID_FILE,
};

/// What a program needs on any machine, and nothing that is secret.
const COMMON_VARIABLES: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
];

/// Families of such variables.
const COMMON_PREFIXES: &[&str] = &["LC_", "XDG_"];

pub(super) fn read_supervisor(
    reader: &mut SettingsReader<'_>,
    data_dir: &Path,
    log_dir: &Path,
) -> SupervisorDriver {
    const REMEDY: &str = "Use none, spawn, systemd:<unit>, systemd-user:<unit>, or command:[\"program\", …].";
    let text = reader.text(&BOT_SUPERVISOR).unwrap_or_default();
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    match (kind, rest) {
        ("none", "") => SupervisorDriver::None,
        ("spawn", "") => {
            let json = reader.text(&BOT_SUPERVISOR_COMMAND);
            let argv = read_argv(reader, &BOT_SUPERVISOR_COMMAND, json);
            let pid_file = reader.path(&BOT_SUPERVISOR_PID_FILE);
            let pid_file = pid_file.unwrap_or_else(|| data_dir.join("paperbot").join("paperbot.pid"));
            SupervisorDriver::Spawn { argv, pid_file, output: log_dir.join("bot-output.txt") }
        }
        ("systemd" | "systemd-user", unit) if is_unit(unit) => {
            SupervisorDriver::Systemd { unit: unit.to_owned(), user: kind == "systemd-user" }
        }
        ("command", json) => {
            SupervisorDriver::Command { argv: read_argv(reader, &BOT_SUPERVISOR, Some(json)) }
        }
        _ => {
            reader.refuse(&BOT_SUPERVISOR, "it names no driver", REMEDY);
            SupervisorDriver::None
        }
    }
}

/// The environment of what the supervisor starts: the common variables, the bot's address as botops itself has it, and what
/// the operator names. botops' own secrets cannot be named.
pub(super) fn read_bot_environment(reader: &mut SettingsReader<'_>) -> BTreeMap<String, SecretString> {
    let remedy = "Name variables of the bot, separated by commas; botops' own (BOT_…) are not the bot's.";
    let problem = "is no name of a variable that the bot may have";
    let named = reader.list(&BOT_SUPERVISOR_ENVIRONMENT, problem, remedy, |name| {
        (is_variable(name) && !name.starts_with("BOT_")).then(|| name.to_owned())
    });
    let address = [&BOT_IPC_SOCKET, &BOT_IPC_URL, &BOT_IPC_TOKEN_FILE].map(|row| row.name);
    let is_given = |name: &str| {
        COMMON_VARIABLES.contains(&name)
            || COMMON_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || address.contains(&name)
            || named.iter().any(|own| own == name)
    };
    let all = reader.sources.beginning_with("");
    all.filter(|(name, _)| is_given(name)).map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn read_argv(reader: &mut SettingsReader<'_>, row: &SettingRow, json: Option<&str>) -> Vec<String> {
    let argv: Option<Vec<String>> = json.and_then(|json| serde_json::from_str(json).ok());
    argv.filter(|argv| argv.first().is_some_and(|program| !program.is_empty())).unwrap_or_else(|| {
        let remedy = "Write a JSON list of program and arguments, such as [\"/usr/bin/paperbot\"].";
        reader.refuse(row, "no command line is given", remedy);
        Vec::new()
    })
}

/// Whether this is the name of a systemd unit; text that could be an option or a path is refused.
fn is_unit(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._-:".contains(c);
    !name.is_empty() && name.len() <= 200 && !name.starts_with('-') && name.chars().all(plain)
}
