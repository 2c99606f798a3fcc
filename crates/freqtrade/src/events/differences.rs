//! From two answers of freqtrade to events. Pure: what was told and what is goes in, events and what is told come out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use botops_contract::{
    BotEvent, EventKind, Order, OrderStatus, SemanticError, Severity, Trade, subtract_exactly,
};
use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::observed_state::{ObservedOrder, ObservedState, ObservedTrade, SEEN_EVERY};
use crate::polling::UpstreamPicture;
use crate::report::{failure_in, holding_locks};
use crate::trades::{key_of_closed, key_of_open, orders_of};
use crate::upstream::FreqtradeTrade;

/// An order that is listed no more may be of a trade that closed: its trade is read within this time.
const LISTED_AGAIN: TimeDelta = TimeDelta::seconds(60);

/// Failures told at once; a flood in the log is told by its newest lines.
const MOST_FAILURES: usize = 50;

/// A closed trade and its orders.
pub(crate) type NewlyClosed = (Arc<Trade>, Vec<Order>);

/// The events between what was told and what is, and what is told after them. Numbers are given by the journal.
#[derive(Debug)]
pub(crate) struct Differences {
    pub events: Vec<BotEvent>,
    pub observed: ObservedState,
    now: DateTime<Utc>,
}

impl Differences {
    /// What is new. Of a freqtrade that is seen for the first time nothing is: its past is no news. `is_resumed`: these are
    /// the first differences of a run of the adapter, which saw nothing since an earlier one.
    pub(crate) fn between(
        told: Option<&ObservedState>,
        picture: &UpstreamPicture,
        closed: &[NewlyClosed],
        is_resumed: bool,
        now: DateTime<Utc>,
    ) -> Self {
        let mut found = Self { events: Vec::new(), observed: told.cloned().unwrap_or_default(), now };
        if is_resumed {
            found.add_gap(picture);
        }
        found.observed.seen_until = picture.as_of().or(found.observed.seen_until);
        found.compare_state(picture);
        found.compare_orders(picture, closed);
        found.compare_closed(picture, closed);
        found.compare_locks(picture);
        found.compare_failures(picture);
        found.compare_silence(picture);
        if let Some(life) = &picture.life {
            found.observed.life = Some((**life).clone());
        }
        if told.is_none() {
            found.events.clear();
            let message = "the adapter watches this freqtrade from now on".to_owned();
            found.add(EventKind::Lifecycle, Severity::Low, message, json!({}));
        }
        found
    }

    fn add(&mut self, kind: EventKind, severity: Severity, message: String, data: Value) {
        let at = self.now;
        self.add_at(at, kind, severity, message, data);
    }

    fn add_at(
        &mut self,
        at: DateTime<Utc>,
        kind: EventKind,
        severity: Severity,
        message: String,
        data: Value,
    ) {
        self.events.push(BotEvent {
            seq: 0,
            boot_epoch: String::new(),
            at: Some(at),
            kind,
            kind_raw: None,
            severity,
            severity_raw: None,
            message,
            error: None,
            data,
        });
    }

    fn compare_state(&mut self, picture: &UpstreamPicture) {
        let Some(state) = picture.config.value().and_then(|config| config.state.clone()) else { return };
        let startup = picture.health.value().and_then(|health| health.startup);
        let before = self.observed.state.replace(state.clone());
        let was_set_up = self.observed.startup;
        self.observed.startup = startup.or(was_set_up);
        let Some(before) = before.filter(|before| *before != state) else { return };
        // While it reloads, it has no state for a moment: what it was before still decides what is news.
        if state == "reload_config" || state.is_empty() {
            self.observed.state = Some(before);
            self.observed.startup = was_set_up;
            return;
        }
        let open = picture.open_trades.value().map_or(0, |trades| trades.items.len());
        let is_locked = holding_locks(picture, self.now).iter().any(|lock| lock.is_global());
        let by_reload = was_set_up.is_some() && was_set_up != self.observed.startup;
        let (severity, message) = match (before.as_str(), state.as_str()) {
            ("paused", "running") if is_locked => {
                let by = if by_reload {
                    "a reload of its config or a restart lifted the pause"
                } else {
                    "its pause was lifted"
                };
                (Severity::Low, format!("{by}; a lock of all pairs keeps freqtrade from opening positions"))
            }
            ("paused", "running") if by_reload => {
                let said =
                    "freqtrade opens positions again: a reload of its config or a restart lifted the pause";
                (Severity::High, said.to_owned())
            }
            ("stopped", "running") => (Severity::Medium, "freqtrade was started: it trades again".to_owned()),
            (_, "running") if is_locked => (
                Severity::Low,
                "freqtrade runs; a lock of all pairs keeps it from opening positions".to_owned(),
            ),
            (_, "running") => (Severity::Low, "freqtrade opens positions again".to_owned()),
            (_, "paused") => {
                (Severity::Low, "freqtrade is paused: it closes trades and opens none".to_owned())
            }
            (_, "stopped") if open > 0 => {
                (Severity::High, format!("freqtrade was stopped: nobody manages its {open} open trades"))
            }
            (_, "stopped") => (Severity::Medium, "freqtrade was stopped".to_owned()),
            (_, other) => (Severity::Medium, format!("freqtrade is in the state `{other}`")),
        };
        let data = json!({"from": before, "to": state, "by_reload": by_reload, "open_trades": open});
        self.add(EventKind::Lifecycle, severity, message, data);
    }

    fn compare_orders(&mut self, picture: &UpstreamPicture, closed: &[NewlyClosed]) {
        let Some(trades) = picture.open_trades.value().filter(|trades| trades.unreadable == 0) else {
            return;
        };
        let listed: BTreeSet<String> = trades.items.iter().map(key_of_open).collect();
        let mut ended = self.observed.closed_and_listed.clone();
        // Without its orders it does not show which of them are no more.
        ended.extend(
            closed.iter().filter(|(_, orders)| !orders.is_empty()).map(|(trade, _)| key_of_closed(trade)),
        );
        self.observed.closed_and_listed.retain(|key| listed.contains(key));
        let still_open =
            |trade: &&FreqtradeTrade| !self.observed.closed_and_listed.contains(&key_of_open(trade));
        let open_trades: Vec<&FreqtradeTrade> = trades.items.iter().filter(still_open).collect();
        self.compare_held_trades(&open_trades, closed);
        let told_whole =
            |trade: &&&FreqtradeTrade| trade.orders.as_ref().is_some_and(|orders| orders.unreadable == 0);
        ended.extend(open_trades.iter().filter(told_whole).map(|trade| key_of_open(trade)));
        let mut open = BTreeSet::new();
        for trade in open_trades {
            let key = key_of_open(trade);
            for order in orders_of(trade) {
                self.compare_order(&order, &key);
                open.insert(order.id);
            }
        }
        let mut of_closed = BTreeSet::new();
        for (trade, orders) in closed {
            let key = key_of_closed(trade);
            for order in orders {
                self.compare_order(order, &key);
                of_closed.insert(order.id.clone());
            }
        }
        self.compare_missing_orders(&open, &of_closed, &ended);
    }

    /// freqtrade lists of a trade the orders that rest and those that filled. One that rested, is listed no more and is not
    /// missing together with its trade was cancelled; `whole` names the trades of which every such order is known.
    fn compare_missing_orders(
        &mut self,
        open: &BTreeSet<String>,
        of_closed: &BTreeSet<String>,
        whole: &BTreeSet<String>,
    ) {
        let (now, mut cancelled) = (self.now, Vec::new());
        let (mut dropped, mut gone) = (Vec::new(), Vec::new());
        self.observed.orders.retain(|id, order| {
            if open.contains(id) {
                order.missing_since = None;
                return true;
            }
            if of_closed.contains(id) {
                return false;
            }
            let is_whole = order.trade.as_ref().is_some_and(|trade| whole.contains(trade));
            if is_whole && order.was_open() && order.is_unfilled() {
                cancelled.push((id.clone(), order.symbol.clone()));
                return false;
            }
            let since = *order.missing_since.get_or_insert(now);
            if now - since < LISTED_AGAIN {
                return true;
            }
            // freqtrade drops a trade of which nothing was filled when its entry is cancelled.
            let is_all_of_its_trade =
                order.trade.as_ref().is_some_and(|trade| !self.observed.held_trades.contains_key(trade));
            if order.was_open() && order.is_unfilled() && is_all_of_its_trade {
                dropped.push((id.clone(), order.symbol.clone()));
            } else if order.was_open() {
                gone.push((id.clone(), order.symbol.clone()));
            }
            false
        });
        for (id, symbol) in cancelled {
            let message = format!("an order of {symbol} was cancelled; nothing of it was filled");
            self.add(EventKind::Order, Severity::Low, message, json!({"order_id": id, "symbol": symbol}));
        }
        for (id, symbol) in dropped {
            let message = format!(
                "an order of {symbol} is listed no more, nor is its trade, of which nothing was filled: it was cancelled"
            );
            self.add(EventKind::Order, Severity::Low, message, json!({"order_id": id, "symbol": symbol}));
        }
        for (id, symbol) in gone {
            let message =
                format!("an order of {symbol} is listed no more; freqtrade does not say what became of it");
            self.add(EventKind::Order, Severity::Medium, message, json!({"order_id": id, "symbol": symbol}));
        }
    }

    /// A trade that held something and is neither open nor closed was deleted: what it held may still be there.
    fn compare_held_trades(&mut self, open: &[&FreqtradeTrade], closed: &[NewlyClosed]) {
        let held =
            |trade: &&&FreqtradeTrade| trade.orders.is_none() || orders_of(trade).iter().any(has_filled);
        let listed: BTreeMap<String, String> =
            open.iter().filter(held).map(|trade| (key_of_open(trade), trade.pair.clone())).collect();
        let closed: BTreeSet<String> = closed.iter().map(|(trade, _)| key_of_closed(trade)).collect();
        let (now, mut gone) = (self.now, Vec::new());
        self.observed.held_trades.retain(|key, trade| {
            // It may be listed for a moment more, by an answer from before it closed.
            if closed.contains(key) {
                return false;
            }
            if listed.contains_key(key) {
                trade.missing_since = None;
                return true;
            }
            let is_gone = now - *trade.missing_since.get_or_insert(now) >= LISTED_AGAIN;
            if is_gone {
                gone.push(trade.symbol.clone());
            }
            !is_gone
        });
        for (key, symbol) in listed.into_iter().filter(|(key, _)| !closed.contains(key)) {
            let trade = ObservedTrade { symbol, missing_since: None };
            self.observed.held_trades.entry(key).or_insert(trade);
        }
        for symbol in gone {
            let message = format!(
                "a trade of {symbol} is listed no more and did not close: it was deleted, and what it held may still be at \
                 the exchange"
            );
            self.add(EventKind::Lifecycle, Severity::High, message, json!({"symbol": symbol}));
        }
    }

    fn compare_order(&mut self, order: &Order, trade: &str) {
        let is = ObservedOrder::of(order, trade);
        let was = self.observed.orders.insert(order.id.clone(), is.clone());
        let symbol = is.symbol.clone();
        let side = order.side.map_or("", |side| side.as_str());
        let data = || json!({"order": order});
        if was.is_none() {
            let at = order.created_at.unwrap_or(self.now);
            let message = format!("order {side} {symbol} was placed");
            self.add_at(at, EventKind::Order, Severity::Low, message, data());
        }
        let filled_before = was.as_ref().and_then(|was| was.filled).unwrap_or_default();
        let filled = is.filled.unwrap_or_default();
        if filled > filled_before && filled > Decimal::ZERO {
            let part = if order.status == Some(OrderStatus::Filled) { "filled" } else { "filled in part" };
            let message = format!("order {side} {symbol} was {part}: {}", filled_part(filled, filled_before));
            let at = if part == "filled" { order.updated_at } else { None };
            self.add_at(at.unwrap_or(self.now), EventKind::Fill, Severity::Low, message, data());
        }
        let ended = matches!(
            order.status,
            Some(OrderStatus::Cancelled | OrderStatus::Expired | OrderStatus::Rejected)
        );
        if ended && was.as_ref().and_then(|was| was.status) != order.status {
            let refused = order.status == Some(OrderStatus::Rejected);
            let severity = if refused { Severity::Medium } else { Severity::Low };
            let word = order.status.map_or("", OrderStatus::as_str).to_ascii_lowercase();
            self.add(EventKind::Order, severity, format!("order {side} {symbol} was {word}"), data());
        }
    }

    fn compare_closed(&mut self, picture: &UpstreamPicture, closed: &[NewlyClosed]) {
        for (trade, orders) in closed {
            for order in orders {
                self.observed.orders.remove(&order.id);
            }
            let key = key_of_closed(trade);
            if self.listed(picture, &key) {
                self.observed.closed_and_listed.insert(key);
            }
            let net =
                trade.net_pl.as_ref().map_or_else(|| "of an unknown result".to_owned(), ToString::to_string);
            let message = format!("trade of {} closed: {net} ({})", trade.symbol, trade.exit_reason);
            let data = json!({"trade": **trade});
            self.add_at(trade.closed_at, EventKind::Other, Severity::Low, message, data);
            if let Some(event) = self.events.last_mut() {
                event.kind_raw = Some("trade".to_owned());
            }
            self.observed.told_trade_seq = self.observed.told_trade_seq.max(trade.seq);
        }
    }

    /// Whether the list of open trades has this one.
    fn listed(&self, picture: &UpstreamPicture, key: &str) -> bool {
        let open = picture.open_trades.value();
        open.is_some_and(|open| open.items.iter().any(|trade| key_of_open(trade) == key))
    }

    fn compare_locks(&mut self, picture: &UpstreamPicture) {
        if picture.locks.value().is_none() {
            return;
        }
        let mut now_held = BTreeMap::new();
        for lock in holding_locks(picture, self.now) {
            let until = lock.until.map_or(0, |until| until.timestamp_millis());
            let id = lock.id.clone().unwrap_or_else(|| format!("{}|{until}", lock.pair));
            now_held.insert(id.clone(), lock.pair.clone());
            if self.observed.locks.contains_key(&id) {
                continue;
            }
            let reason = lock.reason.clone().unwrap_or_default();
            let data = json!({"pair": lock.pair, "side": lock.side, "until": lock.until, "reason": reason});
            let (severity, message) = if lock.is_global() {
                (Severity::High, format!("all pairs are locked: {reason}"))
            } else {
                (Severity::Low, format!("{} is locked: {reason}", lock.pair))
            };
            self.add_at(lock.since.unwrap_or(self.now), EventKind::Breaker, severity, message, data);
        }
        let ended: Vec<String> = self
            .observed
            .locks
            .iter()
            .filter(|(id, _)| !now_held.contains_key(*id))
            .map(|(_, pair)| pair.clone())
            .collect();
        for pair in ended {
            let message = if pair == "*" {
                let other =
                    if now_held.values().any(|pair| pair == "*") { "; another one holds" } else { "" };
                format!("a lock of all pairs ended{other}")
            } else {
                format!("the lock of {pair} ended")
            };
            self.add(EventKind::Breaker, Severity::Low, message, json!({"pair": pair}));
        }
        self.observed.locks = now_held;
    }

    fn compare_failures(&mut self, picture: &UpstreamPicture) {
        let lines: Vec<_> = picture.errors.lines().collect();
        let Some(newest) = lines.last().map(|line| line.at) else { return };
        let told = self.observed.newest_failure;
        // Several lines may be of one millisecond: as many of it were told as are noted.
        let mut of_moment = 0;
        let new: Vec<_> = lines
            .iter()
            .filter(|line| match told {
                None => true,
                Some((at, count)) if line.at == at => {
                    of_moment += 1;
                    of_moment > count
                }
                Some((at, _)) => line.at > at,
            })
            .collect();
        let left_out = new.len().saturating_sub(MOST_FAILURES);
        for line in new.into_iter().skip(left_out) {
            let error: SemanticError = failure_in(picture, line);
            let (severity, message) = (error.severity, error.message.clone());
            self.add_at(line.at, EventKind::Error, severity, message, Value::Null);
            if let Some(event) = self.events.last_mut() {
                event.error = Some(error);
            }
        }
        let count = lines.iter().filter(|line| line.at == newest).count();
        self.observed.newest_failure = Some((newest, count));
    }

    /// The adapter itself was away.
    fn add_gap(&mut self, picture: &UpstreamPicture) {
        let gap = self.observed.seen_until.zip(picture.as_of()).filter(|(from, to)| from < to);
        let Some((from, to)) = gap else { return };
        let message = format!(
            "the adapter was away and watches again: what changed in at most {} s is told from the difference, without what \
             came and went in between",
            (to - from).num_seconds()
        );
        // A shorter one may be what was not noted before a start anew.
        let severity = if to - from > SEEN_EVERY * 2 { Severity::Medium } else { Severity::Low };
        self.add(EventKind::Lifecycle, severity, message, json!({"gap": {"from": from, "to": to}}));
    }

    fn compare_silence(&mut self, picture: &UpstreamPicture) {
        let Some((from, to)) = picture.last_silence else { return };
        if self.observed.silence_until.is_some_and(|until| until >= to) {
            return;
        }
        self.observed.silence_until = Some(to);
        let seconds = (to - from).num_seconds();
        let message = format!(
            "freqtrade did not answer for {seconds} s: what changed meanwhile is told from the difference, without what \
             came and went in between"
        );
        self.add(EventKind::Lifecycle, Severity::Medium, message, json!({"gap": {"from": from, "to": to}}));
    }
}

/// Whether something of the order was filled.
fn has_filled(order: &Order) -> bool {
    order
        .filled_quantity
        .as_ref()
        .and_then(botops_contract::Amount::value)
        .is_some_and(|filled| filled > Decimal::ZERO)
}

/// What was filled since, in words: both numbers where a decimal does not hold their difference.
fn filled_part(filled: Decimal, before: Decimal) -> String {
    let both = || format!("{filled}, after {before}");
    subtract_exactly(filled, before).map_or_else(both, |part| part.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(orders: &Value) -> UpstreamPicture {
        let trade = json!([{"trade_id": 1, "pair": "A/B", "orders": orders}]);
        let mut picture = UpstreamPicture::default();
        picture.show_open_trades(serde_json::from_str(&trade.to_string()).unwrap());
        picture
    }

    #[test]
    fn an_order_that_its_open_trade_lists_no_more_was_cancelled() {
        let filled = json!({"order_id": "e", "status": "closed", "filled": 1.0, "ft_order_side": "buy"});
        let resting = json!({"order_id": "x", "status": "open", "filled": 0.0, "ft_order_side": "sell"});
        let now = Utc::now();
        let none = ObservedState::default();
        let with_both = picture(&json!([filled, resting]));
        let before = Differences::between(Some(&none), &with_both, &[], false, now);
        let after = Differences::between(Some(&before.observed), &picture(&json!([filled])), &[], false, now);
        let messages: Vec<&str> = after.events.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(messages, ["an order of A/B was cancelled; nothing of it was filled"]);
        assert_eq!(after.observed.orders.keys().collect::<Vec<_>>(), ["e"]);
        let untold = picture(&Value::Null);
        let after = Differences::between(Some(&before.observed), &untold, &[], false, now);
        assert_eq!(after.events.len(), 0, "a trade without its orders says nothing of them");
    }

    fn messages(found: &Differences) -> Vec<&str> {
        found.events.iter().map(|event| event.message.as_str()).collect()
    }

    fn nothing_open() -> UpstreamPicture {
        let mut picture = UpstreamPicture::default();
        picture.show_open_trades(serde_json::from_str("[]").unwrap());
        picture
    }

    #[test]
    fn a_trade_that_closed_while_an_older_list_still_has_it_was_not_deleted() {
        let filled = json!({"order_id": "e", "status": "closed", "filled": 1.0, "ft_order_side": "buy"});
        let open = picture(&json!([filled]));
        let now = Utc::now();
        let trade = json!({"seq": 1, "id": "1", "symbol": "A/B", "closed_at": "2026-11-29T09:29:25Z"});
        let closed: Arc<Trade> = Arc::new(serde_json::from_value(trade).unwrap());
        let mut seen = Differences::between(Some(&ObservedState::default()), &open, &[], false, now).observed;
        // Told while it is listed, listed once more, and then no more.
        seen = Differences::between(Some(&seen), &open, &[(closed, Vec::new())], false, now).observed;
        seen = Differences::between(Some(&seen), &open, &[], false, now).observed;
        for second in 0..130 {
            let later = now + TimeDelta::seconds(second);
            let found = Differences::between(Some(&seen), &nothing_open(), &[], false, later);
            assert_eq!(messages(&found), [""; 0], "after {second} s");
            seen = found.observed;
        }
    }

    #[test]
    fn an_entry_that_is_cancelled_with_its_whole_trade_is_no_riddle() {
        let resting = json!({"order_id": "x", "status": "open", "filled": 0.0, "ft_order_side": "buy"});
        let now = Utc::now();
        let before = Differences::between(
            Some(&ObservedState::default()),
            &picture(&json!([resting])),
            &[],
            false,
            now,
        );
        let gone = Differences::between(Some(&before.observed), &nothing_open(), &[], false, now);
        assert!(gone.events.is_empty());
        let later = now + LISTED_AGAIN;
        let told = Differences::between(Some(&gone.observed), &nothing_open(), &[], false, later);
        assert!(messages(&told)[0].ends_with("of which nothing was filled: it was cancelled"));
        assert_eq!(told.events[0].severity, Severity::Low);
    }

    #[test]
    fn no_number_of_freqtrade_is_too_large_to_be_told() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(filled_part(number("1.50"), number("0.5")), "1.00");
        let told = filled_part(Decimal::MAX, number("-1"));
        assert_eq!(told, "79228162514264337593543950335, after -1");
    }
}
