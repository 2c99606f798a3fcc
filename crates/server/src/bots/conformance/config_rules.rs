//! The config that the bot says it runs.

use super::findings::ConformanceFinding;
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{ask, check_pace, status_finding};
use crate::bots::calls::READ_DEADLINE;
use crate::bots::reading;
use crate::bots::sanitise;
use crate::bots::transport::BotConnection;
use botops_contract::{ConfigState, Hello, RunningDocument, VersionRef};
use botops_core::text::sha256_hex;

const CALL: &str = "GET config";
const DOCUMENT: &str = "GET config/document";
pub(super) const SCHEMA: &str = "GET config/schema";

/// What is wrong with the schema that a bot brings, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaComplaint {
    /// JSON pointer into the schema; empty for the whole of it.
    pub pointer: String,
    /// What is wrong there and what to do, as sentences.
    pub said: String,
}

/// What in a schema can be worked with and could be better.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaHints {
    /// The fields of which it does not say what a change does to the risk, as pointers into a document.
    pub undeclared: Vec<String>,
    /// Words that are nearly those of botops, which passes over them.
    pub unknown_marks: Vec<SchemaComplaint>,
}

/// Reads a config schema as botops does; an error says why botops would leave the config alone.
pub type SchemaReader = fn(&str) -> Result<SchemaHints, SchemaComplaint>;

/// Fields without a declared risk that are named; more are counted.
const MOST_UNDECLARED: usize = 8;

/// Misspelt words that are named one by one.
const MOST_MARKS: usize = 20;

/// Reads the schema that the bot brings, and the document that it runs.
pub(super) async fn check_own_schema(
    connection: &BotConnection,
    read_schema: SchemaReader,
    found: &mut Vec<ConformanceFinding>,
) {
    let text = read_text(connection, SCHEMA, "config/schema", found).await;
    match text.map(|text| read_schema(&text)) {
        Some(Err(complaint)) => {
            let finding = ConformanceFinding::fault("config_schema", SCHEMA, &complaint.said);
            found.push(finding.at(&complaint.pointer));
        }
        Some(Ok(SchemaHints { undeclared, unknown_marks })) => {
            found.extend(unknown_marks.iter().take(MOST_MARKS).map(unknown_mark));
            if !undeclared.is_empty() {
                found.push(undeclared_risk(&undeclared));
            }
        }
        None => {}
    }
    let Some(text) = read_text(connection, DOCUMENT, "config/document", found).await else { return };
    match serde_json::from_str::<RunningDocument>(&text) {
        Ok(document) if document.running.sha256 == sha256_hex(&document.document) => {}
        Ok(document) => {
            let remedy = "Give the document's exact bytes as a text, and their SHA-256: by it botops knows that it has what runs.";
            let finding = ConformanceFinding::fault("document_hash", DOCUMENT, remedy).at("/running/sha256");
            found.push(finding.got(&document.running.sha256).expected(&sha256_hex(&document.document)));
        }
        Err(_) => {
            let remedy = "Answer with `running`, the version and its SHA-256, and with `document`, the whole document as a text.";
            found.push(ConformanceFinding::fault("document_form", DOCUMENT, remedy));
        }
    }
}

fn unknown_mark(complaint: &SchemaComplaint) -> ConformanceFinding {
    let remedy = format!("{} Until then the field is taken as one that does not say it.", complaint.said);
    ConformanceFinding::warning("schema_word_unknown", SCHEMA, &remedy).at(&complaint.pointer)
}

fn undeclared_risk(fields: &[String]) -> ConformanceFinding {
    let named: Vec<&str> = fields.iter().take(MOST_UNDECLARED).map(String::as_str).collect();
    let rest = fields.len().saturating_sub(named.len());
    let more = if rest > 0 { format!(", and {rest} more") } else { String::new() };
    let remedy = format!(
        "Of these fields it is not declared what a change does to the risk, so that every change of them counts as raising it: {}{more}. Declare it in the field: `\"x-risk\": {{\"direction\": \"up\", \"class\": \"low\"}}`; `direction` is what a higher value does to the risk (`up`, `down`, `both`, `none`), `class` is `high` for what protects money.",
        named.join(", ")
    );
    ConformanceFinding::hint("risk_undeclared", SCHEMA, &remedy).got("no `x-risk`")
}

async fn read_text(
    connection: &BotConnection,
    call: &str,
    path: &str,
    found: &mut Vec<ConformanceFinding>,
) -> Option<String> {
    let answered = ask(call, connection.get(path), READ_DEADLINE).await;
    let answer = answered.map_err(|finding| found.push(finding)).ok()?;
    if let Some(finding) = status_finding(call, &answer.answer) {
        found.push(finding);
        return None;
    }
    found.extend(check_pace(call, &answer, false));
    let text = String::from_utf8(answer.answer.body);
    let remedy = "Encode the answer as UTF-8.";
    text.map_err(|_| found.push(ConformanceFinding::fault("not_utf8", call, remedy))).ok()
}

/// Reads what the bot runs.
pub(super) async fn read_config(
    connection: &BotConnection,
    found: &mut Vec<ConformanceFinding>,
) -> Option<ConfigState> {
    let answered = ask(CALL, connection.get("config"), READ_DEADLINE).await;
    let answer = answered.map_err(|finding| found.push(finding)).ok()?;
    if let Some(finding) = status_finding(CALL, &answer.answer) {
        found.push(finding);
        return None;
    }
    found.extend(check_pace(CALL, &answer, false));
    match reading::read_whole::<ConfigState>(CALL, &answer.answer.body, &[]) {
        Ok(read) => {
            found.extend(read.unreadable.iter().map(fault_of));
            let mut state = read.value;
            sanitise::config_state(&mut state);
            Some(state)
        }
        Err(why) => {
            found.extend(faults_of_answer(CALL, &why));
            None
        }
    }
}

/// What is wrong with a config state that was read.
pub(super) fn check_config(state: &ConfigState, hello: &Hello) -> Vec<ConformanceFinding> {
    let mut found = Vec::new();
    if hello.boot_epoch.as_ref().is_some_and(|epoch| *epoch != state.boot_epoch) {
        let remedy = "Name the boot epoch of `hello` here as well: a trial belongs to a start of the bot.";
        found.push(ConformanceFinding::fault("boot_epoch_differs", CALL, remedy).at("/boot_epoch"));
    }
    let is_hash = |version: &VersionRef| {
        version.sha256.len() == 64
            && version.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    for (version, place) in [(&state.running, "/running/sha256"), (&state.committed, "/committed/sha256")] {
        if !is_hash(version) {
            let remedy = "Give the SHA-256 of the document's exact bytes, as 64 lower-case hexadecimal digits: by it botops knows what runs.";
            found.push(ConformanceFinding::fault("sha256_form", CALL, remedy).at(place).got(&version.sha256));
        }
    }
    found
}
