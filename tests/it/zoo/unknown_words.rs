//! Words that no list of the contract has, in every closed set.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "unknown_words", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "version": "1", "mode": "paper", "boot_epoch": "w"})
}

fn state(clock: &BotClock) -> Value {
    json!({
        "seq": clock.seq(), "boot_epoch": "w", "as_of": now(), "mode": "paper", "phase": "warming-up",
        "trading_enabled": true,
        "account": {"account_balance": "1000"},
        "positions": [],
        "orders": [
            {"id": "1", "symbol": "^GSPC", "side": "buy", "order_type": "STOP_LIMIT", "status": "EXPIRED", "quantity": 1},
            {"id": "2", "symbol": "ES=F", "side": "BUY_TO_COVER", "order_type": "ICEBERG", "status": "DONE_FOR_DAY",
             "quantity": 2},
        ],
        "performance": {"current_streak": 3, "streak_type": "PUSH"},
        "market": {"status": "AUCTION"},
        "recent_errors": [{"error_code": "X1", "error_type": "Odd", "severity": "WARNING", "message": "odd",
                           "timestamp": now()}],
        "error_count_last_hour": 1,
    })
}
