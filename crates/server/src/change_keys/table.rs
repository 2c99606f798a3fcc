//! The keys in memory: what a key stands for, and what is to be done about a request that brings it.
//!
//! A pure machine: the time is an argument.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::DateTime;
use uuid::Uuid;

use super::rows::{KeyState, StoredFailure, StoredKey};
use botops_core::error::{Code, Effect, Error};
use botops_http::{ChangeClaim, ChangeOutcome, KeptAnswer, KeyedChange};

/// How long a key stands for its change: 24 hours, in milliseconds.
const KEY_TIME_MS: i64 = 24 * 3_600 * 1_000;

/// Keys of one API key at a time. At a change every nine seconds, day and night, no key is refused.
const KEYS_MAX: usize = 10_000;

/// Bytes of keys and answers of one API key at a time.
const KEY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest answer that is kept, in bytes; those of changes have a few thousand.
const ANSWER_MAX: usize = 256 * 1024;

/// For so long a command of unknown effect is given to the bot again when its key comes again, in milliseconds.
///
/// A bot carries an id out once, but may remember only its last thousand commands; an API key that may send a hundred a
/// minute needs ten minutes for that.
const COMMAND_MEMORY_MS: i64 = 10 * 60 * 1_000;

/// How often expired keys are looked for, in milliseconds.
const FORGET_EVERY_MS: i64 = 10 * 60 * 1_000;

/// Operations whose own row is written in one transaction with the claim: their handler knows what a claim began, and
/// answers how that stands now.
const WITH_OWN_ROW: [&str; 3] = ["execute_workflow", "apply_config", "rollback_config"];

/// Commands to the bot, which carries an id out once.
const COMMANDS: [&str; 9] = [
    "pause",
    "resume",
    "cancel_orders",
    "flatten",
    "probe_session",
    "reauth",
    "reset_breaker",
    "halt",
    "shutdown",
];

/// Whether an operation is a command to the bot.
pub(super) fn is_command(operation: &str) -> bool {
    COMMANDS.contains(&operation)
}

/// What is to be done about a request that brings a key.
#[derive(Debug)]
pub(super) enum KeyStanding {
    /// The key is new and now stands for this change.
    New(Box<StoredKey>),
    /// There is no room for a further key, and a command is given all the same.
    Unkept(ChangeClaim),
    /// The operation itself knows what this claim did, or does it once.
    Again(ChangeClaim),
    /// It was answered.
    Replay(KeptAnswer),
    /// It is under way: method and path.
    Running(String),
    Refused(Error),
}

/// What the store has to keep of a change that ended.
#[derive(Debug)]
pub(super) struct EndedKey {
    /// `None` when the key is forgotten.
    pub row: Option<StoredKey>,
}

#[derive(Debug)]
struct KeyEntry {
    stored: StoredKey,
    /// The state before the change was asked for again.
    before: Option<KeyState>,
    /// How an earlier try ended, as became known while the change was under way.
    ended: Option<KeyState>,
}

/// The keys of one API key.
#[derive(Debug, Default)]
struct KeysOfActor {
    by_key: HashMap<String, KeyEntry>,
    bytes: usize,
}

/// The keys of all API keys.
#[derive(Debug, Default)]
pub(super) struct KeyTable {
    actors: HashMap<Arc<str>, KeysOfActor>,
    /// When expired keys were last looked for.
    looked_at: i64,
}

impl KeyTable {
    /// Takes in a key of an earlier run.
    pub(super) fn restore(&mut self, stored: StoredKey) {
        self.actors.entry(stored.actor.clone()).or_default().insert(stored);
    }

    /// What is to be done about this request. A key that is new stands for it from now on.
    pub(super) fn find(&mut self, change: &KeyedChange, now: i64) -> KeyStanding {
        let keys = self.actors.entry(change.actor.clone()).or_default();
        let is_over = |entry: &KeyEntry| is_expired(&entry.stored, now);
        if keys.by_key.get(&change.key).is_some_and(is_over) {
            keys.remove(&change.key);
        }
        let Some(entry) = keys.by_key.get_mut(&change.key) else { return keys.begin(change, now) };
        let stored = &mut entry.stored;
        let is_same = stored.digest.is_empty() || stored.digest == change.digest;
        if stored.operation != change.operation || !is_same {
            return KeyStanding::Refused(mismatch(stored));
        }
        let claim = ChangeClaim {
            key: stored.key.clone(),
            id: stored.claim.clone(),
            is_kept: stored.is_kept,
            is_again: true,
        };
        let has_own_row = WITH_OWN_ROW.contains(&&*stored.operation);
        let is_remembered = is_command(&stored.operation) && now - stored.begun_uptime_ms < COMMAND_MEMORY_MS;
        match &stored.state {
            KeyState::Running => return KeyStanding::Running(stored.call.clone()),
            KeyState::Answered(answer) if !has_own_row => return KeyStanding::Replay(answer.clone()),
            KeyState::Failed(failure) if !has_own_row => return KeyStanding::Refused(failure.to_error()),
            KeyState::Unknown(why) if !has_own_row && !is_remembered => {
                return KeyStanding::Refused(undecided(stored, why));
            }
            KeyState::Answered(_) | KeyState::Failed(_) | KeyState::Unknown(_) => {}
        }
        entry.before = Some(std::mem::replace(&mut stored.state, KeyState::Running));
        KeyStanding::Again(claim)
    }

    /// The store has not got this key.
    pub(super) fn mark_unkept(&mut self, actor: &Arc<str>, key: &str) {
        let entry = self.actors.get_mut(actor).and_then(|keys| keys.by_key.get_mut(key));
        entry.into_iter().for_each(|entry| entry.stored.is_kept = false);
    }

    /// Takes in what became of a change, and returns what the store is to keep; `None` when the claim is not known.
    pub(super) fn end(
        &mut self,
        actor: &Arc<str>,
        claim: &ChangeClaim,
        outcome: ChangeOutcome,
    ) -> Option<EndedKey> {
        let keys = self.actors.get_mut(actor)?;
        let mut entry = keys.remove(&claim.key)?;
        if entry.stored.claim != claim.id {
            keys.put(entry);
            return None;
        }
        let has_own_row = WITH_OWN_ROW.contains(&&*entry.stored.operation);
        let ended = entry.ended.take();
        let state = match (outcome, entry.before.take()) {
            // It changes nothing of what the first request did.
            (ChangeOutcome::Nothing, Some(before)) => ended.unwrap_or(before),
            (ChangeOutcome::Nothing, None) => return Some(EndedKey { row: None }),
            (ChangeOutcome::Answered(answer), _) => KeyState::of_answer(answer, has_own_row),
            (ChangeOutcome::Failed(error), _) => KeyState::Failed(StoredFailure::of(&error)),
            (ChangeOutcome::Unknown(_), _) if let Some(ended) = ended => ended,
            (ChangeOutcome::Unknown(Some(error)), _) => {
                let problem = error.problem("", chrono::Utc::now());
                KeyState::Unknown(format!("it ended with {}: {}", problem.error_code, problem.cause))
            }
            (ChangeOutcome::Unknown(None), _) => {
                KeyState::Unknown("it was given up before its end".to_owned())
            }
        };
        entry.stored.state = state;
        let row = entry.stored.clone();
        keys.put(entry);
        Some(EndedKey { row: Some(row) })
    }

    /// Takes in how a change of unknown effect ended, and returns what the store is to keep; `None` when that is not this key's,
    /// or its record says more already.
    pub(super) fn complete(
        &mut self,
        actor: &str,
        key: &str,
        operation: &str,
        state: KeyState,
    ) -> Option<StoredKey> {
        let keys = self.actors.get_mut(actor)?;
        let of_operation = |entry: &KeyEntry| entry.stored.operation == operation;
        if !keys.by_key.get(key).is_some_and(of_operation) {
            return None;
        }
        let mut entry = keys.remove(key)?;
        let row = match entry.stored.state {
            KeyState::Unknown(_) => {
                entry.stored.state = state;
                Some(entry.stored.clone())
            }
            // What it is answered now says more, unless that is no more than a doubt.
            KeyState::Running => {
                entry.ended = Some(state);
                None
            }
            KeyState::Answered(_) | KeyState::Failed(_) => None,
        };
        keys.put(entry);
        row
    }

    /// Forgets keys whose time is over, and names them for the store.
    pub(super) fn forget_expired(&mut self, now: i64) -> Vec<(Arc<str>, String)> {
        self.looked_at = now;
        let mut forgotten = Vec::new();
        for (actor, keys) in &mut self.actors {
            let over = keys.by_key.values().filter(|entry| is_expired(&entry.stored, now));
            let over: Vec<String> = over.map(|entry| entry.stored.key.clone()).collect();
            for key in over {
                keys.remove(&key);
                forgotten.push((actor.clone(), key));
            }
        }
        self.actors.retain(|_, keys| !keys.by_key.is_empty());
        forgotten
    }

    /// The same, every ten minutes.
    pub(super) fn forget_expired_sometimes(&mut self, now: i64) -> Vec<(Arc<str>, String)> {
        if now - self.looked_at < FORGET_EVERY_MS { Vec::new() } else { self.forget_expired(now) }
    }
}

impl KeysOfActor {
    fn begin(&mut self, change: &KeyedChange, now: i64) -> KeyStanding {
        let claim = Uuid::now_v7().to_string();
        if self.by_key.len() >= KEYS_MAX || self.bytes >= KEY_BYTES_MAX {
            if is_command(&change.operation) {
                let key = change.key.clone();
                return KeyStanding::Unkept(ChangeClaim { key, id: claim, is_kept: false, is_again: false });
            }
            return KeyStanding::Refused(self.full(now));
        }
        let stored = StoredKey {
            actor: change.actor.clone(),
            key: change.key.clone(),
            claim,
            operation: change.operation.clone(),
            call: change.call.clone(),
            digest: change.digest.clone(),
            begun_ms: chrono::Utc::now().timestamp_millis(),
            begun_uptime_ms: now,
            state: KeyState::Running,
            is_kept: true,
        };
        self.insert(stored.clone());
        KeyStanding::New(Box::new(stored))
    }

    fn full(&self, now: i64) -> Error {
        let oldest = self.by_key.values().map(|entry| entry.stored.begun_uptime_ms).min().unwrap_or(now);
        let wait = u64::try_from(oldest + KEY_TIME_MS - now).unwrap_or(1_000).max(1_000);
        Error::new(Code::RateLimited)
            .detail(format!(
                "this key of the API has {} idempotency keys of the last 24 hours, as many as are kept, and none is forgotten \
                 before its time",
                self.by_key.len()
            ))
            .remedy(
                "Send the change without an `Idempotency-Key`, or wait until the oldest key is 24 hours old (`Retry-After`). \
                 Commands to the bot are given all the same; their answer says that the key was not kept.",
            )
            .after_ms(wait)
    }

    fn insert(&mut self, stored: StoredKey) {
        self.put(KeyEntry { stored, before: None, ended: None });
    }

    fn put(&mut self, entry: KeyEntry) {
        self.bytes += size_of_key(&entry.stored);
        self.by_key.insert(entry.stored.key.clone(), entry);
    }

    fn remove(&mut self, key: &str) -> Option<KeyEntry> {
        let entry = self.by_key.remove(key)?;
        self.bytes = self.bytes.saturating_sub(size_of_key(&entry.stored));
        Some(entry)
    }
}

impl KeyState {
    fn of_answer(answer: KeptAnswer, has_own_row: bool) -> Self {
        if has_own_row {
            // The handler answers how it stands now; only that there was an answer is kept.
            return Self::Answered(KeptAnswer {
                status: answer.status,
                headers: Vec::new(),
                body: "".into(),
            });
        }
        if answer.body.len() <= ANSWER_MAX {
            return Self::Answered(answer);
        }
        let cause = format!(
            "the first request under this key was carried out; its answer of {} bytes was too large to be kept",
            answer.body.len()
        );
        let code = Code::DeadlineExceeded.row().code.to_owned();
        let context = serde_json::Map::new();
        Self::Failed(StoredFailure { code, cause, effect: Effect::Applied, context, remedy: None })
    }
}

/// A key under way never expires.
fn is_expired(stored: &StoredKey, now: i64) -> bool {
    now - stored.begun_uptime_ms >= KEY_TIME_MS && !matches!(stored.state, KeyState::Running)
}

fn size_of_key(stored: &StoredKey) -> usize {
    /// About what the other members take.
    const BESIDE: usize = 256;
    let state = match &stored.state {
        KeyState::Answered(answer) => answer.body.len(),
        KeyState::Failed(failure) => failure.cause.len(),
        KeyState::Unknown(why) => why.len(),
        KeyState::Running => 0,
    };
    BESIDE + stored.key.len() + stored.call.len() + state
}

fn begun_at(stored: &StoredKey) -> String {
    let at = DateTime::from_timestamp_millis(stored.begun_ms).unwrap_or_default();
    at.format("%F %H:%M:%S UTC").to_string()
}

fn mismatch(stored: &StoredKey) -> Error {
    Error::new(Code::IdempotencyMismatch)
        .detail(format!("this key stands for another request, {} of {}", stored.call, begun_at(stored)))
        .context("first_call", stored.call.clone())
}

fn undecided(stored: &StoredKey, why: &str) -> Error {
    Error::new(Code::DeadlineExceeded)
        .detail(format!(
            "what the first request under this key did is not known ({} of {}): {why}",
            stored.call,
            begun_at(stored)
        ))
        .remedy(
            "Read what it would have changed, and the events. This key never acts again within 24 hours: if the change is \
             still wanted then, send it with a new key.",
        )
        .effect(Effect::Unknown)
}

/// The failure of a repetition whose first is still under way.
pub(super) fn still_running(call: &str) -> Error {
    Error::new(Code::DeadlineExceeded)
        .detail(format!("the first request under this key ({call}) is still under way"))
        .remedy("Send the same again with the same key: it waits for the answer of the first, and nothing is done twice.")
        .effect(Effect::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, operation: &str, digest: &str) -> KeyedChange {
        KeyedChange {
            actor: "ops".into(),
            key: key.to_owned(),
            operation: operation.to_owned(),
            call: format!("POST /{operation}"),
            digest: digest.to_owned(),
        }
    }

    fn claim_of(standing: KeyStanding) -> ChangeClaim {
        match standing {
            KeyStanding::New(key) => {
                ChangeClaim { key: key.key, id: key.claim, is_kept: true, is_again: false }
            }
            KeyStanding::Again(claim) | KeyStanding::Unkept(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    fn answer(bytes: usize) -> ChangeOutcome {
        ChangeOutcome::Answered(KeptAnswer {
            status: 200,
            headers: Vec::new(),
            body: vec![b'x'; bytes].into(),
        })
    }

    #[test]
    fn a_key_stands_for_one_change_until_its_time_is_over() {
        let (mut table, actor) = (KeyTable::default(), Arc::from("ops"));
        let silence = change("k", "add_health_silence", "d");
        let claim = claim_of(table.find(&silence, 0));
        assert!(matches!(table.find(&silence, 1), KeyStanding::Running(_)));
        table.end(&actor, &claim, answer(2));
        assert!(matches!(table.find(&silence, KEY_TIME_MS - 1), KeyStanding::Replay(_)));
        for other in [change("k", "add_health_silence", "e"), change("k", "pause", "d")] {
            let KeyStanding::Refused(error) = table.find(&other, 2) else { panic!("it is another request") };
            assert_eq!(error.code(), Code::IdempotencyMismatch);
        }
        assert_ne!(
            claim_of(table.find(&silence, KEY_TIME_MS)).id,
            claim.id,
            "a day later it is a new use of the key"
        );
    }

    #[test]
    fn what_did_nothing_frees_its_key_unless_an_earlier_try_may_have_acted() {
        let (mut table, actor) = (KeyTable::default(), Arc::from("ops"));
        let pause = change("k", "pause", "d");
        let claim = claim_of(table.find(&pause, 0));
        assert!(table.end(&actor, &claim, ChangeOutcome::Nothing).is_some_and(|ended| ended.row.is_none()));
        let claim = claim_of(table.find(&pause, 1));
        table.end(&actor, &claim, ChangeOutcome::Unknown(None));
        // The bot carries an id out once, so it is asked again; what it refuses now says nothing of the first try.
        let again = claim_of(table.find(&pause, 2));
        assert_eq!(again.id, claim.id);
        table.end(&actor, &again, ChangeOutcome::Nothing);
        let KeyStanding::Refused(error) = table.find(&pause, COMMAND_MEMORY_MS + 1) else {
            panic!("the bot may have forgotten it")
        };
        assert_eq!(error.problem("", chrono::Utc::now()).effect, Effect::Unknown);
    }

    #[test]
    fn an_ending_that_became_known_later_is_what_a_repetition_gets() {
        let (mut table, actor) = (KeyTable::default(), Arc::from("ops"));
        let pause = change("k", "pause", "d");
        let kept = |body: &'static str| {
            KeyState::Answered(KeptAnswer { status: 200, headers: Vec::new(), body: body.into() })
        };
        let claim = claim_of(table.find(&pause, 0));
        table.end(&actor, &claim, ChangeOutcome::Unknown(None));
        assert!(table.complete("another", "k", "pause", kept("late")).is_none(), "it is another's key");
        assert!(table.complete("ops", "k", "flatten", kept("late")).is_none(), "it is another command");
        // Nobody can tell: the bot may be asked again as long as it remembers, and then the reason is told.
        let still = KeyState::Unknown("the bot was started again".to_owned());
        assert!(table.complete("ops", "k", "pause", still).is_some());
        let KeyStanding::Refused(error) = table.find(&pause, COMMAND_MEMORY_MS + 1) else {
            panic!("it is not known")
        };
        let problem = error.problem("", chrono::Utc::now());
        assert!(problem.cause.contains("started again") && problem.effect == Effect::Unknown, "{problem:?}");
        // Known at last, also when the bot may have forgotten the command; and said once.
        assert!(table.complete("ops", "k", "pause", kept("late")).is_some());
        assert!(
            matches!(table.find(&pause, COMMAND_MEMORY_MS + 1), KeyStanding::Replay(answer) if answer.body == "late")
        );
        assert!(table.complete("ops", "k", "pause", kept("another")).is_none());
        assert!(matches!(table.find(&pause, 3), KeyStanding::Replay(answer) if answer.body == "late"));
    }

    #[test]
    fn an_ending_that_comes_while_the_same_is_asked_again_counts_where_the_new_answer_proves_nothing() {
        let kept = |body: &'static str| KeptAnswer { status: 200, headers: Vec::new(), body: body.into() };
        for (outcome, expected) in [
            (ChangeOutcome::Nothing, "late"),
            (ChangeOutcome::Unknown(None), "late"),
            (ChangeOutcome::Answered(kept("again")), "again"),
        ] {
            let (mut table, actor) = (KeyTable::default(), Arc::from("ops"));
            let pause = change("k", "pause", "d");
            let claim = claim_of(table.find(&pause, 0));
            table.end(&actor, &claim, ChangeOutcome::Unknown(None));
            let again = claim_of(table.find(&pause, 1));
            assert!(table.complete("ops", "k", "pause", KeyState::Answered(kept("late"))).is_none());
            assert!(matches!(table.find(&pause, 2), KeyStanding::Running(_)));
            table.end(&actor, &again, outcome);
            assert!(matches!(table.find(&pause, 3), KeyStanding::Replay(answer) if answer.body == expected));
        }
    }

    #[test]
    fn beyond_its_limits_a_new_key_is_refused_and_a_command_is_given_all_the_same() {
        let (mut table, actor) = (KeyTable::default(), Arc::from("ops"));
        for number in 0..KEYS_MAX {
            let claim = claim_of(table.find(&change(&number.to_string(), "add_health_silence", "d"), 0));
            table.end(&actor, &claim, answer(2));
        }
        let KeyStanding::Refused(error) = table.find(&change("one more", "add_health_silence", "d"), 5)
        else {
            panic!("there is no room")
        };
        assert_eq!((error.code(), error.retry_after_ms()), (Code::RateLimited, Some(86_399_995)));
        assert!(
            matches!(table.find(&change("one more", "pause", "d"), 5), KeyStanding::Unkept(claim) if !claim.is_kept)
        );
        assert!(
            matches!(table.find(&change("0", "add_health_silence", "d"), 5), KeyStanding::Replay(_)),
            "the oldest stays"
        );
        let other = KeyedChange { actor: "another".into(), ..change("one more", "add_health_silence", "d") };
        assert!(matches!(table.find(&other, 5), KeyStanding::New(_)), "each API key has its own");
        // By bytes.
        let (mut table, actor) = (KeyTable::default(), Arc::from("ops"));
        for number in 0..KEY_BYTES_MAX / ANSWER_MAX {
            let claim = claim_of(table.find(&change(&number.to_string(), "add_health_silence", "d"), 0));
            table.end(&actor, &claim, answer(ANSWER_MAX));
        }
        assert!(matches!(
            table.find(&change("one more", "add_health_silence", "d"), 5),
            KeyStanding::Refused(_)
        ));
        assert_eq!(table.forget_expired(KEY_TIME_MS).len(), KEY_BYTES_MAX / ANSWER_MAX);
        assert!(matches!(
            table.find(&change("one more", "add_health_silence", "d"), KEY_TIME_MS),
            KeyStanding::New(_)
        ));
    }

    #[test]
    fn an_answer_that_is_too_large_is_told_and_not_repeated() {
        let (mut table, actor) = (KeyTable::default(), Arc::from("ops"));
        let silence = change("k", "add_health_silence", "d");
        let claim = claim_of(table.find(&silence, 0));
        table.end(&actor, &claim, answer(ANSWER_MAX + 1));
        let KeyStanding::Refused(error) = table.find(&silence, 1) else { panic!("it is not kept") };
        assert_eq!(error.problem("", chrono::Utc::now()).effect, Effect::Applied);
    }

    #[test]
    fn what_has_a_row_of_its_own_is_answered_by_its_handler() {
        let (mut table, actor) = (KeyTable::default(), Arc::from("ops"));
        let apply = change("k", "apply_config", "d");
        let claim = claim_of(table.find(&apply, 0));
        table.end(&actor, &claim, answer(100));
        assert_eq!(claim_of(table.find(&apply, KEY_TIME_MS - 1)).id, claim.id);
    }
}
