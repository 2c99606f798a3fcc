//! Builds the answer to `GET state` from the parts of the bot.

use std::time::Instant;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeZone as _, Utc};
use chrono_tz::America::New_York;
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
use botops_contract::{
    Account, Amount, BotReport, BotTradingDay, ConfigSummary, LoopStats, Order, Performance, Position,
    RunningConfig, UnknownField, UnknownWhy, amount_value,
};

/// The currency of paperbot's account.
const CURRENCY: &str = "USD";

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
        let unknown = self.unknown_fields();
        let is_known = self.account.damage().is_none();
        let known = |amount: Decimal| is_known.then(|| Amount::from(amount));
        let resting = book.working.values().rev().map(|order| order.order(order.status(), None));
        BotReport {
            seq: self.seq,
            boot_epoch: Some(self.identity.boot_epoch.clone()),
            as_of: Some(now),
            mode: self.identity.mode,
            mode_raw: None,
            phase: self.status.phase,
            phase_raw: None,
            phase_reason: self.status.reason.clone(),
            trading_enabled: Some(self.status.trading_enabled),
            day: BotTradingDay { zone: Some(New_York.name().to_owned()), began_at: day_began_at(today) },
            account: Account {
                account_id: book.account_id.clone(),
                currency: Some(CURRENCY.to_owned()),
                buying_power: known(book.buying_power(prices)),
                account_balance: known(book.equity(prices)),
                cash_balance: known(book.cash),
                day_trade_count: None,
                last_updated: Some(now),
            },
            positions: Some(positions),
            orders: Some(resting.chain(book.finished.iter().cloned()).collect::<Vec<Order>>()),
            performance: if is_known {
                performance_of(book, prices, today, now)
            } else {
                Performance { as_of: Some(now), ..Performance::default() }
            },
            market: self.market.state(self.session.market_hours()),
            session: self.session.facts(),
            circuit_breaker: Some(self.session.circuit_breaker(&book.breaker)),
            config: Some(self.running_config()),
            echoed_config: None,
            recent_errors: Some(self.errors.newest()),
            error_count_last_hour: Some(self.errors.count_last_hour()),
            worst_error_last_hour: self.errors.worst_last_hour(),
            last_trade_at: book.last_fill_at,
            no_entry_reasons: Some(self.no_entry_reasons),
            locks: None,
            loop_stats: self.loop_stats,
            unknown,
        }
    }

    fn unknown_fields(&self) -> Vec<UnknownField> {
        let unknown = |field: &str, why| UnknownField { field: field.to_owned(), why, why_raw: None };
        let mut fields = vec![unknown("account.day_trade_count", UnknownWhy::NotApplicable)];
        if self.account.damage().is_some() {
            // The ledger, from which the bot knows them, is not believed.
            let amounts =
                ["account.cash_balance", "account.account_balance", "account.buying_power", "performance"];
            fields.extend(amounts.map(|field| unknown(field, UnknownWhy::UpstreamError)));
        }
        fields
    }

    /// Open positions, largest unrealised profit first; those that cannot be proven come last, without amounts.
    fn positions(&self) -> Vec<Position> {
        let position = |open: &OpenPosition| {
            let entry = open.entry_price();
            let current = self.market.price(&open.symbol);
            let pct = current.map(|price| ((price - entry) / entry * Decimal::ONE_HUNDRED).round_dp(2));
            Position {
                symbol: open.symbol.clone(),
                quantity: Some(open.quantity.into()),
                entry_price: Some(entry.into()),
                current_price: current.map(Amount::from),
                unrealized_pl: current.map(|price| open.unrealized(price).into()),
                unrealized_pl_pct: pct.map(Amount::from),
                stop_price: open.stop_price.map(Amount::from),
                target_price: open.target_price.map(Amount::from),
                last_updated: Some(self.market.last_price_at().unwrap_or(open.updated_at)),
                ..Position::default()
            }
        };
        let mut positions: Vec<Position> = self.account.book().positions.values().map(position).collect();
        positions.sort_by_key(|position| std::cmp::Reverse(amount_value(position.unrealized_pl.as_ref())));
        let in_doubt = self.account.damage().map(|damage| damage.in_doubt.iter()).into_iter().flatten();
        positions.extend(in_doubt.map(|symbol| Position { symbol: symbol.clone(), ..Position::default() }));
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
                mode: Some(self.identity.mode),
                mode_raw: None,
                max_position_size_pct: risk.max_position_pct.to_f64(),
                daily_loss_limit: Some(risk.daily_loss_limit.into()),
            },
        }
    }
}

/// When this day began in New York.
fn day_began_at(day: NaiveDate) -> Option<DateTime<Utc>> {
    let midnight = New_York.from_local_datetime(&day.and_time(NaiveTime::MIN)).earliest()?;
    Some(midnight.with_timezone(&Utc))
}
