//! A made-up bot: the real code makes the examples of the API document from it.
//!
//! The names of all fields that `fields=` may ask for come from here too, so every part is filled.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::metrics::{MetricsView, OpsNumbers};
use super::model::{ConfigSync, OverviewExtras};
use super::moment::StateMoment;
use super::pause_view::PauseView;
use super::state_view::{LastKnownView, StateView};
use super::summary::render_summary;
use crate::bots::{BotSnapshot, DroppedItems, FirstSeen, Presence, UnaskedRestart};
use crate::errors::UndatedErrors;
use botops_contract::{BotPhase, BotReport, Hello};

/// The state of the made-up bot.
pub(super) fn state() -> StateView {
    with_moment(StateView::of)
}

/// A state in which every part is filled, those included that no bot has at the same time.
pub(super) fn filled_state() -> StateView {
    let moment = Some(at("2026-11-23T15:30:01Z"));
    let pause = PauseView {
        by: Some("operator".to_owned()),
        at: moment,
        reason: Some("news at two".to_owned()),
        ended_by: Some("POST /api/v1/control/resume".to_owned()),
    };
    let last_known = LastKnownView {
        as_of: moment,
        age_seconds: Some(12.0),
        phase: Some(BotPhase::Running),
        trading_enabled: Some(true),
        session_state: None,
        market_status: None,
    };
    StateView { pause: Some(pause), last_known: Some(last_known), ..state() }
}

/// The summary of the made-up bot as JSON.
pub(super) fn summary_json() -> serde_json::Value {
    with_moment(|moment| {
        let rendered = render_summary(moment, &StateView::of(moment), &[]);
        serde_json::from_str(&rendered.json).expect("the summary is JSON")
    })
}

/// The summary of the made-up bot as Markdown.
pub(super) fn summary_markdown() -> String {
    with_moment(|moment| render_summary(moment, &StateView::of(moment), &[]).markdown)
}

/// The metrics of the made-up bot.
pub(super) fn metrics() -> MetricsView {
    let ops = OpsNumbers {
        websocket_connections: 2,
        stream_messages: 720,
        polls: 3_600,
        poll_latency_ms: Some(0.85),
        ..OpsNumbers::default()
    };
    MetricsView::of(&state(), &snapshot(), ops, 1_058)
}

fn with_moment<T>(make: impl FnOnce(&StateMoment<'_>) -> T) -> T {
    let snapshot = snapshot();
    let sync = ConfigSync { status: "in_sync".to_owned(), reason: "the bot runs version 3".to_owned() };
    let extras = OverviewExtras { config_sync: Some(sync), ..OverviewExtras::default() };
    let listed = snapshot.report.as_deref().map_or(&[][..], BotReport::error_list);
    let reported = UndatedErrors::default().date(listed, None, at("2026-11-23T15:30:01Z"));
    make(&StateMoment {
        snapshot: &snapshot,
        extras: &extras,
        ttl: Duration::from_secs(60),
        now: at("2026-11-23T15:30:01.250Z"),
        age: Some(Duration::from_millis(250)),
        reported: &reported,
    })
}

/// What is known of the made-up bot.
pub(super) fn snapshot() -> BotSnapshot {
    let report = report();
    BotSnapshot {
        id: "paperbot".parse().expect("letters make a bot id"),
        hello: Some(Arc::new(hello())),
        presence: Presence::Connected,
        presence_reason: "it answers on time".to_owned(),
        since: at("2026-11-23T14:30:00Z"),
        dropped: DroppedItems::default(),
        unreadable: Arc::default(),
        unreadable_more: 0,
        received: Some(std::time::Instant::now()),
        received_at: Some(at("2026-11-23T15:30:01Z")),
        as_of_seen: Some(just_seen()),
        tick_seen: Some(just_seen()),
        absence: None,
        unasked_restart: Arc::new(UnaskedRestart::not_asked_yet()),
        other_processes: None,
        operator: Arc::default(),
        contradictions: Arc::default(),
        next_poll: std::time::Instant::now(),
        poll_latency: Some(Duration::from_micros(850)),
        polls: 3_600,
        report: Some(Arc::new(report)),
    }
}

fn just_seen() -> FirstSeen {
    FirstSeen { at: std::time::Instant::now(), age: Duration::ZERO, ahead: Duration::ZERO }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a literal time")
}

fn hello() -> Hello {
    let hello = json!({
        "contract": 1, "bot_id": "paperbot", "name": "paperbot", "version": "0.1.0", "pid": 4242,
        "boot_epoch": "0192f3a0-5c1e-7c4b-9d60-3a4f1c2b5d6e", "started_at": "2026-11-23T14:30:00Z",
        "mode": "paper", "capabilities": ["pause", "resume", "config", "events", "trades"]
    });
    serde_json::from_value(hello).expect("the literal is a hello")
}

fn report() -> BotReport {
    let now = "2026-11-23T15:30:01Z";
    let hash = "3fa9c1d2".repeat(8);
    let report = json!({
        "seq": 7201, "boot_epoch": "0192f3a0-5c1e-7c4b-9d60-3a4f1c2b5d6e", "as_of": now, "mode": "paper",
        "phase": "running", "trading_enabled": true,
        "account": {"buying_power": "71250.40", "account_balance": "100312.75", "cash_balance": "71250.40",
            "day_trade_count": 2, "last_updated": now},
        "positions": [{"symbol": "SPY", "quantity": "40", "entry_price": "598.12", "current_price": "602.31",
            "unrealized_pl": "167.60", "unrealized_pl_pct": "0.70", "stop_price": "586.16",
            "target_price": "622.04", "last_updated": now}],
        "orders": [{"id": "0192f3a1-0a7e-7b1c-8f55-6d1e2f3a4b5c", "client_order_id": "rebalance-17",
            "symbol": "QQQ", "side": "BUY", "order_type": "LIMIT", "quantity": "10", "filled_quantity": "4",
            "limit_price": "505.20", "average_fill_price": "505.18", "status": "PARTIALLY_FILLED",
            "status_reason": null, "created_at": "2026-11-23T15:29:40Z", "updated_at": now}],
        "performance": {"win_rate": 0.58, "avg_risk_reward": 1.9, "total_realized_pl": "145.15",
            "total_unrealized_pl": "167.60", "total_pl": "312.75", "daily_pl": "312.75", "current_streak": 2,
            "streak_type": "WIN", "trades_today": 6, "session_count": 3, "max_drawdown": "-84.20", "as_of": now},
        "market": {"status": "OPEN", "phase": "core", "source": "simulated", "last_price_at": now,
            "market_time": now, "next_open": "2026-11-24T14:30:00Z", "next_close": "2026-11-23T21:00:00Z"},
        "session": {"broker": "paper", "state": "healthy", "reason": null, "is_healthy": true,
            "since": "2026-11-23T14:30:02Z", "gate": "ok", "session_start_time": "2026-11-23T14:30:00Z",
            "session_uptime_seconds": 3601.0, "last_health_check": now, "last_ok": now, "last_latency_ms": 12.5,
            "health_check_count": 360, "reauth_count": 0, "consecutive_failures": 0, "reauth_budget_left": 5},
        "circuit_breaker": {"state": "closed", "reason": null, "since": "2026-11-23T14:30:00Z"},
        "config": {"running": {"version": 3, "sha256": hash}, "committed": {"version": 3, "sha256": hash},
            "trial": null, "pending_restart": [],
            "summary": {"mode": "paper", "max_position_size_pct": 25.0, "daily_loss_limit": "-500.00"}},
        "recent_errors": [{"error_code": "BRK_010", "error_type": "TradingError", "severity": "medium",
            "message": "the order for 500 NVDA was refused", "cause": "buying power is 71250.40, 92110.00 is needed",
            "impact": "the position was not opened; nothing else changed",
            "remediation": "Lower max_position_size_pct, or wait until a position is closed.",
            "timestamp": "2026-11-23T15:12:09Z"}],
        "error_count_last_hour": 1, "worst_error_last_hour": "medium", "last_trade_at": "2026-11-23T15:29:58Z",
        "no_entry_reasons": ["NVDA: buying power is too small"],
        "locks": [{"symbol": "TSLA", "side": "long", "until": "2026-11-23T16:00:00Z", "reason": "two losses in an hour"}],
        "loop": {"ticks": 14405, "tick_delay_p50_ms": 0.1, "tick_delay_p99_ms": 0.4, "tick_delay_max_ms": 1.9,
            "last_tick_at": now}
    });
    serde_json::from_value(report).expect("the literal is a report")
}
