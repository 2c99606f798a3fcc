//! A bot that keeps no journal of its closed trades and tracks neither drawdown nor a streak.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "no_trades", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "version": "1", "mode": "paper", "boot_epoch": "t", "capabilities": ["pause"]})
}

fn state(clock: &BotClock) -> Value {
    json!({
        "seq": clock.seq(), "boot_epoch": "t", "as_of": now(), "mode": "paper", "phase": "running", "trading_enabled": true,
        "account": {"account_balance": "1000.5"},
        "positions": [{"symbol": "SPY", "quantity": "1", "entry_price": "500", "current_price": null}],
        "orders": [],
        "performance": {"win_rate": null, "max_drawdown": null, "daily_pl": null},
        "unknown": [{"field": "performance.max_drawdown", "why": "not_reported"}],
    })
}
