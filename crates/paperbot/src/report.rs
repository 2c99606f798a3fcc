//! The bot's picture of itself, built after each tick from the book and the desk.

use std::time::Instant;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};

use super::book::{Change, Holding, trading_day};
use super::engine::{Engine, Identity};
use super::journal::TradeRecord;
use super::ledger::{Placed, Purpose};
use super::market::Feed;
use super::session::SessionMonitor;
use botops_contract::{
    Account, BotReport, ConfigSummary, GateReason, LoopStats, MarketState, MarketStatus, Mode, Order,
    OrderType, Phase, Position, RunningConfig, Side,
};

impl Engine {
    /// The state as the contract has it.
    pub fn report(&self) -> BotReport {
        let now = Utc::now();
        let today = trading_day(self.market_at.unwrap_or(now));
        let positions: Vec<Position> = self.positions();
        let unrealized = positions.iter().filter_map(|position| position.unrealized_pl).sum();
        let resting = self.book.working.values().rev().map(|order| order.order(order.status(), None));
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        BotReport {
            seq: self.seq,
            boot_epoch: self.who.boot_epoch.clone(),
            as_of: now,
            mode: self.who.mode,
            phase: self.phase(),
            phase_reason: self.phase_reason(),
            trading_enabled: self.trading_enabled(),
            account: Account {
                buying_power: self.buying_power().round_dp(2),
                account_balance: self.equity().round_dp(2),
                cash_balance: self.book.cash.round_dp(2),
                day_trade_count: None,
                last_updated: now,
            },
            positions,
            orders: resting.chain(self.book.finished.iter().cloned()).collect::<Vec<Order>>(),
            performance: self.book.track.report(today, unrealized, self.daily_pl().round_dp(2), now),
            market: self.market(),
            session: self.session.as_ref().map(SessionMonitor::facts),
            circuit_breaker: self.circuit_breaker(),
            config: self.config(),
            recent_errors: self.errors.iter().cloned().collect(),
            error_count_last_hour: count(self.error_times.len()),
            worst_error_last_hour: self.error_times.iter().map(|(_, severity)| *severity).max(),
            last_trade_at: self.book.last_fill_at,
            no_entry_reasons: self.no_entry.clone(),
            loop_stats: LoopStats {
                ticks: self.pulse.ticks,
                tick_delay_p50_ms: self.pulse.quantiles.0,
                tick_delay_p99_ms: self.pulse.quantiles.1,
                tick_delay_max_ms: self.pulse.quantiles.2,
                last_tick_at: self.pulse.last_tick_at,
                expected_interval_s: Some(self.who.tick.as_secs_f64()),
                order_rejects_last_hour: count(self.reject_times.len()),
            },
        }
    }

    /// What the loop is doing.
    pub fn phase(&self) -> Phase {
        if self.stopping {
            Phase::Stopping
        } else if self.pulse.ticks == 0 {
            Phase::Starting
        } else if self.book.paused.is_some() {
            Phase::Paused
        } else if self.trading_enabled() {
            Phase::Running
        } else {
            Phase::Degraded
        }
    }

    /// Whether new positions may be opened, the hours aside.
    pub fn trading_enabled(&self) -> bool {
        self.book.paused.is_none()
            && self.book.breaker.open.is_none()
            && self.ledger_fault.is_none()
            && !self.market_over
            && !self.stopping
            && self.outlook() == GateReason::Ok
    }

    fn phase_reason(&self) -> Option<String> {
        if let Some(fault) = &self.ledger_fault {
            return Some(format!("the ledger cannot be written: {fault}"));
        }
        if let Some((reason, _)) = &self.book.paused {
            return Some(format!("paused: {reason}"));
        }
        if let Some((_, reason)) = &self.book.breaker.open {
            return Some(format!("the circuit breaker is open: {reason}"));
        }
        if self.market_over {
            return Some("the replay has ended".to_owned());
        }
        let session = self.session.as_ref().map(SessionMonitor::facts)?;
        let because = session.reason.unwrap_or_else(|| "it is not checked yet".to_owned());
        (session.gate != GateReason::Ok).then(|| format!("the broker session: {because}"))
    }

    fn positions(&self) -> Vec<Position> {
        let position = |holding: &Holding| {
            let entry = holding.entry_price();
            let current = self.prices.get(&holding.symbol).copied();
            let gain = current.map(|price| (price - entry) * holding.quantity);
            let pct = current.map(|price| ((price - entry) / entry * Decimal::ONE_HUNDRED).round_dp(2));
            Position {
                symbol: holding.symbol.clone(),
                quantity: holding.quantity,
                entry_price: entry,
                current_price: current,
                unrealized_pl: gain.map(|gain| gain.round_dp(2)),
                unrealized_pl_pct: pct,
                stop_price: holding.stop_price,
                target_price: holding.target_price,
                last_updated: self.last_price_at.unwrap_or(holding.updated_at),
            }
        };
        let mut positions: Vec<Position> = self.book.positions.values().map(position).collect();
        positions.sort_by_key(|position| std::cmp::Reverse(position.unrealized_pl));
        positions
    }

    fn market(&self) -> MarketState {
        let (status, phase) = match (&self.feed, self.market_over) {
            (Feed::Simulated(_), _) => (MarketStatus::Open, "simulated"),
            (Feed::Replayed(_), false) => (MarketStatus::Open, "core"),
            (Feed::Replayed(_), true) => (MarketStatus::Closed, "closed"),
        };
        MarketState {
            status,
            phase: phase.to_owned(),
            source: self.feed.source().to_owned(),
            last_price_at: self.last_price_at,
            market_time: self.market_at,
            next_open: None,
            next_close: None,
        }
    }

    fn config(&self) -> RunningConfig {
        let state = self.desk.state(Instant::now());
        let risk = &self.desk.settings().risk_management;
        RunningConfig {
            running: state.running,
            committed: state.committed,
            trial: state.trial,
            pending_restart: state.pending_restart,
            summary: ConfigSummary {
                mode: self.who.mode,
                max_position_size_pct: risk.max_position_pct.to_f64().unwrap_or_default(),
                daily_loss_limit: risk.daily_loss_limit,
            },
        }
    }
}

impl TradeRecord {
    /// The log line of a filled order; with the trade's result when the fill closed one.
    pub fn new(
        order: &Order,
        placed: &Placed,
        change: &Change,
        who: &Identity,
        market_at: DateTime<Utc>,
    ) -> Self {
        let price = order.average_fill_price.unwrap_or_default();
        let trade = change.closed.as_deref();
        let (commission, slippage) = change.costs;
        let entry = placed.purpose == Purpose::Entry;
        let ratio = placed.stop_price.zip(placed.target_price).and_then(|(stop, target)| {
            let risk = price - stop;
            (!risk.is_zero()).then(|| ((target - price) / risk).round_dp(2))
        });
        Self {
            timestamp: market_at,
            symbol: order.symbol.clone(),
            action: order.side,
            quantity: order.filled_quantity,
            price,
            total_value: (price * order.filled_quantity).round_dp(2),
            order_id: order.id.clone(),
            execution_mode: if who.mode == Mode::Live { "LIVE" } else { "PAPER" },
            account_id: who.id.clone(),
            strategy_name: "momentum",
            entry_type: if order.order_type == OrderType::Limit { "limit" } else { "market" },
            stop_loss: trade.map_or(placed.stop_price, |trade| trade.stop_price),
            target: trade.map_or(placed.target_price, |trade| trade.target_price),
            decision_reasoning: trade.map_or(&placed.reason, |trade| &trade.entry_reason).clone(),
            indicators_used: if entry {
                vec!["moving_average_fast", "moving_average_slow"]
            } else {
                Vec::new()
            },
            risk_reward_ratio: ratio,
            outcome: trade.map_or(Value::from("open"), |trade| json!(trade.outcome)),
            profit_loss: trade.map(|trade| trade.gross_pl),
            hold_duration_seconds: trade.map(|trade| (trade.closed_at - trade.opened_at).num_seconds()),
            exit_timestamp: trade.map(|trade| trade.closed_at),
            exit_reasoning: (order.side == Side::Sell).then(|| placed.reason.clone()),
            slippage,
            commission,
            net_profit_loss: trade.map(|trade| trade.net_pl),
            session_id: who.boot_epoch.clone(),
            bot_version: env!("CARGO_PKG_VERSION"),
            config_hash: placed.config_sha256.clone(),
        }
    }
}
