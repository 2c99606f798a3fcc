//! The required core, and nothing else.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "minimal", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "version": "0.1", "mode": "paper"})
}

fn state(clock: &BotClock) -> Value {
    json!({"seq": clock.seq(), "as_of": now(), "mode": "paper", "phase": "running"})
}
