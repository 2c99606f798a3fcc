//! Idempotency keys: what each stands for and what was answered, for 24 hours and over a restart.
//!
//! A key is made durable before its change is performed, and its answer before it is given. So after a kill a key either
//! replays its answer or says that what it began is not known; it never acts twice. Two kinds of operations know more
//! than that and are asked again: those whose own row is written together with the key's claim (workflow runs, config
//! transactions), and commands of unknown effect, for as long as every bot remembers their ids. How such a command ended is
//! followed up by `bots`, which completes the key's record ([`ChangeKeys::complete`]).
//!
//! A command to the bot is never held up by the disk: where its key cannot be kept, it is given all the same, and its
//! answer says so. Everything else is refused then.

mod rows;
mod table;
mod uptime;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use botops_core::error::Error;
use botops_http::{ChangeClaim, ChangeOutcome, KeptAnswer, KeyDecision, KeyedChange, KeyedChanges};

use self::rows::{KeyState, StoredFailure, StoredKey};
use self::table::{KeyStanding, KeyTable, is_command, still_running};
use self::uptime::MachineClock;
use crate::store::Store;

/// How long a command waits for its key to be durable, and an answer for its own record.
const KEEP_TIME: Duration = Duration::from_millis(250);

/// How long a repetition waits for the first to end. Shorter than the time that a call from inside the process has.
const RUNNING_WAIT: Duration = Duration::from_secs(20);

/// The idempotency keys of all API keys; cloning is cheap.
#[derive(Debug, Clone)]
pub struct ChangeKeys {
    inner: Arc<ChangeKeysInner>,
}

#[derive(Debug)]
struct ChangeKeysInner {
    store: Store,
    clock: MachineClock,
    table: Mutex<KeyTable>,
    /// Changes whenever a change ends.
    ended: watch::Sender<u64>,
    running_wait: Duration,
}

impl ChangeKeys {
    /// Reads the keys that earlier runs of botops kept. Those that had begun are of unknown effect.
    ///
    /// # Errors
    /// [`StoreUnavailable`](botops_core::error::Code::StoreUnavailable).
    pub async fn open(store: Store) -> Result<Self, Error> {
        let clock = MachineClock::read();
        let now = clock.now();
        let stored = store.read(|connection| Ok(rows::load_keys(connection)?)).await?;
        let mut table = KeyTable::default();
        let mut dated_anew = Vec::new();
        for (mut key, boot_id, uptime_ms) in stored {
            let age = clock.age_of(&boot_id, uptime_ms, key.begun_ms);
            key.begun_uptime_ms = now - age.max(0);
            if age < 0 {
                // From a clock that was ahead: it counts from now, or it would be kept until that time comes.
                key.begun_ms = chrono::Utc::now().timestamp_millis();
                dated_anew.push(key.clone());
            }
            table.restore(key);
        }
        let forgotten = table.forget_expired(now);
        let keys = Self {
            inner: Arc::new(ChangeKeysInner {
                store,
                clock,
                table: Mutex::new(table),
                ended: watch::Sender::new(0),
                running_wait: RUNNING_WAIT,
            }),
        };
        dated_anew.into_iter().for_each(|key| keys.post(key));
        keys.post_forgotten(forgotten);
        Ok(keys)
    }

    /// The keeper for the guard and for calls from inside the process.
    pub fn keyed_changes(&self) -> KeyedChanges {
        let (decider, ender, abandoner) = (self.clone(), self.clone(), self.clone());
        KeyedChanges::new(
            Box::new(move |change| {
                let keys = decider.clone();
                Box::pin(async move { keys.decide(change).await })
            }),
            Box::new(move |actor, claim, outcome| {
                let keys = ender.clone();
                Box::pin(async move { keys.end(&actor, &claim, outcome).await })
            }),
            Box::new(move |actor, claim| abandoner.abandon(&actor, &claim)),
        )
    }

    /// The change of unknown effect under this key ended so, as became known later: from now on a repetition is answered by
    /// that. Nothing happens when its record says more already, or when the key is not known.
    pub fn complete(&self, actor: &str, key: &str, operation: &str, ending: LateEnding) {
        let state = match ending {
            LateEnding::Done(answer) => KeyState::Answered(answer),
            LateEnding::NothingDone(error) => KeyState::Failed(StoredFailure::with_remedy(&error)),
            LateEnding::StillUnknown(why) => KeyState::Unknown(why),
        };
        let row = self.lock().complete(actor, key, operation, state);
        row.into_iter().for_each(|row| self.post(row));
    }

    async fn decide(&self, change: KeyedChange) -> Result<KeyDecision, Error> {
        let limit = tokio::time::Instant::now() + self.inner.running_wait;
        loop {
            let mut ended = self.inner.ended.subscribe();
            let (standing, forgotten) = {
                let now = self.inner.clock.now();
                let mut table = self.lock();
                let forgotten = table.forget_expired_sometimes(now);
                (table.find(&change, now), forgotten)
            };
            self.post_forgotten(forgotten);
            match standing {
                KeyStanding::New(key) => return self.keep(*key).await.map(KeyDecision::Perform),
                KeyStanding::Unkept(claim) | KeyStanding::Again(claim) => {
                    return Ok(KeyDecision::Perform(claim));
                }
                KeyStanding::Replay(answer) => return Ok(KeyDecision::Replay(answer)),
                KeyStanding::Refused(error) => return Err(error),
                KeyStanding::Running(call) => {
                    if tokio::time::timeout_at(limit, ended.changed()).await.is_err() {
                        return Err(still_running(&call));
                    }
                }
            }
        }
    }

    /// Makes a new key durable. A command does not wait long for that.
    async fn keep(&self, key: StoredKey) -> Result<ChangeClaim, Error> {
        let mut claim =
            ChangeClaim { key: key.key.clone(), id: key.claim.clone(), is_kept: true, is_again: false };
        let mut unkept = UnkeptKey { keys: self, key: Some(key.clone()) };
        let (boot_id, row) = (self.inner.clock.boot_id.clone(), key.clone());
        let write = self.inner.store.write(move |connection| Ok(rows::put_key(connection, &row, &boot_id)?));
        if is_command(&key.operation) {
            claim.is_kept = matches!(tokio::time::timeout(KEEP_TIME, write).await, Ok(Ok(())));
        } else {
            write.await.map_err(|error| {
                error.detail("the idempotency key could not be stored, so nothing was done")
            })?;
        }
        unkept.key = None;
        if !claim.is_kept {
            tracing::warn!(
                operation = key.operation,
                "a command is given although its idempotency key could not be stored in time"
            );
            self.lock().mark_unkept(&key.actor, &key.key);
        }
        Ok(claim)
    }

    async fn end(&self, actor: &Arc<str>, claim: &ChangeClaim, outcome: ChangeOutcome) {
        let Some(written) = self.record(actor, claim, outcome) else { return };
        // Whoever gets the answer may send the same again at once, also to the next run of botops.
        let _ = tokio::time::timeout(KEEP_TIME, written).await;
    }

    /// What a change did that was given up before its end is not known.
    fn abandon(&self, actor: &Arc<str>, claim: &ChangeClaim) {
        drop(self.record(actor, claim, ChangeOutcome::Unknown(None)));
    }

    /// Takes in how a change ended and queues the write; the receiver resolves when that is durable or failed.
    fn record(
        &self,
        actor: &Arc<str>,
        claim: &ChangeClaim,
        outcome: ChangeOutcome,
    ) -> Option<tokio::sync::oneshot::Receiver<()>> {
        let row = self.lock().end(actor, claim, outcome);
        self.inner.ended.send_modify(|count| *count = count.wrapping_add(1));
        let row = row?;
        let (told, written) = tokio::sync::oneshot::channel();
        let boot_id = self.inner.clock.boot_id.clone();
        let (actor, key) = (actor.clone(), claim.key.clone());
        self.inner.store.post_and_tell(
            "what became of an idempotency key",
            move |connection| match row.row {
                Some(row) => Ok(rows::put_key(connection, &row, &boot_id)?),
                None => Ok(rows::delete_key(connection, &actor, &key)?),
            },
            // The receiver is gone when nobody waits any more.
            move |_| {
                let _ = told.send(());
            },
        );
        Some(written)
    }

    fn post(&self, key: StoredKey) {
        let boot_id = self.inner.clock.boot_id.clone();
        self.inner
            .store
            .post("an idempotency key", move |connection| Ok(rows::put_key(connection, &key, &boot_id)?));
    }

    fn post_forgotten(&self, names: Vec<(Arc<str>, String)>) {
        if names.is_empty() {
            return;
        }
        self.inner.store.post("idempotency keys whose time is over", move |connection| {
            for (actor, key) in &names {
                rows::delete_key(connection, actor, key)?;
            }
            Ok(())
        });
    }

    fn lock(&self) -> MutexGuard<'_, KeyTable> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a change ended whose effect was not known when it was answered.
#[derive(Debug)]
pub enum LateEnding {
    /// It was made: what is answered to a repetition.
    Done(KeptAnswer),
    /// It was not made, and never will be under this key: the failure that says so.
    NothingDone(Error),
    /// Nobody can tell, and why.
    StillUnknown(String),
}

/// A new key until it is durable. When that fails or is given up, nothing was done under it.
struct UnkeptKey<'a> {
    keys: &'a ChangeKeys,
    key: Option<StoredKey>,
}

impl Drop for UnkeptKey<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let claim = ChangeClaim { key: key.key, id: key.claim, is_kept: false, is_again: false };
            drop(self.keys.record(&key.actor, &claim, ChangeOutcome::Nothing));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use botops_core::error::{Code, Effect};

    fn change(key: &str, operation: &str) -> KeyedChange {
        KeyedChange {
            actor: "ops".into(),
            key: key.to_owned(),
            operation: operation.to_owned(),
            call: "POST /x".to_owned(),
            digest: "d".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_repetition_waits_for_the_first_and_then_says_that_it_is_still_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        let mut keys = ChangeKeys::open(store).await.unwrap();
        Arc::get_mut(&mut keys.inner).unwrap().running_wait = Duration::from_millis(50);
        let silence = change("k", "add_health_silence");
        assert!(matches!(keys.decide(silence.clone()).await, Ok(KeyDecision::Perform(_))));
        let error = keys.decide(silence).await.unwrap_err();
        let problem = error.problem("", chrono::Utc::now());
        assert_eq!((error.code(), problem.effect), (Code::DeadlineExceeded, Effect::Unknown));
        assert!(problem.cause.contains("under way"), "{}", problem.cause);
    }

    #[tokio::test]
    async fn a_command_does_not_wait_for_a_store_that_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ops.db");
        let store = Store::open(&path).unwrap();
        let keys = ChangeKeys::open(store.clone()).await.unwrap();
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let Ok(KeyDecision::Perform(claim)) = keys.decide(change("k", "pause")).await else {
            panic!("a pause is always possible")
        };
        assert!(!claim.is_kept, "its answer says so");
        other.execute_batch("ROLLBACK").unwrap();
        let body = botops_http::KeptAnswer { status: 200, headers: Vec::new(), body: "{}".into() };
        keys.end(&"ops".into(), &claim, ChangeOutcome::Answered(body)).await;
        store.flush().await;
        let next = ChangeKeys::open(store).await.unwrap();
        assert!(matches!(next.decide(change("k", "pause")).await, Ok(KeyDecision::Replay(_))));
    }

    #[tokio::test]
    async fn a_new_run_knows_what_the_last_one_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        let keys = ChangeKeys::open(store.clone()).await.unwrap();
        for key in ["answered", "begun", "nothing"] {
            let Ok(KeyDecision::Perform(claim)) = keys.decide(change(key, "add_health_silence")).await else {
                panic!("{key} is new");
            };
            assert!(claim.is_kept);
            let body = botops_http::KeptAnswer { status: 201, headers: Vec::new(), body: "{}".into() };
            match key {
                "answered" => keys.end(&"ops".into(), &claim, ChangeOutcome::Answered(body)).await,
                "nothing" => keys.end(&"ops".into(), &claim, ChangeOutcome::Nothing).await,
                _ => {}
            }
        }
        let next = ChangeKeys::open(store).await.unwrap();
        let said = async |key: &str| next.decide(change(key, "add_health_silence")).await;
        assert!(matches!(said("answered").await, Ok(KeyDecision::Replay(answer)) if answer.status == 201));
        assert_eq!(said("begun").await.unwrap_err().code(), Code::DeadlineExceeded);
        assert!(matches!(said("nothing").await, Ok(KeyDecision::Perform(_))));
    }
}
