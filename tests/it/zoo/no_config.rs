//! A bot with everything but a config that could be managed.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "no_config", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "version": "1", "mode": "paper", "boot_epoch": "c",
        "capabilities": ["pause", "resume", "flatten", "cancel-orders"]})
}

fn state(clock: &BotClock) -> Value {
    json!({
        "seq": clock.seq(), "boot_epoch": "c", "as_of": now(), "mode": "paper", "phase": "running", "trading_enabled": true,
        "account": {"account_balance": "1000", "buying_power": "900", "cash_balance": "900", "currency": "EUR"},
        "positions": [], "orders": [], "config": null,
        "market": {"status": "OPEN", "last_price_at": now()},
        "circuit_breaker": {"state": "closed", "reason": null, "since": "2026-01-01T00:00:00Z"},
        "no_entry_reasons": [],
    })
}
