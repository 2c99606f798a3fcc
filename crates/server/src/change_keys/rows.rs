//! The rows of the store.

use std::sync::Arc;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use botops_core::error::{Code, Effect, Error};
use botops_http::KeptAnswer;

/// A key with what became of it.
#[derive(Debug, Clone)]
pub(super) struct StoredKey {
    pub actor: Arc<str>,
    pub key: String,
    /// The id of this use of the key.
    pub claim: String,
    pub operation: String,
    /// Method and path, for people.
    pub call: String,
    /// Empty for a key of an earlier version, whose request is not known any more.
    pub digest: String,
    /// By the wall clock, in milliseconds since 1970.
    pub begun_ms: i64,
    /// By the machine's own clock, in milliseconds since it started; negative for a key from before that.
    pub begun_uptime_ms: i64,
    pub state: KeyState,
    /// False while it is known that the store does not have it.
    pub is_kept: bool,
}

/// What became of the change under a key.
#[derive(Debug, Clone)]
pub(super) enum KeyState {
    /// It is under way in this process.
    Running,
    /// It ended, and this was answered.
    Answered(KeptAnswer),
    /// It failed after it had changed something.
    Failed(StoredFailure),
    /// What it did is not known, and why.
    Unknown(String),
}

/// A failure as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredFailure {
    pub code: String,
    pub cause: String,
    pub effect: Effect,
    #[serde(default)]
    pub context: Map<String, Value>,
    /// What to do, where that is another thing than for the code in general.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// An answer in the form of the store.
#[derive(Serialize, Deserialize)]
struct StoredAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Why a key that was begun by an earlier run has no answer.
pub(super) const KILLED: &str = "botops was killed or stopped before it ended";

impl StoredFailure {
    pub(super) fn of(error: &Error) -> Self {
        let problem = error.problem("", chrono::Utc::now());
        let (code, cause) = (problem.error_code, problem.cause);
        Self { code, cause, effect: problem.effect, context: problem.context, remedy: None }
    }

    /// The same with the remedy that this failure names itself.
    pub(super) fn with_remedy(error: &Error) -> Self {
        let remedy = error.problem("", chrono::Utc::now()).remediation;
        Self { remedy: Some(remedy), ..Self::of(error) }
    }

    /// The failure, to be answered again.
    pub(super) fn to_error(&self) -> Error {
        let code = Code::ALL.iter().copied().find(|code| code.row().code == self.code);
        let error = Error::new(code.unwrap_or(Code::Internal)).detail(self.cause.clone()).effect(self.effect);
        let error = match &self.remedy {
            Some(remedy) => error.remedy(remedy.clone()),
            None => error,
        };
        self.context.iter().fold(error, |error, (name, value)| error.context(name, value.clone()))
    }
}

/// Writes a key with its state, in place of an earlier one.
pub(super) fn put_key(connection: &Connection, key: &StoredKey, boot_id: &str) -> rusqlite::Result<()> {
    let text = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
    let (state, answer) = match &key.state {
        KeyState::Running => ("running", None),
        KeyState::Answered(answer) => {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            let stored = StoredAnswer { status: answer.status, headers: answer.headers.clone(), body };
            ("answered", Some(text(serde_json::to_string(&stored))))
        }
        KeyState::Failed(failure) => ("failed", Some(text(serde_json::to_string(failure)))),
        KeyState::Unknown(why) => ("unknown", Some(why.clone())),
    };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO change_keys(actor_key, idem_key, claim, operation, call, digest, begun_ms,
                                                boot_id, uptime_ms, state, answer_json)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            &*key.actor, key.key, key.claim, key.operation, key.call, key.digest, key.begun_ms, boot_id,
            key.begun_uptime_ms, state, answer,
        ])?;
    Ok(())
}

/// Forgets a key.
pub(super) fn delete_key(connection: &Connection, actor: &str, key: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM change_keys WHERE actor_key = ?1 AND idem_key = ?2")?
        .execute([actor, key])?;
    Ok(())
}

/// Every key, with the start of the machine and the time since then at which it was begun.
pub(super) fn load_keys(connection: &Connection) -> rusqlite::Result<Vec<(StoredKey, String, i64)>> {
    let mut statement = connection.prepare(
        "SELECT actor_key, idem_key, claim, operation, call, digest, begun_ms, boot_id, uptime_ms, state, answer_json
         FROM change_keys",
    )?;
    let rows = statement.query_map([], |row| {
        let actor: String = row.get(0)?;
        let (state, answer): (String, Option<String>) = (row.get(9)?, row.get(10)?);
        let uptime_ms: i64 = row.get(8)?;
        let key = StoredKey {
            actor: actor.into(),
            key: row.get(1)?,
            claim: row.get(2)?,
            operation: row.get(3)?,
            call: row.get(4)?,
            digest: row.get(5)?,
            begun_ms: row.get(6)?,
            begun_uptime_ms: uptime_ms,
            state: read_state(&state, answer.unwrap_or_default()),
            is_kept: true,
        };
        Ok((key, row.get(7)?, uptime_ms))
    })?;
    rows.collect()
}

fn read_state(state: &str, answer: String) -> KeyState {
    match state {
        "answered" => match serde_json::from_str::<StoredAnswer>(&answer) {
            Ok(StoredAnswer { status, headers, body }) => {
                KeyState::Answered(KeptAnswer { status, headers, body: body.into() })
            }
            Err(_) => KeyState::Unknown("its stored answer cannot be read".to_owned()),
        },
        "failed" => match serde_json::from_str(&answer) {
            Ok(failure) => KeyState::Failed(failure),
            Err(_) => KeyState::Unknown("its stored answer cannot be read".to_owned()),
        },
        "unknown" => KeyState::Unknown(answer),
        _ => KeyState::Unknown(KILLED.to_owned()),
    }
}
