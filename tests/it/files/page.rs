//! The page `docs/files.md`: its tables are made of the rows that the tests try.

use std::fmt::Write as _;
use std::path::Path;

use super::damage::Damage;
use super::{bot_folder, botops_folder};

/// When the damage comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before the start.
    Start,
    /// While the program runs.
    Running,
}

/// What goes on, and what does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything.
    GoesOn,
    /// The bot closes its positions and opens none; the gate that says so begins with this.
    NotOpened(&'static str),
    /// The bot runs, knows of no position that it could close, and opens none.
    NotProven(&'static str),
    /// The bot sends no order, exits included, until a person has decided: what was lost may have been a halt.
    Halted(&'static str),
    /// botops serves every read and refuses changes, or those of the config.
    Serves,
    /// The process says one sentence and ends.
    Refuses,
}

impl Outcome {
    fn sentence(self) -> String {
        match self {
            Self::GoesOn => "all goes on".to_owned(),
            Self::NotOpened(gate) => format!("nothing is opened (`{gate}`), positions are closed as ever"),
            Self::NotProven(gate) => {
                format!("nothing is opened (`{gate}`), no position can be proven, amounts are null")
            }
            Self::Halted(gate) => format!("no order passes (`{gate}`) until the breaker is reset"),
            Self::Serves => "reads are served, changes are refused".to_owned(),
            Self::Refuses => "it does not start".to_owned(),
        }
    }
}

/// What happens when a file is damaged in one of these ways.
#[derive(Debug)]
pub(super) struct FileRow {
    pub file: &'static str,
    pub damages: &'static [Damage],
    pub moment: Moment,
    pub outcome: Outcome,
    /// What must be said, in these words.
    pub told: &'static [&'static str],
}

fn table(rows: &[FileRow]) -> String {
    let mut text = String::from("| file | damage | what goes on | it says |\n|---|---|---|---|\n");
    for row in rows {
        let damages: Vec<&str> = row.damages.iter().map(|damage| damage.word()).collect();
        let when = if row.moment == Moment::Start { "at the start" } else { "while it runs" };
        let told: Vec<String> = row.told.iter().map(|part| format!("`{part}`")).collect();
        let told = if told.is_empty() { "nothing".to_owned() } else { told.join(" … ") };
        let (file, damages, outcome) = (row.file, damages.join(", "), row.outcome.sentence());
        writeln!(text, "| `{file}` | {when}: {damages} | {outcome} | {told} |").unwrap();
    }
    text
}

#[test]
fn the_page_of_files_says_what_the_tests_try() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/files.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut wanted = page.clone();
    for (name, rows) in [("bot", bot_folder::ROWS), ("botops", botops_folder::ROWS)] {
        let (begin, end) = (format!("<!-- rows of {name} -->\n"), format!("<!-- end of {name} -->"));
        let (before, rest) = wanted.split_once(&begin).expect("the page has the table");
        let (_, after) = rest.split_once(&end).expect("the table ends");
        for row in rows {
            let is_told = before.contains(row.file) || after.contains(row.file);
            assert!(is_told, "{}: the page says what it is", row.file);
        }
        wanted = format!("{before}{begin}{}{end}{after}", table(rows));
    }
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(page == wanted, "docs/files.md differs from what the tests try: UPDATE_DOCUMENTS=1");
}
