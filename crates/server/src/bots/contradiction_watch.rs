//! Where the bot contradicts itself: what it says beside what it said a moment ago, or in another answer.
//!
//! Both are shown as the bot says them, and nobody here decides which is true. Each contradiction is a warning for as long as
//! it stands, and one event when it begins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::contradiction::{Contradiction, ContradictionKind};
use super::snapshot::BotSnapshot;
use crate::events::{Events, NewEvent};
use botops_contract::{BotReport, EventKind, MarketStatus, Position, Severity, TradingMode};
use botops_core::text::clean;

/// What a bot did is shown by its state after so long at the latest, and after some polls.
const STATE_SHOWS: TimeDelta = TimeDelta::seconds(10);
/// That many polls.
const POLLS: u32 = 3;
/// Closing orders are filled at an exchange, which takes longer.
const ORDERS_FILL: TimeDelta = TimeDelta::seconds(20);
/// Of a bot that reports no orders it is not known whether one still rests.
const UNSEEN_ORDERS_FILL: TimeDelta = TimeDelta::seconds(60);
/// Symbols that a sentence names, and the characters of each.
const SYMBOLS: (usize, usize) = (3, 24);
/// Characters of the name of an account.
const ACCOUNT: usize = 32;
/// For so long a change of the account is told. One that comes and goes, such as by a clock on the edge, is told by an event at most once in this time.
const TOLD_AGAIN: Duration = Duration::from_secs(3_600);
/// Contradictions that it is remembered of that they were told.
const MOST_TOLD: usize = 64;

/// Finds contradictions, and tells of each once; of one bot.
#[derive(Debug, Default)]
pub(super) struct ContradictionWatch {
    told: BTreeMap<String, Instant>,
    changed_account: Option<ChangedAccount>,
}

/// A change of the account while positions were open.
#[derive(Debug)]
struct ChangedAccount {
    former: String,
    now: String,
    positions: usize,
    seen: Instant,
}

impl ContradictionWatch {
    /// Takes in the account of a new report, beside what was known before it.
    pub(super) fn note_account(&mut self, before: &BotSnapshot, report: &BotReport) {
        let of = |report: &BotReport| report.account.account_id.clone().filter(|id| !id.is_empty());
        let (Some(former), Some(now)) = (before.report.as_deref().and_then(of), of(report)) else { return };
        if former == now {
            return;
        }
        // Who is back at the account with the positions has found them again.
        let is_back = self.changed_account.as_ref().is_some_and(|changed| changed.former == now);
        let positions = before.position_count().unwrap_or_default();
        if is_back {
            self.changed_account = None;
        } else if positions > 0 {
            self.changed_account = Some(ChangedAccount { former, now, positions, seen: Instant::now() });
        }
    }

    fn find_changed_account(&self, snapshot: &BotSnapshot) -> Option<Contradiction> {
        let changed = self.changed_account.as_ref().filter(|changed| changed.seen.elapsed() < TOLD_AGAIN)?;
        let (former, now) = (clean(&changed.former, ACCOUNT), clean(&changed.now, ACCOUNT));
        let count = changed.positions;
        let positions = if count == 1 { "position" } else { "positions" };
        snapshot.presence.answers().then(|| Contradiction {
            kind: ContradictionKind::Account,
            sentence: format!(
                "The account is another one ({now}, before {former}): {count} open {positions} of the former are not shown."
            ),
            remedy: "Look at the former account: nobody may manage them.".to_owned(),
            about: format!("{former} {now}"),
        })
    }

    /// What the bot contradicts now, worst first; an event tells of what is new.
    pub(super) fn observe(
        &mut self,
        snapshot: &BotSnapshot,
        poll_interval: Duration,
        events: &Events,
    ) -> Arc<Vec<Contradiction>> {
        let mut found = find_contradictions(snapshot, poll_interval);
        found.extend(self.find_changed_account(snapshot));
        if found == *snapshot.contradictions {
            return snapshot.contradictions.clone();
        }
        for one in found.iter().filter(|one| !snapshot.contradictions.contains(one)) {
            if self.is_news(one) {
                events.publish(contradiction_event(snapshot, one));
            }
        }
        Arc::new(found)
    }

    fn is_news(&mut self, one: &Contradiction) -> bool {
        let key = format!("{} {}", one.kind.as_str(), one.about);
        self.told.retain(|_, at| at.elapsed() < TOLD_AGAIN);
        let is_news = !self.told.contains_key(&key) && self.told.len() < MOST_TOLD;
        if is_news {
            self.told.insert(key, Instant::now());
        }
        is_news
    }
}

fn contradiction_event(snapshot: &BotSnapshot, one: &Contradiction) -> NewEvent {
    let id = &snapshot.id;
    tracing::warn!(bot.id = %id, bot.contradiction = one.kind.as_str(), "bot {id}: {}", one.sentence);
    let severity = if one.kind == ContradictionKind::LastTick { Severity::Medium } else { Severity::High };
    let data = json!({"bot_id": id, "contradiction": one.kind.as_str()});
    let message = format!("bot {id}: {} {}", one.sentence, one.remedy);
    NewEvent::own(EventKind::Lifecycle, severity, message.trim_end().to_owned(), data)
}

fn find_contradictions(snapshot: &BotSnapshot, poll_interval: Duration) -> Vec<Contradiction> {
    // What a bot that does not answer said last is of the past.
    let Some(report) = snapshot.report.as_deref().filter(|_| snapshot.presence.answers()) else {
        return Vec::new();
    };
    let found = [
        denied_pause(snapshot, report, poll_interval),
        two_modes(snapshot, report),
        positions_after_flatten(snapshot, report),
        future_tick(snapshot, report),
    ];
    found.into_iter().flatten().collect()
}

/// Whether the report is of a time by which it shows what was done then.
fn is_of_after(snapshot: &BotSnapshot, report: &BotReport, done_at: DateTime<Utc>, wait: TimeDelta) -> bool {
    let is_received_after = snapshot.received_at.is_some_and(|at| at - done_at >= wait);
    is_received_after && report.as_of.is_none_or(|as_of| as_of > done_at)
}

fn denied_pause(
    snapshot: &BotSnapshot,
    report: &BotReport,
    poll_interval: Duration,
) -> Option<Contradiction> {
    // One that was seen once was ended by the bot's own means.
    let pause = snapshot.operator.pause.as_ref().filter(|pause| !pause.was_seen)?;
    let some_polls = TimeDelta::from_std(poll_interval.saturating_mul(POLLS)).unwrap_or(STATE_SHOWS);
    let is_shown = is_of_after(snapshot, report, pause.given_at, STATE_SHOWS.max(some_polls));
    (report.trading_enabled == Some(true) && is_shown).then(|| Contradiction {
        kind: ContradictionKind::Pause,
        sentence: format!(
            "NOT PAUSED: the bot said that it carried out the {} of {} ({}), and its state says that it may open positions.",
            pause.verb,
            pause.actor,
            pause.given_at.format("%F %H:%M:%SZ")
        ),
        remedy: format!("Next: POST /api/v1/control/{}, or resume.", pause.verb_to_repeat()),
        about: pause.given_at.to_rfc3339(),
    })
}

fn two_modes(snapshot: &BotSnapshot, report: &BotReport) -> Option<Contradiction> {
    fn word(mode: TradingMode, raw: Option<&str>) -> Option<String> {
        match mode {
            TradingMode::Other => raw.map(|raw| format!("`{raw}`")),
            known => Some(known.to_string()),
        }
    }
    let hello = snapshot.hello.as_deref()?;
    let of_hello = word(hello.mode, hello.mode_raw.as_deref())?;
    let of_state = word(report.mode, report.mode_raw.as_deref())?;
    if of_hello == of_state {
        return None;
    }
    let is_live = snapshot.mode() == Some(TradingMode::Live);
    let taken = if is_live { "botops takes it for live" } else { "botops shows that of the state" };
    Some(Contradiction {
        kind: ContradictionKind::Mode,
        sentence: format!("Contradiction: `hello` says mode {of_hello}, the state {of_state}; {taken}."),
        remedy: String::new(),
        about: format!("{of_hello} {of_state}"),
    })
}

fn positions_after_flatten(snapshot: &BotSnapshot, report: &BotReport) -> Option<Contradiction> {
    let flattened = snapshot.operator.flattened.as_ref()?;
    let knows_orders = snapshot.open_order_count().is_some();
    let wait = if knows_orders { ORDERS_FILL } else { UNSEEN_ORDERS_FILL };
    // An exchange that is closed fills nothing.
    let is_closed = report.market.status == Some(MarketStatus::Closed);
    if is_closed || !is_of_after(snapshot, report, flattened.given_at, wait) {
        return None;
    }
    let is_closing = |position: &Position| {
        let orders = report.order_list().iter().filter(|order| order.may_still_fill());
        orders.filter_map(|order| order.symbol.as_deref()).any(|symbol| symbol == position.symbol)
    };
    let left: Vec<&str> = report
        .position_list()
        .iter()
        .filter(|position| !is_closing(position))
        .map(|position| position.symbol.as_str())
        .collect();
    if left.is_empty() {
        return None;
    }
    let named: Vec<String> = left.iter().take(SYMBOLS.0).map(|symbol| clean(symbol, SYMBOLS.1)).collect();
    let more = if left.len() > SYMBOLS.0 { ", …" } else { "" };
    let stand = if left.len() == 1 {
        "1 position stands".to_owned()
    } else {
        format!("{} positions stand", left.len())
    };
    Some(Contradiction {
        kind: ContradictionKind::Flatten,
        sentence: format!(
            "Contradiction: the bot said that the flatten of {} ({}) leaves no position, and {stand} without an order that closes \
             it ({}{more}).",
            flattened.actor,
            flattened.given_at.format("%F %H:%M:%SZ"),
            named.join(", ")
        ),
        remedy: "Look at the broker, then: POST /api/v1/control/flatten with a new Idempotency-Key."
            .to_owned(),
        about: flattened.given_at.to_rfc3339(),
    })
}

fn future_tick(snapshot: &BotSnapshot, report: &BotReport) -> Option<Contradiction> {
    let tick = report.loop_stats.last_tick_at?;
    snapshot.tick_ahead()?;
    Some(Contradiction {
        kind: ContradictionKind::LastTick,
        sentence: format!(
            "Contradiction: `last_tick_at` ({}) lies in the future: whether the bot's trading loop runs cannot be told.",
            tick.format("%F %H:%M UTC")
        ),
        remedy: String::new(),
        about: String::new(),
    })
}
