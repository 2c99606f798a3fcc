//! Plausible values of the contract, which tests change as they need.

use botops_contract::{
    Account, Amount, BotPhase, BotReport, BotTradingDay, Breaker, BreakerState, Capability, ConfigSummary,
    GateReason, Hello, LoopStats, MarketState, MarketStatus, Order, OrderStatus, OrderType, Performance,
    Position, RunningConfig, Session, SessionPhase, Side, StreakType, Trade, TradeOutcome, TradingMode, Verb,
    VersionRef,
};
use chrono::{TimeZone, Utc};
use rust_decimal::Decimal;

use super::scripted_config::{DOCUMENT, sha256};

/// The `hello` of the bot with this state.
pub(crate) fn hello(report: &BotReport) -> Hello {
    let mut capabilities: Vec<_> = Verb::ALL.iter().map(|verb| Capability::from(verb.as_str())).collect();
    capabilities.extend(["config", "config-schema", "session", "events", "trades"].map(Capability::from));
    Hello {
        contract: Some(botops_contract::VERSION),
        bot_id: "scripted".parse().unwrap(),
        name: Some("Scripted bot".to_owned()),
        version: Some("1.2.3".to_owned()),
        pid: Some(std::process::id()),
        boot_epoch: report.boot_epoch.clone(),
        started_at: Some(Utc::now()),
        mode: report.mode,
        mode_raw: None,
        capabilities,
        log_dir: None,
        adapter: None,
    }
}

/// A complete state: a paper account of 100,000 with two positions, an open order and a filled one.
pub(crate) fn report() -> BotReport {
    let now = Utc::now();
    let config = VersionRef { version: 1, sha256: sha256(DOCUMENT.as_bytes()) };
    BotReport {
        seq: 1,
        boot_epoch: Some("life-1".to_owned()),
        as_of: Some(now),
        mode: TradingMode::Paper,
        phase: BotPhase::Running,
        trading_enabled: Some(true),
        day: BotTradingDay { zone: Some("America/New_York".to_owned()), began_at: None },
        account: Account {
            account_id: None,
            currency: Some("USD".to_owned()),
            buying_power: amount("61500.25"),
            account_balance: amount("100250.75"),
            cash_balance: amount("62000.25"),
            day_trade_count: Some(1),
            last_updated: Some(now),
        },
        positions: Some(vec![
            position("SPY", "50", "500.10", "505.40"),
            position("MSFT", "-20", "420.00", "418.50"),
        ]),
        orders: Some(vec![
            order("o-2", "QQQ", Side::Buy, OrderType::Limit, OrderStatus::Pending),
            order("o-1", "SPY", Side::Buy, OrderType::Market, OrderStatus::Filled),
        ]),
        performance: Performance {
            win_rate: Some(0.6),
            avg_risk_reward: Some(1.8),
            total_realized_pl: amount("-44.25"),
            total_unrealized_pl: amount("295.00"),
            total_pl: amount("250.75"),
            daily_pl: amount("120.50"),
            current_streak: Some(2),
            streak_type: Some(StreakType::Win),
            streak_type_raw: None,
            trades_today: Some(3),
            session_count: Some(1),
            max_drawdown: amount("-310.00"),
            as_of: Some(now),
        },
        market: MarketState {
            status: Some(MarketStatus::Open),
            status_raw: None,
            phase: Some("simulated".to_owned()),
            source: Some("simulated".to_owned()),
            last_price_at: Some(now),
            market_time: Some(now),
            next_open: None,
            next_close: None,
        },
        session: Some(Session {
            broker: "paper".to_owned(),
            state: SessionPhase::Healthy,
            reason: None,
            error_code: None,
            is_healthy: Some(true),
            state_raw: None,
            since: Some(now),
            gate: Some(GateReason::Ok),
            gate_raw: None,
            resumes_at: None,
            retry_after_s: None,
            session_start_time: Some(now),
            session_uptime_seconds: Some(12.5),
            last_health_check: Some(now),
            last_ok: Some(now),
            last_latency_ms: Some(1.5),
            health_check_count: Some(7),
            reauth_count: Some(1),
            consecutive_failures: Some(0),
            reauth_budget_left: Some(10),
            token_expires_at: None,
            next_check_at: None,
            clock_skew_seconds: None,
            needs_human: None,
        }),
        circuit_breaker: Some(Breaker {
            state: BreakerState::Closed,
            reason: None,
            state_raw: None,
            since: Some(now),
            source: None,
            failure_count: Some(0),
            resumes_at: None,
            retry_at: None,
            needs_human: None,
            stops: None,
        }),
        echoed_config: None,
        config: Some(RunningConfig {
            running: config.clone(),
            committed: config,
            trial: None,
            pending_restart: Vec::new(),
            summary: ConfigSummary {
                mode: Some(TradingMode::Paper),
                mode_raw: None,
                max_position_size_pct: Some(25.0),
                daily_loss_limit: amount("-2000"),
            },
        }),
        recent_errors: Some(Vec::new()),
        error_count_last_hour: Some(0),
        last_trade_at: Some(now),
        no_entry_reasons: Some(Vec::new()),
        loop_stats: LoopStats {
            ticks: Some(1000),
            tick_delay_p50_ms: Some(0.1),
            tick_delay_p99_ms: Some(1.2),
            tick_delay_max_ms: Some(3.4),
            last_tick_at: Some(now),
            expected_interval_s: None,
            order_rejects_last_hour: Some(0),
        },
        ..BotReport::default()
    }
}

/// An open position; `quantity` is negative for a short one.
pub(crate) fn position(symbol: &str, quantity: &str, entry: &str, current: &str) -> Position {
    let (quantity, entry, current) = (dec(quantity), dec(entry), dec(current));
    let unrealized = (current - entry) * quantity;
    Position {
        symbol: symbol.to_owned(),
        quantity: Some(quantity.into()),
        entry_price: Some(entry.into()),
        current_price: Some(current.into()),
        unrealized_pl: Some(unrealized.into()),
        unrealized_pl_pct: Some((unrealized * dec("100") / (entry * quantity).abs()).round_dp(2).into()),
        last_updated: Some(Utc::now()),
        ..Position::default()
    }
}

/// An order for 10 shares.
pub(crate) fn order(id: &str, symbol: &str, side: Side, order_type: OrderType, status: OrderStatus) -> Order {
    let filled = status == OrderStatus::Filled;
    Order {
        id: id.to_owned(),
        client_order_id: format!("c-{id}"),
        symbol: Some(symbol.to_owned()),
        side: Some(side),
        order_type: Some(order_type),
        quantity: amount("10"),
        filled_quantity: amount(if filled { "10" } else { "0" }),
        limit_price: amount("99.50").filter(|_| order_type == OrderType::Limit),
        average_fill_price: amount("100.00").filter(|_| filled),
        status: Some(status),
        created_at: Some(Utc::now()),
        updated_at: Some(Utc::now()),
        ..Order::default()
    }
}

/// The closed trade with this number, one per minute since the start of 2026.
pub(crate) fn trade(seq: u64, net_pl: &str) -> Trade {
    let net_pl = dec(net_pl);
    let start = Utc.with_ymd_and_hms(2026, 1, 5, 15, 0, 0).unwrap();
    let closed_at = start + chrono::Duration::minutes(i64::try_from(seq).unwrap());
    Trade {
        seq,
        id: format!("t-{seq}"),
        symbol: "SPY".to_owned(),
        account_id: None,
        side: Some(Side::Buy),
        side_raw: None,
        quantity: amount("1"),
        entry_price: amount("100"),
        exit_price: Some((dec("100") + net_pl).into()),
        opened_at: Some(closed_at - chrono::Duration::seconds(30)),
        closed_at,
        stop_price: None,
        target_price: None,
        gross_pl: Some(net_pl.into()),
        commission: amount("0"),
        net_pl: Some(net_pl.into()),
        outcome: Some(match net_pl.cmp(&Decimal::ZERO) {
            std::cmp::Ordering::Greater => TradeOutcome::Win,
            std::cmp::Ordering::Less => TradeOutcome::Loss,
            std::cmp::Ordering::Equal => TradeOutcome::Breakeven,
        }),
        outcome_raw: None,
        entry_reason: "the average crossed".to_owned(),
        exit_reason: "the target was reached".to_owned(),
        boot_epoch: "life-1".to_owned(),
        config_sha256: String::new(),
    }
}

/// A decimal from its text.
#[track_caller]
pub(crate) fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// An amount from its text.
#[track_caller]
pub(crate) fn amount(text: &str) -> Option<Amount> {
    Some(text.parse().unwrap())
}
