//! A living API in front of a loop that went round last eighteen minutes ago; no interval is declared.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "frozen_loop", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "version": "1", "mode": "paper", "boot_epoch": "z"})
}

fn state(clock: &BotClock) -> Value {
    json!({
        "seq": clock.seq(), "boot_epoch": "z", "as_of": now(), "mode": "paper", "phase": "running", "trading_enabled": true,
        "account": {"account_balance": "1000"}, "positions": [], "orders": [],
        "loop": {"ticks": 7, "last_tick_at": (clock.began_at() - chrono::TimeDelta::minutes(18)).to_rfc3339()},
    })
}
