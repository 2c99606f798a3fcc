//! A bot without a broker session and without a circuit breaker.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "no_session", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "version": "1", "mode": "backtest", "boot_epoch": "s"})
}

fn state(clock: &BotClock) -> Value {
    json!({
        "seq": clock.seq(), "boot_epoch": "s", "as_of": now(), "mode": "backtest", "phase": "running",
        "trading_enabled": true, "account": {"account_balance": "1000"}, "positions": [], "orders": [],
        "session": null, "circuit_breaker": null,
        "unknown": [{"field": "session", "why": "not_applicable"}],
    })
}
