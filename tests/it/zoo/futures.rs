//! Futures: shorts, leverage, funding, a price of forced liquidation, symbols that differ at their end only.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "futures", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "version": "7", "mode": "paper", "boot_epoch": "f", "pid": null})
}

fn state(clock: &BotClock) -> Value {
    json!({
        "seq": clock.seq(), "boot_epoch": "f", "as_of": now(), "mode": "paper", "phase": "running", "trading_enabled": true,
        "account": {"currency": "USDT", "account_balance": "10000", "account_id": "sub-7"},
        "positions": [
            {"symbol": "BTC/USDT:USDT-261225", "quantity": "-0.5", "entry_price": "60000", "current_price": "59000.5",
             "unrealized_pl": "499.75", "leverage": "10", "liquidation_price": "65900.1", "funding": "-1.25"},
            {"symbol": "BTC/USDT:USDC-261225", "quantity": "0.25", "entry_price": "60010", "current_price": "59010",
             "unrealized_pl": "-250", "leverage": "10"},
        ],
        "orders": [],
        "market": {"status": "ALWAYS_OPEN"},
    })
}
