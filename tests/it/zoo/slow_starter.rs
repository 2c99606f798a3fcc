//! A bot that takes its time to start, and says so.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "slow_starter", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "version": "1", "mode": "paper", "boot_epoch": "y"})
}

fn state(clock: &BotClock) -> Value {
    json!({
        "seq": clock.seq(), "boot_epoch": "y", "as_of": now(), "mode": "paper", "phase": "starting",
        "phase_reason": "loading two years of candles", "trading_enabled": false, "positions": [], "orders": [],
        "account": {"account_balance": null},
        "unknown": [{"field": "account.account_balance", "why": "not_yet"}],
    })
}
