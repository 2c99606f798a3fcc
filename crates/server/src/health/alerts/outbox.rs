//! The outbox: a queue of notices per receiver, delivered in order, at least once, each notice with its key.
//!
//! A notice enters after the transition it reports was stored, or could not be: a full store must be reported too.
//! Delivery never touches a check. A receiver that is away holds up only its own queue: it is tried again with
//! full jitter up to five minutes apart; what is a day old becomes a dead letter. Many at once become one digest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use botops_core::text::sha256_hex;
use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::receiver_log::{ReceiverLog, ReceiverView};
use super::receivers::{AlertReceiver, send_message};
use crate::health::changes::{NoticeEnd, OutboxRow};
use crate::health::checks::OutboxBacklog;
use crate::health::limit_rules::LimitRuleView;
use botops_core::retry::{Backoff, Jitter, random_share};

/// The first wait after a failure; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait between tries.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Messages a receiver is sent in a row; after these, one each [`REFILL`], as a digest of everything that waits.
const IN_A_ROW: u32 = 10;

/// Time in which one more message is allowed: ten a minute in the long run.
const REFILL: Duration = Duration::from_secs(6);

/// Alerts in one message at most.
const TOGETHER: usize = 20;

/// Alerts in one digest at most.
const DIGEST: usize = 200;

/// The limits of this file.
pub(crate) fn delivery_rules() -> Vec<LimitRuleView> {
    vec![
        LimitRuleView::fixed(
            "first_retry",
            FIRST_WAIT.as_secs(),
            "s",
            "the wait after a notice failed; it doubles, and a random part of it is waited",
        ),
        LimitRuleView::fixed("longest_retry", LONGEST_WAIT.as_secs(), "s", "the longest such wait"),
        LimitRuleView::fixed(
            "notice_given_up",
            OutboxRow::LIFE.as_secs(),
            "s",
            "a notice of this age is no longer tried",
        ),
        LimitRuleView::fixed(
            "messages_in_a_row",
            IN_A_ROW,
            "messages",
            "after these, one message each message_every, as a digest",
        ),
        LimitRuleView::fixed(
            "message_every",
            REFILL.as_secs(),
            "s",
            "the time in which one more message is allowed",
        ),
        LimitRuleView::fixed("alerts_in_a_message", TOGETHER, "alerts", "more are sent in another message"),
        LimitRuleView::fixed("alerts_in_a_digest", DIGEST, "alerts", "more are sent in another digest"),
    ]
}

/// The queues of all receivers, and what each receiver took and refused.
#[derive(Debug)]
pub(crate) struct NoticeOutbox {
    queues: Mutex<BTreeMap<String, VecDeque<OutboxRow>>>,
    dead: Mutex<VecDeque<Instant>>,
    pub(crate) receivers: Arc<ReceiverLog>,
    added: Notify,
}

impl NoticeOutbox {
    pub(crate) fn new(receivers: ReceiverLog) -> Self {
        Self {
            queues: Mutex::default(),
            dead: Mutex::default(),
            receivers: Arc::new(receivers),
            added: Notify::new(),
        }
    }

    /// Appends notices to the queues of their receivers.
    pub(crate) fn add(&self, rows: Vec<OutboxRow>) {
        if rows.is_empty() {
            return;
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            queues.entry(row.receiver.clone()).or_default().push_back(row);
        }
        drop(queues);
        self.added.notify_waiters();
    }

    /// How many notices wait, and how many were given up in the last day.
    pub(crate) fn backlog(&self) -> OutboxBacklog {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = queues.values().map(VecDeque::len).sum();
        let oldest = queues.values().filter_map(|queue| queue.front()).map(OutboxRow::age).max();
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.retain(|at| at.elapsed() < Duration::from_secs(86_400));
        OutboxBacklog { waiting, oldest_waiting: oldest.unwrap_or_default(), dead: dead.len() }
    }

    /// All receivers, with what waits for each.
    pub(crate) fn receiver_views(&self) -> Vec<ReceiverView> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = queues.iter().map(|(receiver, queue)| (receiver.clone(), queue.len())).collect();
        drop(queues);
        self.receivers.views(&waiting)
    }

    /// The next message of a receiver: notices of one group, or a digest of all that waits.
    fn front(&self, receiver: &str, as_digest: bool) -> Vec<OutboxRow> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queues.get(receiver) else { return Vec::new() };
        let Some(first) = queue.front() else { return Vec::new() };
        let together = queue
            .iter()
            .take_while(|row| as_digest || row.group == first.group)
            .take(if as_digest { DIGEST } else { TOGETHER });
        together.cloned().collect()
    }

    fn end_dead(&self, receiver: &str, count: usize) {
        self.drop_front(receiver, count);
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.extend((0..count).map(|_| Instant::now()));
        drop(dead);
        self.receivers.record_given_up(receiver, count);
    }

    fn drop_front(&self, receiver: &str, count: usize) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get_mut(receiver) {
            queue.drain(..count.min(queue.len()));
        }
    }
}

/// Delivers one receiver's queue, in order, until the stop; `record_end` is called for what was taken or given up.
pub(crate) async fn deliver_notices(
    receiver: AlertReceiver,
    outbox: Arc<NoticeOutbox>,
    record_end: impl Fn(&[OutboxRow], NoticeEnd) + Send,
    http: reqwest::Client,
    stopping: CancellationToken,
) {
    let name = receiver.name();
    let mut pace = DeliveryPace::new();
    let mut failures = 0_u32;
    loop {
        let added = outbox.added.notified();
        let pause = pace.pause();
        let is_storm = !pause.is_zero();
        if is_storm && wait(pause, &stopping).await {
            return;
        }
        let rows = outbox.front(name, is_storm);
        if rows.is_empty() {
            // The timeout closes the gap between the check above and the wait: a notice added in between is picked
            // up.
            tokio::select! {
                () = stopping.cancelled() => return,
                () = added => {}
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
            continue;
        }
        let message = compose_message(name, &rows, is_storm);
        match send_message(&receiver, &message, &http).await {
            Ok(()) => {
                failures = 0;
                pace.take();
                outbox.drop_front(name, rows.len());
                outbox.receivers.record_delivered(name);
                record_end(&rows, NoticeEnd::Delivered);
            }
            Err(why) if is_dead(&rows) => {
                tracing::error!(
                    alert.receiver = name,
                    "{} notices for {name} are given up after a day: {why}",
                    rows.len()
                );
                outbox.end_dead(name, rows.len());
                record_end(&rows, NoticeEnd::GivenUp);
            }
            Err(why) => {
                if failures == 0 {
                    tracing::warn!(
                        alert.receiver = name,
                        "the receiver {name} cannot be told: {why}; it is tried again"
                    );
                }
                failures = failures.saturating_add(1);
                let pause = retry_pause(failures);
                outbox.receivers.record_failed(name, &why, pause);
                if wait(pause, &stopping).await {
                    return;
                }
            }
        }
    }
}

/// Limits how many messages are sent in a row: a token bucket.
struct DeliveryPace {
    tokens: f64,
    filled: Instant,
}

impl DeliveryPace {
    fn new() -> Self {
        Self { tokens: f64::from(IN_A_ROW), filled: Instant::now() }
    }

    /// How long the next message has to wait.
    fn pause(&mut self) -> Duration {
        let filled = self.filled.elapsed().as_secs_f64() / REFILL.as_secs_f64();
        self.tokens = (self.tokens + filled).min(f64::from(IN_A_ROW));
        self.filled = Instant::now();
        if self.tokens < 1.0 { REFILL.mul_f64(1.0 - self.tokens) } else { Duration::ZERO }
    }

    /// Counts a message that was sent.
    fn take(&mut self) {
        self.tokens = (self.tokens - 1.0).max(0.0);
    }
}

/// Whether the oldest of these notices is too old to deliver.
fn is_dead(rows: &[OutboxRow]) -> bool {
    rows.iter().any(|row| row.given_up.left_at_most().is_zero())
}

/// Waits for `time`; true when the stop came first.
async fn wait(time: Duration, stopping: &CancellationToken) -> bool {
    tokio::select! {
        () = stopping.cancelled() => true,
        () = tokio::time::sleep(time) => false,
    }
}

/// A random wait from zero to the full one (full jitter), so that many senders do not retry together.
fn retry_pause(failures: u32) -> Duration {
    let backoff = Backoff { first: FIRST_WAIT, factor: 2.0, longest: LONGEST_WAIT };
    backoff.wait(failures, Jitter::Full, random_share()).max(Duration::from_millis(100))
}

fn compose_message(receiver: &str, rows: &[OutboxRow], is_digest: bool) -> Value {
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
        many => format!("{receiver}/{}", sha256_hex(many.join("\n"))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use botops_core::durable_deadline::DurableDeadline;

    #[test]
    fn a_notice_is_given_up_a_day_after_it_was_made_whatever_the_wall_clock_says() {
        let day = 86_400_000;
        // As it looks after the clock went forth and back by ten days: made in the future, or long ago.
        for off in [-10 * day, 0, 10 * day] {
            let mut row = row("1", "bot");
            row.created += off;
            assert!(!is_dead(&[row.clone()]), "off by {off} ms");
            assert!(row.age() < Duration::from_secs(60));
        }
        let mut row = row("1", "bot");
        row.given_up = DurableDeadline::after(Duration::ZERO);
        assert!(is_dead(&[row.clone()]));
        assert_eq!(row.age(), OutboxRow::LIFE);
    }

    fn row(key: &str, group: &str) -> OutboxRow {
        OutboxRow {
            key: key.to_owned(),
            receiver: "jsonl".to_owned(),
            group: group.to_owned(),
            created: Utc::now().timestamp_millis(),
            given_up: DurableDeadline::after(OutboxRow::LIFE),
            body: json!({"status": "firing"}),
        }
    }

    #[test]
    fn notices_of_one_group_leave_together_and_in_order() {
        let outbox = NoticeOutbox::new(ReceiverLog::new(["jsonl"]));
        outbox.add(vec![row("1", "bot"), row("2", "bot"), row("3", "store"), row("4", "bot")]);
        let keys = |digest| outbox.front("jsonl", digest).into_iter().map(|row| row.key).collect::<Vec<_>>();
        assert_eq!(keys(false), ["1", "2"]);
        assert_eq!(keys(true), ["1", "2", "3", "4"]);
        outbox.drop_front("jsonl", 2);
        assert_eq!(keys(false), ["3"]);
        assert_eq!(outbox.backlog().waiting, 2);
    }

    #[test]
    fn a_message_of_many_has_a_key_of_its_own_that_stays_the_same() {
        let rows = [row("1", "bot"), row("2", "bot")];
        let one = compose_message("jsonl", &rows, false);
        assert_eq!(one["key"], compose_message("jsonl", &rows, false)["key"]);
        assert_eq!(compose_message("jsonl", &rows[..1], false)["key"], "1");
        assert_eq!(one["counts"]["firing"], 2);
    }

    #[tokio::test]
    async fn a_receiver_that_comes_back_is_told_in_order_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let away = folder.path().join("away");
        let file = away.join("alerts.jsonl");
        let outbox = Arc::new(NoticeOutbox::new(ReceiverLog::new(["jsonl"])));
        let stopping = CancellationToken::new();
        crate::bots::install_tls_provider();
        let http = reqwest::Client::new();
        let ended = Mutex::new(Vec::new());
        let record = |rows: &[OutboxRow], end| {
            ended.lock().unwrap().extend(rows.iter().map(|row| (row.key.clone(), end)));
        };
        let receiver = AlertReceiver::File(file.clone());
        let delivery = deliver_notices(receiver, outbox.clone(), record, http, stopping.clone());
        let test = async {
            outbox.add(vec![row("1", "bot"), row("2", "store")]);
            while outbox.receivers.counts().1 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let failing = outbox.receiver_views().remove(0);
            assert!(failing.last_failure.is_some() && failing.waiting == 2, "{failing:?}");
            assert_eq!(*ended.lock().unwrap(), [], "nothing was taken");
            // With the folder there, the receiver works again.
            std::fs::create_dir(&away).unwrap();
            while outbox.backlog().waiting > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stopping.cancel();
        };
        tokio::join!(delivery, test);
        let text = std::fs::read_to_string(&file).unwrap();
        let keys: Vec<Value> =
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].clone()).collect();
        assert_eq!(keys, ["1", "2"]);
        let taken = ["1", "2"].map(|key| (key.to_owned(), NoticeEnd::Delivered));
        assert_eq!(*ended.lock().unwrap(), taken);
    }
}
