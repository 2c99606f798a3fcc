//! How the bot's process is restarted. Only the settings choose it: no request can name a program.

use std::path::Path;

use botops_server::bots::SupervisorDriver;

use super::reader::SettingsReader;
use super::row::SettingRow;
use super::table::{BOT_SUPERVISOR, BOT_SUPERVISOR_COMMAND, BOT_SUPERVISOR_PID_FILE};

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
