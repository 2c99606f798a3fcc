//! A bot that trades real money.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "live", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "version": "1", "mode": "live", "boot_epoch": "l", "name": "real"})
}

fn state(clock: &BotClock) -> Value {
    json!({
        "seq": clock.seq(), "boot_epoch": "l", "as_of": now(), "mode": "live", "phase": "paused",
        "phase_reason": "by its owner", "trading_enabled": false,
        "account": {"account_balance": "12.34", "currency": "USD"}, "positions": [], "orders": [],
    })
}
