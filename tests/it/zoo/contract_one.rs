//! A bot of the first contract, which has every field that was required then.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "contract_one", hello, state };

fn hello() -> Value {
    json!({"contract": 1, "bot_id": "-", "name": "My Bot", "version": "0.1", "pid": std::process::id(), "boot_epoch": "e",
        "started_at": "2026-01-01T00:00:00Z", "mode": "paper", "capabilities": ["pause", "resume"]})
}

fn state(clock: &BotClock) -> Value {
    let version = json!({"version": 0, "sha256": "0".repeat(64)});
    json!({
        "seq": clock.seq(), "boot_epoch": "e", "as_of": now(), "mode": "paper", "phase": "running", "trading_enabled": true,
        "account": {"buying_power": "500", "account_balance": "1000", "cash_balance": "500", "day_trade_count": null,
                    "last_updated": now()},
        "positions": [{"symbol": "BTCUSD", "quantity": "0.01", "entry_price": "49000", "current_price": "50000",
                       "unrealized_pl": "10", "unrealized_pl_pct": "2.04", "last_updated": now()}],
        "performance": {"win_rate": null, "avg_risk_reward": null, "total_realized_pl": "0", "total_unrealized_pl": "10",
                        "total_pl": "10", "daily_pl": "10", "current_streak": 0, "streak_type": "NONE", "trades_today": 0,
                        "session_count": 1, "max_drawdown": "0", "as_of": now()},
        "market": {"status": "OPEN", "phase": "core", "source": "kraken", "last_price_at": now(), "market_time": now()},
        "circuit_breaker": {"state": "closed", "reason": null, "since": "2026-01-01T00:00:00Z"},
        "config": {"running": version, "committed": version,
                   "summary": {"mode": "paper", "max_position_size_pct": 50, "daily_loss_limit": "-100"}},
    })
}
