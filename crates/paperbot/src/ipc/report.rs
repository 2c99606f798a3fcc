//! Builds the answer to `GET state` from the parts of the bot.

use std::time::Instant;

use chrono::Utc;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::recent_errors::RecentErrors;
use super::trading_status::TradingStatus;
use crate::account::book::{OpenPosition, trading_day};
use crate::account::performance::performance_of;
use crate::account::recorded_account::RecordedAccount;
use crate::config::slot::ConfigSlot;
use crate::identity::BotIdentity;
use crate::market::prices::MarketPrices;
use crate::session_gate::SessionGate;
use botops_contract::{Account, BotReport, ConfigSummary, LoopStats, Order, Position, RunningConfig};

/// The parts that the report is built from.
#[derive(Debug)]
pub(crate) struct ReportSources<'a> {
    /// Number of this report; grows with each snapshot.
    pub seq: u64,
    pub identity: &'a BotIdentity,
    pub status: TradingStatus,
    pub account: &'a RecordedAccount,
    pub market: &'a MarketPrices,
    pub config: &'a ConfigSlot,
    pub session: &'a SessionGate,
    pub errors: &'a RecentErrors,
    /// Names of all gates that are closed to new positions.
    pub no_entry_reasons: Vec<String>,
    pub loop_stats: LoopStats,
}

impl ReportSources<'_> {
    /// The state in the form of the contract.
    pub(crate) fn into_report(self) -> BotReport {
        let now = Utc::now();
        let (book, prices) = (self.account.book(), self.market.last());
        let today = trading_day(self.market.market_at().unwrap_or(now));
        let positions = self.positions();
        let resting = book.working.values().rev().map(|order| order.order(order.status(), None));
        BotReport {
            seq: self.seq,
            boot_epoch: self.identity.boot_epoch.clone(),
            as_of: now,
            mode: self.identity.mode,
            phase: self.status.phase,
            phase_reason: self.status.reason.clone(),
            trading_enabled: self.status.trading_enabled,
            account: Account {
                buying_power: book.buying_power(prices),
                account_balance: book.equity(prices),
                cash_balance: book.cash,
                day_trade_count: None,
                last_updated: now,
            },
            positions,
            orders: resting.chain(book.finished.iter().cloned()).collect::<Vec<Order>>(),
            performance: performance_of(book, prices, today, now),
            market: self.market.state(self.session.market_hours()),
            session: self.session.facts(),
            circuit_breaker: self.session.circuit_breaker(&book.breaker),
            config: self.running_config(),
            recent_errors: self.errors.newest(),
            error_count_last_hour: self.errors.count_last_hour(),
            worst_error_last_hour: self.errors.worst_last_hour(),
            last_trade_at: book.last_fill_at,
            no_entry_reasons: self.no_entry_reasons,
            loop_stats: self.loop_stats,
        }
    }

    /// Open positions, largest unrealised profit first.
    fn positions(&self) -> Vec<Position> {
        let position = |open: &OpenPosition| {
            let entry = open.entry_price();
            let current = self.market.price(&open.symbol);
            let pct = current.map(|price| ((price - entry) / entry * Decimal::ONE_HUNDRED).round_dp(2));
            Position {
                symbol: open.symbol.clone(),
                quantity: open.quantity,
                entry_price: entry,
                current_price: current,
                unrealized_pl: current.map(|price| open.unrealized(price)),
                unrealized_pl_pct: pct,
                stop_price: open.stop_price,
                target_price: open.target_price,
                last_updated: self.market.last_price_at().unwrap_or(open.updated_at),
            }
        };
        let mut positions: Vec<Position> = self.account.book().positions.values().map(position).collect();
        positions.sort_by_key(|position| std::cmp::Reverse(position.unrealized_pl));
        positions
    }

    fn running_config(&self) -> RunningConfig {
        let state = self.config.state(Instant::now());
        let risk = &self.config.settings().risk_management;
        RunningConfig {
            running: state.running,
            committed: state.committed,
            trial: state.trial,
            pending_restart: state.pending_restart,
            summary: ConfigSummary {
                mode: self.identity.mode,
                max_position_size_pct: risk.max_position_pct.to_f64().unwrap_or_default(),
                daily_loss_limit: risk.daily_loss_limit,
            },
        }
    }
}
