//! Telling receivers: an outbox per receiver, delivered in order, at least once, each notice with its key.
//!
//! A notice enters after the transition it tells of was stored (or could not be: a store that is full must be told of
//! too). Delivery never touches a check. A receiver that is away holds up only its own queue: it is tried again with
//! full jitter up to five minutes apart; what is a day old becomes a dead letter. Many at once become one digest.
//! Receivers: a webhook (signed), a JSONL file, and Alertmanager, which is sent the present state instead of notices.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::engine::OutboxRow;
use super::views::AlertView;
use crate::store::Store;

/// How long a receiver may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The first wait after a failure; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait between tries.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Age at which a notice is given up: what it says is no news any more.
const DEAD_AFTER: i64 = 86_400_000;

/// Messages a receiver is sent in a row; then one each [`REFILL`], as a digest of all that waits.
const IN_A_ROW: f64 = 10.0;

/// Ten a minute in the long run.
const REFILL: Duration = Duration::from_secs(6);

/// A file of alerts this large is put aside as `<name>.1`; the one before is forgotten.
const FILE_LIMIT: u64 = 32 * 1024 * 1024;

/// Alerts in one message.
const TOGETHER: usize = 20;

/// Alerts in one digest.
const DIGEST: usize = 200;

/// How often Alertmanager is told the present state.
const PUSH_EVERY: Duration = Duration::from_secs(60);

/// How long a pushed alert holds without another push.
const PUSH_HOLDS: chrono::Duration = chrono::Duration::seconds(180);

/// How long the end of an alert is pushed.
const PUSH_END: chrono::Duration = chrono::Duration::seconds(300);

/// One receiver of notices.
#[derive(Debug, Clone)]
pub enum Receiver {
    /// `POST`s JSON, signed with HMAC-SHA256.
    Webhook {
        /// Where to.
        url: Url,
        /// What it is signed with.
        secret: Option<SecretString>,
    },
    /// Appends a line to a file.
    File(PathBuf),
}

impl Receiver {
    /// The receiver's name in the outbox and in answers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::File(_) => "jsonl",
        }
    }
}

/// The outbox as its own check sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OutboxSeen {
    pub waiting: usize,
    pub oldest_waiting: Duration,
    pub dead: usize,
}

#[derive(Debug)]
struct Queued {
    row: OutboxRow,
    since: Instant,
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct OutboxState {
    queues: Mutex<BTreeMap<String, VecDeque<Queued>>>,
    dead: Mutex<VecDeque<Instant>>,
    delivered: std::sync::atomic::AtomicU64,
    failed: std::sync::atomic::AtomicU64,
    added: Notify,
}

impl OutboxState {
    /// Puts notices into their queues.
    pub(super) fn add(&self, rows: Vec<OutboxRow>) {
        if rows.is_empty() {
            return;
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            queues.entry(row.receiver.clone()).or_default().push_back(Queued { row, since: Instant::now() });
        }
        drop(queues);
        self.added.notify_waiters();
    }

    pub(super) fn read(&self) -> OutboxSeen {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = queues.values().map(VecDeque::len).sum();
        let oldest =
            queues.values().filter_map(|queue| queue.front()).map(|queued| queued.since.elapsed()).max();
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.retain(|at| at.elapsed() < Duration::from_secs(86_400));
        OutboxSeen { waiting, oldest_waiting: oldest.unwrap_or_default(), dead: dead.len() }
    }

    /// Messages delivered and tries that failed, since start.
    pub(super) fn counts(&self) -> (u64, u64) {
        (
            self.delivered.load(std::sync::atomic::Ordering::Relaxed),
            self.failed.load(std::sync::atomic::Ordering::Relaxed),
        )
    }

    /// The next message of a receiver: notices of one group, or a digest of all that waits.
    fn front(&self, receiver: &str, as_digest: bool) -> Vec<OutboxRow> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queues.get(receiver) else { return Vec::new() };
        let Some(first) = queue.front() else { return Vec::new() };
        let together = queue
            .iter()
            .take_while(|queued| as_digest || queued.row.group == first.row.group)
            .take(if as_digest { DIGEST } else { TOGETHER });
        together.map(|queued| queued.row.clone()).collect()
    }

    fn drop_front(&self, receiver: &str, count: usize) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get_mut(receiver) {
            queue.drain(..count.min(queue.len()));
        }
    }
}

/// Delivers one receiver's queue, in order, until the stop.
pub(super) async fn deliver(
    receiver: Receiver,
    outbox: Arc<OutboxState>,
    store: Store,
    http: reqwest::Client,
    stopping: CancellationToken,
) {
    let name = receiver.name();
    let mut tokens = IN_A_ROW;
    let mut filled = Instant::now();
    let mut failures = 0_u32;
    loop {
        let added = outbox.added.notified();
        tokens = (tokens + filled.elapsed().as_secs_f64() / REFILL.as_secs_f64()).min(IN_A_ROW);
        filled = Instant::now();
        let is_storm = tokens < 1.0;
        if is_storm && wait(REFILL.mul_f64(1.0 - tokens), &stopping).await {
            return;
        }
        let rows = outbox.front(name, is_storm);
        if rows.is_empty() {
            // The second look closes the gap between the first one and the wait.
            tokio::select! {
                () = stopping.cancelled() => return,
                () = added => {}
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
            continue;
        }
        let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
        let oldest = rows.iter().map(|row| row.created).min().unwrap_or(0);
        let message = message(name, &rows, is_storm);
        match send(&receiver, &message, &http).await {
            Ok(()) => {
                failures = 0;
                tokens = (tokens - 1.0).max(0.0);
                outbox.drop_front(name, rows.len());
                outbox.delivered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                mark(&store, keys, "delivered_ms");
            }
            Err(why) if Utc::now().timestamp_millis() - oldest > DEAD_AFTER => {
                tracing::error!(
                    alert.receiver = name,
                    "{} notices for {name} are given up after a day: {why}",
                    keys.len()
                );
                outbox.drop_front(name, rows.len());
                let mut dead = outbox.dead.lock().unwrap_or_else(PoisonError::into_inner);
                dead.extend(keys.iter().map(|_| Instant::now()));
                drop(dead);
                mark(&store, keys, "dead_ms");
            }
            Err(why) => {
                if failures == 0 {
                    tracing::warn!(
                        alert.receiver = name,
                        "the receiver {name} cannot be told: {why}; it is tried again"
                    );
                }
                failures = failures.saturating_add(1);
                outbox.failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if wait(pause(failures), &stopping).await {
                    return;
                }
            }
        }
    }
}

/// True when the stop came first.
async fn wait(time: Duration, stopping: &CancellationToken) -> bool {
    tokio::select! {
        () = stopping.cancelled() => true,
        () = tokio::time::sleep(time) => false,
    }
}

/// Anything from nothing to the full wait, so that many senders do not meet again.
fn pause(failures: u32) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(9)).min(LONGEST_WAIT);
    let mut random = [0_u8; 4];
    // Without randomness everybody waits the full time.
    let share = getrandom::fill(&mut random)
        .map_or(1.0, |()| f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX));
    full.mul_f64(share).max(Duration::from_millis(100))
}

fn mark(store: &Store, keys: Vec<String>, column: &'static str) {
    store.post("a notice's delivery", move |connection| {
        for key in &keys {
            connection
                .prepare_cached(&format!("UPDATE health_outbox SET {column} = ?2 WHERE key = ?1"))?
                .execute(rusqlite::params![key, Utc::now().timestamp_millis()])?;
        }
        Ok(())
    });
}

fn message(receiver: &str, rows: &[OutboxRow], is_digest: bool) -> Value {
    let alerts: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut alert = row.body.clone();
            alert["key"] = json!(row.key);
            alert
        })
        .collect();
    let of = |status: &str| alerts.iter().filter(|alert| alert["status"] == status).count();
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    let key = match keys.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("{receiver}/{}", HEXLOWER.encode(&Sha256::digest(many.join("\n")))),
    };
    json!({
        "version": "1",
        "kind": if is_digest { "digest" } else { "alerts" },
        "key": key,
        "receiver": receiver,
        "group": if is_digest { None } else { rows.first().map(|row| row.group.clone()) },
        "counts": {"firing": of("firing"), "resolved": of("resolved")},
        "alerts": alerts,
        "sent_at": Utc::now(),
    })
}

async fn send(receiver: &Receiver, message: &Value, http: &reqwest::Client) -> Result<(), String> {
    match receiver {
        Receiver::Webhook { url, secret } => {
            let body = message.to_string();
            let mut request = http
                .post(url.clone())
                .timeout(DEADLINE)
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", message["key"].as_str().unwrap_or_default());
            if let Some(secret) = secret {
                request =
                    request.header("X-Botops-Signature", signature(secret, &body, Utc::now().timestamp()));
            }
            let answer = request.body(body).send().await.map_err(|error| word_for(&error).to_owned())?;
            let status = answer.status();
            if status.is_success() { Ok(()) } else { Err(format!("it answers {}", status.as_u16())) }
        }
        Receiver::File(path) => {
            let (path, line) = (path.clone(), message.to_string());
            let written = tokio::task::spawn_blocking(move || append(&path, &line)).await;
            written.map_err(|_| "the write broke off".to_owned())?.map_err(|error| error.to_string())
        }
    }
}

/// `t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`: the time is signed too, so an old message cannot be replayed.
pub(super) fn signature(secret: &SecretString, body: &str, at: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

fn word_for(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "it does not answer in time"
    } else if error.is_connect() {
        "it cannot be reached"
    } else {
        "the exchange broke off"
    }
}

fn append(path: &std::path::Path, line: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if std::fs::metadata(path).is_ok_and(|file| file.len() >= FILE_LIMIT) {
        std::fs::rename(path, path.with_extension("jsonl.1"))?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_data());
    if written.is_err() {
        // A disk that became full within the line: the next try would go on behind half of one.
        file.set_len(before)?;
    }
    written
}

/// Tells Alertmanager the present state: at each change, and once a minute.
pub(super) async fn push_to_alertmanager(
    url: Url,
    read: impl Fn() -> Vec<AlertView> + Send,
    changed: Arc<Notify>,
    http: reqwest::Client,
    stopping: CancellationToken,
) {
    let mut is_away = false;
    loop {
        let alerts: Vec<Value> = read().iter().filter_map(pushed).collect();
        if !alerts.is_empty() || is_away {
            let sent = http.post(url.clone()).timeout(DEADLINE).json(&alerts).send().await;
            let problem = match sent {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("it answers {}", answer.status().as_u16())),
                Err(error) => Some(word_for(&error).to_owned()),
            };
            if let Some(problem) = &problem
                && !is_away
            {
                tracing::warn!("Alertmanager cannot be told: {problem}; it is tried again");
            }
            is_away = problem.is_some();
        }
        let again = if is_away { Duration::from_secs(5) } else { PUSH_EVERY };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = changed.notified() => {}
            () = tokio::time::sleep(again) => {}
        }
    }
}

/// An alert in Alertmanager's form; one nobody was told of is not pushed.
fn pushed(alert: &AlertView) -> Option<Value> {
    if alert.notified.is_empty() {
        return None;
    }
    let ends_at = match alert.ends_at {
        None => Utc::now() + PUSH_HOLDS,
        Some(ended) if Utc::now() - ended < PUSH_END => ended,
        Some(_) => return None,
    };
    let mut labels = alert.labels.clone();
    labels.insert("severity".to_owned(), super::views::severity_name(alert.severity).to_owned());
    labels.insert("service".to_owned(), "botops".to_owned());
    Some(json!({
        "labels": labels,
        "annotations": {"summary": alert.summary, "alert_id": alert.alert_id},
        "startsAt": alert.starts_at,
        "endsAt": ends_at,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, group: &str) -> OutboxRow {
        OutboxRow {
            key: key.to_owned(),
            receiver: "jsonl".to_owned(),
            group: group.to_owned(),
            created: Utc::now().timestamp_millis(),
            body: json!({"status": "firing"}),
        }
    }

    #[test]
    fn notices_of_one_group_leave_together_and_in_order() {
        let outbox = OutboxState::default();
        outbox.add(vec![row("1", "bot"), row("2", "bot"), row("3", "store"), row("4", "bot")]);
        let keys = |digest| outbox.front("jsonl", digest).into_iter().map(|row| row.key).collect::<Vec<_>>();
        assert_eq!(keys(false), ["1", "2"]);
        assert_eq!(keys(true), ["1", "2", "3", "4"]);
        outbox.drop_front("jsonl", 2);
        assert_eq!(keys(false), ["3"]);
        assert_eq!(outbox.read().waiting, 2);
    }

    #[test]
    fn the_signature_is_over_time_and_body() {
        let secret = SecretString::from("k");
        assert_eq!(signature(&secret, "{}", 1), signature(&secret, "{}", 1));
        assert_ne!(signature(&secret, "{}", 1), signature(&secret, "{}", 2));
        assert!(signature(&secret, "{}", 1).starts_with("t=1,v1="));
    }

    #[test]
    fn a_message_of_many_has_a_key_of_its_own_that_stays_the_same() {
        let rows = [row("1", "bot"), row("2", "bot")];
        let one = message("jsonl", &rows, false);
        assert_eq!(one["key"], message("jsonl", &rows, false)["key"]);
        assert_eq!(message("jsonl", &rows[..1], false)["key"], "1");
        assert_eq!(one["counts"]["firing"], 2);
    }

    #[tokio::test]
    async fn a_receiver_that_comes_back_is_told_in_order_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let away = folder.path().join("away");
        let file = away.join("alerts.jsonl");
        let store = Store::open(&folder.path().join("ops.db")).unwrap();
        let outbox = Arc::new(OutboxState::default());
        let stopping = CancellationToken::new();
        crate::bots::install_tls_provider();
        let http = reqwest::Client::new();
        let delivery = deliver(Receiver::File(file.clone()), outbox.clone(), store, http, stopping.clone());
        let test = async {
            outbox.add(vec![row("1", "bot"), row("2", "store")]);
            while outbox.counts().1 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The folder appears: the receiver is back.
            std::fs::create_dir(&away).unwrap();
            while outbox.read().waiting > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stopping.cancel();
        };
        tokio::join!(delivery, test);
        let text = std::fs::read_to_string(&file).unwrap();
        let keys: Vec<Value> =
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].clone()).collect();
        assert_eq!(keys, ["1", "2"]);
    }
}
