//! Documents made from the table of settings: `.env.example` and the table of `docs/settings.md`.

use super::row::{SettingDefault, SettingKind, SettingRow};
use super::table::ROWS;

/// Longest line of `.env.example`, in characters.
const WIDTH: usize = 118;

/// The text above the first setting of `.env.example`.
const HEAD: &str = "\
# Settings of botops. A flag wins over the environment, the environment over this file (as `.env` in the working
# folder). Durations: 5s, 200ms, 2m, or bare seconds. `botops check` says whether all of it can be used.
#
# One NAME=value a line. A value is taken as it stands, blanks and `$` included; nothing is filled in. Quotes around a
# whole value are taken off: 'as it is', or \"with \\\" \\\\ \\$ \\` for these four\". A note stands on a line of its own.
";

fn documented() -> impl Iterator<Item = &'static SettingRow> {
    ROWS.iter().copied().filter(|row| !row.for_tests)
}

/// The whole text of `.env.example`.
pub fn env_example() -> String {
    let mut text = HEAD.to_owned();
    for row in documented() {
        let required = matches!(row.default, SettingDefault::Required);
        let mut comment = sentences(row);
        if matches!(row.kind, SettingKind::List) {
            comment.push_str(" Entries are separated by commas.");
        }
        match row.default {
            SettingDefault::Required => comment.push_str(" Required."),
            SettingDefault::Derived(how) => comment.push_str(&format!(" By default: {how}.")),
            SettingDefault::Nothing | SettingDefault::Value(_) => {}
        }
        text.push('\n');
        text.push_str(&wrapped(&comment));
        let off = if required { "" } else { "#" };
        let ending = match row.kind {
            SettingKind::SecretFamily { example } => example,
            _ => "",
        };
        let value = row.default_value().unwrap_or(row.example);
        text.push_str(&format!("{off}{}{ending}={value}\n", row.name));
    }
    text
}

/// The table of `docs/settings.md`, in Markdown.
pub fn settings_table() -> String {
    let mut text = "| setting | takes | default | meaning |\n|---|---|---|---|\n".to_owned();
    for row in documented() {
        let mut name = match row.kind {
            SettingKind::SecretFamily { .. } => format!("`{}<NAME>`", row.name),
            _ => format!("`{}`", row.name),
        };
        if let Some(flag) = &row.flag {
            name.push_str(&format!(", `--{}`", flag.long));
        }
        let default = match row.default {
            SettingDefault::Required => "required".to_owned(),
            SettingDefault::Nothing => "none".to_owned(),
            SettingDefault::Value(value) => format!("`{value}`"),
            SettingDefault::Derived(how) => how.to_owned(),
        };
        let takes = row.expectation();
        let takes = takes.split(", such as").next().unwrap_or_default();
        text.push_str(&format!("| {name} | {takes} | {default} | {} |\n", sentences(row)));
    }
    text
}

/// The meaning as a sentence, and the note after it.
fn sentences(row: &SettingRow) -> String {
    let mut letters = row.meaning.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let mut text = format!("{first}{}.", letters.as_str());
    if !row.note.is_empty() {
        text.push(' ');
        text.push_str(row.note);
    }
    text
}

/// The text as comment lines of at most [`WIDTH`] characters.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}
