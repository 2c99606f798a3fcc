//! Orders: how a wish becomes one, which limits bind it, and when the breaker opens.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use super::book::{Working, trading_day};
use super::document::Facts;
use super::engine::{Engine, LedgerDown};
use super::ledger::{Entry, Placed, Purpose};
use super::publish::Picture;
use botops_contract::{EventKind, GateReason, OrderType, Severity, Side};
use botops_core::error::Code;

/// An order before it has an id.
#[derive(Debug)]
struct Draft {
    symbol: String,
    side: Side,
    order_type: OrderType,
    quantity: Decimal,
    limit_price: Option<Decimal>,
    purpose: Purpose,
    reason: String,
    decided_price: Decimal,
    stop_price: Option<Decimal>,
    target_price: Option<Decimal>,
}

impl Engine {
    /// Cash and the market value of positions.
    pub fn equity(&self) -> Decimal {
        let value = |(symbol, holding): (&String, &super::book::Holding)| {
            self.prices.get(symbol).copied().unwrap_or_else(|| holding.entry_price()) * holding.quantity
        };
        self.book.cash + self.book.positions.iter().map(value).sum::<Decimal>()
    }

    /// Equity now against equity when the trading day began.
    pub fn daily_pl(&self) -> Decimal {
        self.book.day.map_or(Decimal::ZERO, |(_, equity)| self.equity() - equity)
    }

    /// What may be spent on new positions.
    pub fn buying_power(&self) -> Decimal {
        let reserved = self.book.reserved(|symbol| self.prices.get(symbol).copied());
        (self.book.cash - reserved).max(Decimal::ZERO)
    }

    /// What a config document must fit now.
    pub fn facts(&self) -> Facts {
        let positions = self.book.positions.values();
        let mut symbols = self.feed.symbols();
        for target in &self.desk.settings().targets {
            if !symbols.contains(&target.symbol) {
                symbols.push(target.symbol.clone());
            }
        }
        Facts {
            symbols,
            positions: positions.map(|holding| (holding.symbol.clone(), holding.cost())).collect(),
            equity: self.equity(),
            daily_pl: self.daily_pl(),
        }
    }

    /// Replaces the picture that the world sees.
    pub fn show(&mut self) {
        self.seq += 1;
        self.outbox.show(self.picture());
    }

    /// The bot at this moment.
    pub fn picture(&self) -> Picture {
        let config = self.desk.state(Instant::now());
        let running = self.desk.running().value.clone();
        Picture::new(self.report(), config, running, self.facts(), self.book.answers())
    }

    /// Why no position may be opened now, by name; empty when one may.
    pub fn gates(&self, at: DateTime<Utc>) -> Vec<String> {
        let trading = &self.desk.settings().trading;
        let today = trading_day(at);
        let entries = self.book.entries.filter(|(day, _)| *day == today).map_or(0, |(_, count)| count);
        let session = self.outlook();
        let gates = [
            (self.ledger_fault.is_some(), "ledger_unwritable"),
            (self.book.paused.is_some(), "paused"),
            (self.book.breaker.open.is_some(), "breaker_open"),
            (self.market_over, "market_closed"),
            (!trading.hours.contain(at), "outside_hours"),
            (entries >= trading.max_trades_per_day, "max_trades_per_day"),
            (!self.strategy.is_warm(), "warming_up"),
        ];
        let shut = gates.into_iter().filter(|(shut, _)| *shut);
        let mut names: Vec<String> = shut.map(|(_, name)| name.to_owned()).collect();
        if session != GateReason::Ok {
            names.push(format!("session_{}", json!(session).as_str().unwrap_or_default()));
        }
        names
    }

    /// Opens a position, as large as weight, limits and money allow.
    pub fn enter(&mut self, symbol: &str, reason: String, at: DateTime<Utc>) -> Result<(), LedgerDown> {
        let Some(price) = self.prices.get(symbol).copied() else { return Ok(()) };
        let document = self.desk.settings();
        let (risk, orders) = (&document.risk_management, &document.order_management);
        let equity = self.equity();
        let hundred = Decimal::ONE_HUNDRED;
        let offset = orders.offset(orders.buy_offset, price);
        let limit = (price + offset).round_dp(2);
        let stop = (price * (hundred - risk.stop_loss_pct) / hundred).round_dp(2);
        let target = price * (hundred + risk.stop_loss_pct * risk.risk_reward_ratio) / hundred;

        let wanted = document.weight(symbol) * equity;
        if wanted < limit {
            self.strategy.hold_off(symbol);
            return Ok(());
        }
        let allowed = wanted.min(risk.max_position_size).min(equity * risk.max_position_pct / hundred);
        let at_risk = (price - stop).max(Decimal::new(1, 2));
        let by_risk = (equity * risk.risk_per_trade / at_risk).trunc();
        let quantity = (allowed / limit).trunc().min(by_risk).min(Decimal::from(10_000));

        let far = offset.abs() / price * hundred;
        let power = self.buying_power();
        let refusal = if far > orders.max_slippage_pct {
            let most = orders.max_slippage_pct;
            Some((
                "slippage_limit",
                format!("the limit is {} % off the price, {most} % is allowed", far.round_dp(3)),
            ))
        } else if quantity < Decimal::ONE {
            let most = allowed.round_dp(2);
            Some(("position_limit", format!("one share costs {limit}, the limits allow {most} a position")))
        } else if quantity * limit > power {
            let (cost, power) = ((quantity * limit).round_dp(2), power.round_dp(2));
            Some(("insufficient_buying_power", format!("it would cost {cost}, buying power is {power}")))
        } else {
            None
        };
        let draft = Draft {
            symbol: symbol.to_owned(),
            side: Side::Buy,
            order_type: OrderType::Limit,
            quantity: quantity.max(Decimal::ONE),
            limit_price: Some(limit),
            purpose: Purpose::Entry,
            reason,
            decided_price: price,
            stop_price: Some(stop),
            target_price: Some(target.round_dp(2)),
        };
        let entry = self.order(draft, refusal, at);
        self.commit(vec![entry])
    }

    /// Closes a position at the market and cancels what rests for its symbol.
    pub fn leave(
        &mut self,
        symbol: &str,
        reason: &str,
        purpose: Purpose,
        at: DateTime<Utc>,
    ) -> Result<(), LedgerDown> {
        let entries = self.leaving(symbol, reason, purpose, at);
        self.commit(entries)
    }

    /// What leaving a position takes: cancels first, so that no share is sold twice, then one order for the rest.
    pub fn leaving(&mut self, symbol: &str, reason: &str, purpose: Purpose, at: DateTime<Utc>) -> Vec<Entry> {
        let is_closing = |order: &Working| matches!(order.placed.purpose, Purpose::Exit | Purpose::Flatten);
        let of_symbol = || self.book.working.values().filter(|order| order.placed.symbol == symbol);
        let mut entries: Vec<Entry> = of_symbol()
            .filter(|order| !is_closing(order))
            .map(|order| cancel(order, "the position is being closed"))
            .collect();
        let closing: Decimal = of_symbol().filter(|order| is_closing(order)).map(Working::rest).sum();
        let held = self.book.positions.get(symbol).map_or(Decimal::ZERO, |holding| holding.quantity);
        let price = self.prices.get(symbol).copied().or_else(|| self.book.last_prices.get(symbol).copied());
        if let Some(price) = price.filter(|_| held > closing) {
            let draft = Draft {
                symbol: symbol.to_owned(),
                side: Side::Sell,
                order_type: OrderType::Market,
                quantity: held - closing,
                limit_price: None,
                purpose,
                reason: reason.to_owned(),
                decided_price: price,
                stop_price: None,
                target_price: None,
            };
            entries.push(self.order(draft, None, at));
        }
        entries
    }

    /// Lets a profit-taking order rest for each position whose entry is complete and that has no selling order. Once
    /// an operator cancelled it, the strategy watches the target instead.
    pub fn place_targets(&mut self, at: DateTime<Utc>) -> Result<(), LedgerDown> {
        if !self.may_send(true) {
            return Ok(());
        }
        let mut drafts = Vec::new();
        for holding in self.book.positions.values() {
            let busy = self.book.working.values().any(|order| order.placed.symbol == holding.symbol);
            let is_new = holding.targets_placed == 0;
            let Some(target) = holding.target_price.filter(|_| is_new && !busy) else { continue };
            let orders = &self.desk.settings().order_management;
            let limit = (target - orders.offset(orders.sell_offset, target)).round_dp(2);
            drafts.push(Draft {
                symbol: holding.symbol.clone(),
                side: Side::Sell,
                order_type: OrderType::Limit,
                quantity: self.book.free_quantity(&holding.symbol),
                limit_price: Some(limit),
                purpose: Purpose::Target,
                reason: format!("takes the profit at {limit}"),
                decided_price: target,
                stop_price: None,
                target_price: None,
            });
        }
        let entries = drafts.into_iter().map(|draft| self.order(draft, None, at)).collect();
        self.commit(entries)
    }

    /// Entries that rested too long without being filled.
    pub fn overdue_entries(&mut self, at: DateTime<Utc>) -> Vec<Entry> {
        let seconds = i64::from(self.desk.settings().order_management.poll_interval_seconds);
        let limit = TimeDelta::try_seconds(seconds).unwrap_or(TimeDelta::MAX);
        let is_overdue = |order: &&Working| {
            order.placed.purpose == Purpose::Entry
                && at - order.placed.market_at > limit
                && self.exchange.has_met(&order.placed.order_id)
        };
        let overdue: Vec<&Working> = self.book.working.values().filter(is_overdue).collect();
        for order in &overdue {
            self.strategy.hold_off(&order.placed.symbol);
        }
        overdue.into_iter().map(|order| cancel(order, "not filled in time")).collect()
    }

    /// Opens the breaker when losses have reached a limit.
    pub fn check_limits(&mut self, at: DateTime<Utc>) -> Result<(), LedgerDown> {
        if self.book.breaker.open.is_some() {
            return Ok(());
        }
        let Some((source, reason)) = self.crossed_limit(at) else { return Ok(()) };
        let mut entries = vec![Entry::Tripped { source: source.to_owned(), reason: reason.clone() }];
        entries.extend(self.cancel_entries("the circuit breaker opened"));
        self.commit(entries)?;
        let message = format!("the circuit breaker opened: {reason}");
        let data = json!({"source": source, "state": "open", "reason": reason});
        self.tell(EventKind::Breaker, Severity::Critical, message.clone(), data.clone());
        self.fail(Code::BotLimitCrossed, message, data);
        Ok(())
    }

    fn crossed_limit(&self, at: DateTime<Utc>) -> Option<(&'static str, String)> {
        let document = self.desk.settings();
        let risk = &document.risk_management;
        let thresholds = &document.circuit_breaker_thresholds;
        let today = trading_day(at);
        let (_, began_with) = self.book.day?;
        let forgiven = self.book.breaker.forgiven.filter(|(day, _)| *day == today);
        let forgiven = forgiven.map_or(Decimal::ZERO, |(_, daily)| daily.min(Decimal::ZERO));
        let loss = self.daily_pl() - forgiven;
        let share = if began_with.is_zero() { Decimal::ZERO } else { loss / began_with };
        let peak = self.book.peak;
        let drawdown = if peak.is_zero() { Decimal::ZERO } else { (self.equity() - peak) / peak };
        let pct = |part: Decimal| (part * Decimal::ONE_HUNDRED).round_dp(2);

        if loss <= risk.daily_loss_limit {
            let reason = format!(
                "today's loss of {} reached the limit of {}",
                loss.round_dp(2),
                risk.daily_loss_limit
            );
            return Some(("daily_loss", reason));
        }
        let most = (-risk.max_daily_loss_pct / Decimal::ONE_HUNDRED).max(thresholds.daily_loss);
        if share <= most {
            return Some(("daily_loss", format!("today's loss of {} % reached {} %", pct(share), pct(most))));
        }
        if drawdown <= thresholds.max_drawdown {
            let most = pct(thresholds.max_drawdown);
            return Some(("max_drawdown", format!("the drawdown of {} % reached {most} %", pct(drawdown))));
        }
        let losses = self.book.track.losses_in_a_row();
        (losses >= risk.max_consecutive_losses)
            .then(|| ("consecutive_losses", format!("{losses} trades in a row lost money")))
    }

    /// Cancels of all orders that would open a position.
    pub fn cancel_entries(&self, reason: &str) -> Vec<Entry> {
        let entries = self.book.working.values().filter(|order| order.placed.purpose == Purpose::Entry);
        entries.map(|order| cancel(order, reason)).collect()
    }

    /// Gives a draft its ids and asks everyone who may refuse it.
    fn order(&mut self, draft: Draft, refusal: Option<(&'static str, String)>, at: DateTime<Utc>) -> Entry {
        self.order_seq += 1;
        let placed = Placed {
            order_id: Uuid::now_v7().to_string(),
            client_order_id: format!("{}-{}", self.who.boot_epoch, self.order_seq),
            symbol: draft.symbol,
            side: draft.side,
            order_type: draft.order_type,
            quantity: draft.quantity,
            limit_price: draft.limit_price,
            purpose: draft.purpose,
            reason: draft.reason,
            decided_price: draft.decided_price,
            stop_price: draft.stop_price,
            target_price: draft.target_price,
            config_sha256: self.desk.running().version.sha256.clone(),
            market_at: at,
        };
        let refusal = refusal.or_else(|| self.book.objection(&placed)).or_else(|| {
            let gate = self.permission(placed.purpose != Purpose::Entry, &placed.symbol);
            let passes = matches!(gate, GateReason::Ok | GateReason::ReducingAllowed);
            let named = || json!(gate).as_str().map(str::to_owned).unwrap_or_default();
            (!passes).then(|| ("session", format!("the broker session does not let it pass: {}", named())))
        });
        match refusal {
            None => Entry::Placed(placed),
            Some((code, reason)) => Entry::Refused { order: placed, code: code.to_owned(), reason },
        }
    }
}

/// The cancel of an order.
pub(super) fn cancel(order: &Working, reason: &str) -> Entry {
    Entry::Cancelled { order_id: order.placed.order_id.clone(), reason: reason.to_owned() }
}
